"""What a test server tells of what has happened on it."""

from typing import Any

from fastwsh.testing.errors import HandlerFailure
from fastwsh.testing.expectation import MISSING, Expectation, Expected, Message
from fastwsh.testing.log import ServerLog
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder

__all__ = ["ServerRecord"]


class ServerRecord:
    """The record of a test server, for tests to read and to wait for.

    Lists are copies. Waiting blocks the caller: a coroutine uses `asyncio.to_thread`.

    Args:
        recorder: Keeps what happens.
        log: Keeps what is logged.
    """

    def __init__(self, recorder: Recorder, log: ServerLog) -> None:
        self._recorder = recorder
        self._log = log

    @property
    def connections(self) -> list[Any]:
        """The connections that were opened, in order: `Connection` or `AsyncConnection` each."""
        return list(self._recorder.connections)

    @property
    def received(self) -> list[Message]:
        """The messages that handlers have received, in order, of all connections.

        What a handler reads below messages, as frames or bytes, is not recorded.
        """
        return list(self._recorder.received)

    @property
    def attempts(self) -> int:
        """Opening handshakes at paths with a handler, also those that failed."""
        return self._recorder.attempts

    @property
    def log(self) -> list[str]:
        """The lines that this server and its handlers have logged, from level INFO on.

        Lines of threads that a handler has started are missing: it cannot be told whose they are.
        """
        return list(self._log.lines)

    def wait_for_connection(self, count: int = 1, *, timeout: float = DEFAULT_TIMEOUT) -> Any:
        """Wait until so many connections have been opened; return the last of these.

        Raises:
            WaitTimeoutError: They were not, in `timeout` seconds; the text says how many.
        """
        return self._recorder.wait_for_connection(count, timeout)

    def wait_for_message(
        self,
        expected: Expected | None = None,
        *,
        json: Any = MISSING,
        path: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Message:
        """Wait for a message; return the first one that is as expected, also of those before.

        Args:
            expected: A text, bytes, a compiled pattern that matches the whole message, or a
                function that gets it and returns whether it will do. None: any message.
            json: A value that the message must be the JSON of.
            path: The path of the connection; None: any.
            timeout: Seconds to wait.

        Raises:
            WaitTimeoutError: It did not come; the text says what did.
        """
        place = None if path is None else "/" + path.removeprefix("/")
        return self._recorder.wait_for_message(Expectation(expected, json=json), place, timeout)

    def take_errors(self) -> list[HandlerFailure]:
        """Return the errors that `check` would raise, which then does not: they were expected."""
        return self._recorder.take_errors()

    def raise_errors(self) -> None:
        """Fail as `check` does, but for what has happened only: unfinished scripts may go on."""
        __tracebackhide__ = True
        self._recorder.raise_errors()
