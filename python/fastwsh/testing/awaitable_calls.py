"""The blocking calls of a connection, as coroutines for tests that are coroutines."""

from typing import Protocol

from fastwsh.testing.blocking import in_thread
from fastwsh.testing.recording import DEFAULT_TIMEOUT

__all__ = ["AwaitableCalls"]


class _Connection(Protocol):
    """What a `Connection` has that waits, or may wait."""

    def send(self, message: str | bytes) -> None: ...

    def ping(self, body: str | bytes | None, *, timeout: float | None) -> float: ...

    def close(self, code: int, reason: str) -> None: ...

    def wait_closed(self, *, timeout: float | None) -> None: ...


class AwaitableCalls:
    """The calls of a `Connection` that wait, to be awaited: `await connection.aio.close(1012)`.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    async def send(self, message: str | bytes) -> None:
        """Send a message: see `Connection.send`."""
        await in_thread(self._connection.send, message)

    async def ping(
        self,
        body: str | bytes | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as Connection)
    ) -> float:
        """Send a ping, and return the seconds until its pong: see `Connection.ping`."""
        return await in_thread(self._connection.ping, body, timeout=timeout)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame and wait for the client's: see `Connection.close`."""
        await in_thread(self._connection.close, code, reason)

    async def wait_closed(
        self,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as Connection)
    ) -> None:
        """Wait until the connection is over: see `Connection.wait_closed`."""
        await in_thread(self._connection.wait_closed, timeout=timeout)
