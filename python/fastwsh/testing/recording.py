"""What has happened on a test server: connections, messages, errors; and waiting for it.

Its lock is held for moments only, and never while a handler's code or the network has its turn.
"""

import contextlib
import threading
import traceback
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Protocol

import fastwsh
from fastwsh import exception_groups
from fastwsh.pywebsocket import common
from fastwsh.testing.clock import wait_for
from fastwsh.testing.errors import CheckError, HandlerFailure, WaitTimeoutError
from fastwsh.testing.expectation import Expectation, Message, show
from fastwsh.testing.frames import Frame
from fastwsh.testing.handshakes import Handshake

__all__ = ["DEFAULT_TIMEOUT", "Recordable", "Recorder"]

DEFAULT_TIMEOUT: Final = 5.0
"""5 s: on a machine that does a hundred things at once everything here takes a fraction of one;
whoever waits for longer waits for what will not happen."""

_SHOWN_MESSAGES: Final = 10

# The calls of the server are of no interest in a handler's traceback.
_PACKAGE: Final = str(Path(fastwsh.__file__).parent)
_LIBRARY: Final = str(Path(contextlib.__file__))


# The connection of the handler that runs in this context.
_HANDLED: Final[ContextVar["Recordable | None"]] = ContextVar("fastwsh_handled", default=None)


class Recordable(Protocol):
    """A connection, as far as its recording is concerned."""

    received: list[Message]
    received_frames: list[Frame]

    @property
    def path(self) -> str:
        """The path of its request."""

    def drop(self) -> None:
        """Reset the connection."""

    def set_pong_delay(self, seconds: float | None) -> None:
        """Answer pings so many seconds late; None: never."""

    def release(self) -> None:
        """End what waits in it for the pace that a test has given it."""


@dataclass
class _Drop:
    """Messages that are still to come until everything is dropped."""

    left: int
    path: str | None


class Recorder:
    """The record of one server."""

    def __init__(self) -> None:
        self.connections: list[Recordable] = []
        self.received: list[Message] = []
        self.received_frames: list[Frame] = []
        self.errors: list[HandlerFailure] = []
        # the exceptions in them, and what they said when they were raised
        self._raised: list[tuple[BaseException, tuple[Any, ...]]] = []
        self.attempts = 0
        self.handshakes: list[Handshake] = []
        self.is_closing = False
        # whether that is what the test does to its clients
        self.is_interrupting = False
        self._changed = threading.Condition()
        self._messages: list[tuple[str, Message]] = []
        self._running: list[Recordable] = []
        self._drops: list[_Drop] = []
        # By path, or None for all of them; the last one counts.
        self._pongs: list[tuple[str | None, float | None]] = []
        self._sessions = 0

    @contextlib.contextmanager
    def session(self) -> Iterator[None]:
        """Note that a connection is served, from its opening handshake until the context ends."""
        with self._changed:
            self._sessions += 1
        try:
            yield
        finally:
            with self._changed:
                self._sessions -= 1
                self._changed.notify_all()

    def note_attempt(self, handshake: Handshake) -> None:
        """Note an opening handshake."""
        with self._changed:
            self.attempts += 1
            self.handshakes.append(handshake)
            self._changed.notify_all()

    @contextlib.contextmanager
    def handling(self, connection: Recordable) -> Iterator[None]:
        """Note that a connection is open, and that its handler runs until the context ends."""
        with self._changed:
            self.connections.append(connection)
            self._running.append(connection)
            self._changed.notify_all()
        token = _HANDLED.set(connection)
        try:
            yield
        finally:
            _HANDLED.reset(token)
            with self._changed:
                self._running.remove(connection)
                self._changed.notify_all()

    def note_message(self, connection: Recordable, message: Message) -> None:
        """Note a message; drops the connections if it is the one for that."""
        with self._changed:
            connection.received.append(message)
            self.received.append(message)
            opcode = common.OPCODE_TEXT if isinstance(message, str) else common.OPCODE_BINARY
            self._add_frame(connection, Frame(opcode, message))
            self._messages.append((connection.path, message))
            dropped = self._take_dropped(connection.path)
            self._changed.notify_all()
        for other in dropped:
            other.drop()

    def note_frame(self, connection: Recordable, frame: Frame) -> None:
        """Note a control frame."""
        with self._changed:
            self._add_frame(connection, frame)
            self._changed.notify_all()

    def _add_frame(self, connection: Recordable, frame: Frame) -> None:
        connection.received_frames.append(frame)
        self.received_frames.append(frame)

    def delay_pongs(self, seconds: float | None, path: str | None) -> None:
        """Answer pings so many seconds late, or never (None), on all connections of a path."""
        with self._changed:
            self._pongs.append((path, seconds))
            running = [one for one in self._running if path in (None, one.path)]
        for connection in running:
            connection.set_pong_delay(seconds)

    def pong_delay(self, path: str) -> float | None:
        """Return what `delay_pongs` has said of a path."""
        with self._changed:
            said = [seconds for place, seconds in self._pongs if place in (None, path)]
        return said[-1] if said else 0.0

    def _take_dropped(self, path: str) -> list[Recordable]:
        dropped: list[Recordable] = []
        for drop in list(self._drops):
            if drop.path not in (None, path):
                continue
            drop.left -= 1
            if drop.left == 0:
                self._drops.remove(drop)
                dropped += [one for one in self._running if drop.path in (None, one.path)]
        return dropped

    def drop_at(self, count: int, path: str | None) -> None:
        """Drop the connections at the message after `count - 1` others."""
        with self._changed:
            self._drops.append(_Drop(count, path))

    def note_error(self, path: str, error: BaseException, sentence: str | None = None) -> None:
        """Keep what went wrong in a handler.

        Args:
            path: The handler's path.
            error: What was raised.
            sentence: All that is to be said; None: what was raised and where.
        """
        if sentence is None:
            lines = traceback.format_exception(type(error), error, _own_part(error))
            words = f"{type(error).__name__}: {error}".rstrip(": ")
            sentence = f"the handler of {path} raised {words}\n{''.join(lines)}".rstrip()
        with self._changed:
            self.errors.append(HandlerFailure(path, error, sentence))
            self._raised += [(leaf, leaf.args) for leaf in exception_groups.leaves(error)]
            self._changed.notify_all()

    def take_errors(self) -> list[HandlerFailure]:
        """Return what was kept, and keep it no more."""
        with self._changed:
            errors, self.errors = self.errors, []
            raised, self._raised = self._raised, []
        for error, arguments in raised:
            # handlers of pywebsocket find their function's name in front, and tests what was raised
            error.args = arguments
        return errors

    def raise_errors(self) -> None:
        """Raise a CheckError of what was kept, if there is any."""
        __tracebackhide__ = True
        if errors := self.take_errors():
            raise CheckError(errors) from errors[0].exception

    def wait_for_connection(self, count: int, timeout: float | None) -> Any:
        """Wait until so many connections have been opened; return the last of these.

        Raises:
            WaitTimeoutError: There are fewer after `timeout` seconds; None is no limit.
        """
        with self._changed:
            if wait_for(self._changed, lambda: len(self.connections) >= count, timeout):
                return self.connections[count - 1]
            opened = len(self.connections)
            raise WaitTimeoutError(
                f"{_amount(opened, 'connection')} of {count} opened within {timeout:g} s "
                f"({_amount(self.attempts, 'opening handshake')} came to a path with a handler)"
            )

    def wait_for_message(
        self, expected: Expectation, path: str | None, timeout: float | None
    ) -> Message:
        """Wait for a message; return the first that is as expected, of those before as well.

        Args:
            expected: What the message must be.
            path: The path of its connection, or None for every path.
            timeout: The seconds to wait, or None for no limit.

        Raises:
            WaitTimeoutError: None has come in time.
        """
        seen = 0
        found: list[Message] = []

        def look() -> bool:
            nonlocal seen
            new, seen = self._messages[seen:], len(self._messages)
            for place, message in new:
                if path in (None, place) and expected.accepts(message):
                    found.append(message)
                    return True
            return False

        with self._changed:
            if wait_for(self._changed, look, timeout):
                return found[0]
            came = [message for place, message in self._messages if path in (None, place)]
        where = "" if path is None else f" at {path}"
        raise WaitTimeoutError(
            f"{expected} did not come{where} within {timeout:g} s; received: {_list(came)}"
        )

    def wait_for_messages(
        self, count: int, path: str | None, timeout: float | None
    ) -> list[Message]:
        """Wait until so many messages have come; return the first of them.

        Raises:
            WaitTimeoutError: There are fewer after `timeout` seconds; None is no limit.
        """

        def came() -> list[Message]:
            return [message for place, message in self._messages if path in (None, place)]

        with self._changed:
            wait_for(self._changed, lambda: len(came()) >= count, timeout)
            messages = came()
        if len(messages) >= count:
            return messages[:count]
        where = "" if path is None else f" at {path}"
        raise WaitTimeoutError(
            f"{_amount(len(messages), 'message')} of {count} came{where} within {timeout:g} s; "
            f"received: {_list(messages)}"
        )

    @staticmethod
    def handled_here() -> Recordable | None:
        """Return the connection of the handler that calls this."""
        return _HANDLED.get()

    def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Wait for something that is noted here, or tells `note_change`."""
        with self._changed:
            return wait_for(self._changed, condition, timeout)

    def note_change(self) -> None:
        """Let all waiting threads check their conditions again."""
        with self._changed:
            self._changed.notify_all()

    def running(self) -> list[Recordable]:
        """Return the connections with a running handler."""
        with self._changed:
            return list(self._running)

    def wait_idle(self, timeout: float) -> list[Recordable]:
        """Wait until no session is left; return those with a handler that still runs."""
        with self._changed:
            wait_for(self._changed, lambda: not self._sessions, timeout)
            return list(self._running)

    def forget_history(self) -> None:
        """Forget connections and messages, so that they do not add up."""
        with self._changed:
            self.connections.clear()
            self.handshakes.clear()
            self.received.clear()
            self.received_frames.clear()
            self._messages.clear()

    def forget(self) -> None:
        """Forget everything but the running handlers."""
        self.forget_history()
        with self._changed:
            self.errors.clear()
            self._raised.clear()
            self._drops.clear()
            self._pongs.clear()
            self.attempts = 0


def _own_part(error: BaseException) -> TracebackType | None:
    """Return the traceback from the handler's own code on."""
    trace = error.__traceback__
    while trace is not None:
        if not trace.tb_frame.f_code.co_filename.startswith((_PACKAGE, _LIBRARY)):
            return trace
        trace = trace.tb_next
    return error.__traceback__


def _amount(count: int, noun: str) -> str:
    return f"{count or 'no'} {noun}{'' if count == 1 else 's'}"


def _list(messages: list[Message]) -> str:
    if not messages:
        return "nothing"
    shown = ", ".join(map(show, messages[-_SHOWN_MESSAGES:]))
    left_out = len(messages) - _SHOWN_MESSAGES
    return f"{left_out} others, and {shown}" if left_out > 0 else shown
