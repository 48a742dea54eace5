"""A server that was recorded: `python -m fastwsh.replay session.har -p 9998`.

In tests, `WsServer.replay` of `fastwsh.testing` does the same.
"""

__all__: list[str] = []
