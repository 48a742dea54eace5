"""Handlers and connections in an asyncio event loop.

`AsyncStream` is the awaitable stream, `session` a connection from its opening handshake to its end,
`loop` the event loop of a server. Where a handler runs is decided in `concurrency`.
"""

from fastwsh._core import AsyncStream

__all__ = ["AsyncStream"]
