"""Handlers and connections in an asyncio event loop.

`AsyncStream` is the awaitable stream, `session` serves a connection from its opening handshake to
its end, and `loop` is the event loop of a server. `concurrency` decides where a handler runs.
"""

from fastwsh._core import AsyncStream

__all__ = ["AsyncStream"]
