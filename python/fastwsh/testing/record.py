"""The events of a test server, as a test reads them."""

from collections.abc import Iterable
from typing import Any

from fastwsh.testing.arguments import check_count, check_path, check_timeout
from fastwsh.testing.blocking import refuse_in_event_loop
from fastwsh.testing.errors import HandlerFailure
from fastwsh.testing.expectation import MISSING, Expectation, Expected, Message
from fastwsh.testing.frames import Frame
from fastwsh.testing.handshakes import Handshake
from fastwsh.testing.log import ServerLog
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder

__all__ = ["ServerRecord"]


class ServerRecord:
    """The record of a test server, for tests to read and to wait for.

    Lists are copies. Waiting blocks the caller, and raises RuntimeError in a coroutine, which has
    `aio` for it.

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
    def received_frames(self) -> list[Frame]:
        """What `received` has, with the pings, pongs and close frames between: opcode, payload."""
        return list(self._recorder.received_frames)

    @property
    def attempts(self) -> int:
        """Opening handshakes at paths with a handler, also those that failed."""
        return self._recorder.attempts

    @property
    def handshakes(self) -> list[Handshake]:
        """The same, each with its headers, what the client offered and the status of the answer."""
        return list(self._recorder.handshakes)

    @property
    def log(self) -> list[str]:
        """The lines that this server and its handlers have logged, from level INFO on.

        Lines of threads that a handler has started are missing: nothing tells which connection
        they belong to.
        """
        return list(self._log.lines)

    def wait_for_connection(
        self, count: int = 1, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Any:
        """Wait until so many connections have been opened; return the last of these.

        Raises:
            WaitTimeoutError: They were not, in `timeout` seconds; the text says how many.
        """
        refuse_in_event_loop(
            "wait_for_connection()", "await wsserver.aio.wait_for_connection() there"
        )
        check_count(count, "wait for connection")
        check_timeout(timeout)
        return self._recorder.wait_for_connection(count, timeout)

    def wait_for_message(
        self,
        expected: Expected | None = None,
        *,
        json: Any = MISSING,
        ignore: Iterable[str] = (),
        path: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Message:
        """Wait for a message; return the first one that is as expected, also of those before.

        Args:
            expected: A text, bytes, a compiled pattern that matches the whole message, or a
                function that gets it and returns whether it will do. None: any message.
            json: A value that the message must be the JSON of.
            ignore: Keys of JSON objects whose values may differ or be missing: "id" anywhere,
                "meta.id" from the top on.
            path: The path of the connection; None: any.
            timeout: Seconds to wait; None: no limit.

        Raises:
            WaitTimeoutError: It did not come; the text says what did.
        """
        refuse_in_event_loop("wait_for_message()", "await wsserver.aio.wait_for_message() there")
        check_timeout(timeout)
        place = None if path is None else check_path(path)
        expectation = Expectation(expected, json=json, ignore=ignore)
        return self._recorder.wait_for_message(expectation, place, timeout)

    def wait_for_messages(
        self, count: int, *, path: str | None = None, timeout: float | None = DEFAULT_TIMEOUT
    ) -> list[Message]:
        """Wait until so many messages have been received; return the first so many.

        Args:
            count: How many, of all connections together, those before this call as well.
            path: The path of the connections; None: any.
            timeout: Seconds to wait; None: no limit.

        Raises:
            WaitTimeoutError: They did not come; the text says what did.
            TypeError, ValueError: An argument cannot be used.
        """
        refuse_in_event_loop("wait_for_messages()", "await wsserver.aio.wait_for_messages() there")
        check_count(count, "wait for messages:")
        check_timeout(timeout)
        place = None if path is None else check_path(path)
        return self._recorder.wait_for_messages(count, place, timeout)

    def take_errors(self) -> list[HandlerFailure]:
        """Return the errors that `check` would raise, which then does not: they were expected."""
        return self._recorder.take_errors()

    def raise_errors(self) -> None:
        """Fail as `check` does, but for what has happened only: unfinished scripts may go on."""
        __tracebackhide__ = True
        self._recorder.raise_errors()
