"""A recording proxy: `python -m fastwsh.record wss://real.example/feed -o session.har -p 9998`.

Clients connect to it; what they and the server say passes unchanged, and into a HAR file.
"""

__all__: list[str] = []
