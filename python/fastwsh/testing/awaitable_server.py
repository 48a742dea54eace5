"""The blocking calls of a test server, as coroutines for tests in asyncio or trio."""

from collections.abc import Iterable
from typing import Any, Protocol

from fastwsh.testing.blocking import in_thread
from fastwsh.testing.expectation import MISSING, Expected, Message
from fastwsh.testing.recording import DEFAULT_TIMEOUT

__all__ = ["AwaitableServer"]


class _Server(Protocol):
    """What a `WsServer` has that waits."""

    def wait_for_connection(self, count: int, *, timeout: float | None) -> Any: ...

    def wait_for_message(
        self,
        expected: Expected | None,
        *,
        json: Any,
        ignore: Iterable[str],
        path: str | None,
        timeout: float | None,
    ) -> Message: ...

    def wait_for_messages(
        self, count: int, *, path: str | None, timeout: float | None
    ) -> list[Message]: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def restart(self, *, after: float) -> None: ...

    def refuse(self) -> None: ...

    def clear(self) -> None: ...

    def check(self, *, timeout: float | None) -> None: ...


class AwaitableServer:
    """The calls of a test server that wait, to be awaited: `await wsserver.aio.stop()`.

    Args:
        server: The server.
    """

    def __init__(self, server: _Server) -> None:
        self._server = server

    async def wait_for_connection(
        self,
        count: int = 1,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as WsServer)
    ) -> Any:
        """Wait until so many connections have been opened: see `WsServer.wait_for_connection`."""
        return await in_thread(self._server.wait_for_connection, count, timeout=timeout)

    async def wait_for_message(
        self,
        expected: Expected | None = None,
        *,
        json: Any = MISSING,
        ignore: Iterable[str] = (),
        path: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as WsServer)
    ) -> Message:
        """Wait for a message: see `WsServer.wait_for_message`."""
        return await in_thread(
            self._server.wait_for_message,
            expected,
            json=json,
            ignore=ignore,
            path=path,
            timeout=timeout,
        )

    async def wait_for_messages(
        self,
        count: int,
        *,
        path: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as WsServer)
    ) -> list[Message]:
        """Wait until so many messages have come: see `WsServer.wait_for_messages`."""
        return await in_thread(self._server.wait_for_messages, count, path=path, timeout=timeout)

    async def start(self) -> None:
        """Serve, again or at first: see `WsServer.start`."""
        await in_thread(self._server.start)

    async def stop(self) -> None:
        """Close the connections and listen no more: see `WsServer.stop`."""
        await in_thread(self._server.stop)

    async def restart(self, *, after: float = 0.0) -> None:
        """Stop, and come back on the same port: see `WsServer.restart`."""
        await in_thread(self._server.restart, after=after)

    async def refuse(self) -> None:
        """Refuse connections: see `WsServer.refuse`."""
        await in_thread(self._server.refuse)

    async def clear(self) -> None:
        """Make the server as new: see `WsServer.clear`."""
        await in_thread(self._server.clear)

    async def check(
        self,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,  # noqa: ASYNC109 (as WsServer)
    ) -> None:
        """Fail if a handler or script has failed: see `WsServer.check`."""
        await in_thread(self._server.check, timeout=timeout)
