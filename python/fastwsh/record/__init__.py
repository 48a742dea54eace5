"""A recording proxy: `python -m fastwsh.record wss://real.example/feed -o session.har -p 9998`.

Clients connect to it. It passes all bytes between them and the server on, unchanged, and records
them in a HAR file.
"""

__all__: list[str] = []
