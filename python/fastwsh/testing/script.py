"""What a server says and expects to hear, step by step.

A script is written before the client connects; each connection at its path plays it from the first
step on. After the last one the server waits for the client to close, and takes whatever else comes
for a failure.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from fastwsh.pywebsocket import common
from fastwsh.testing.connection import Connection
from fastwsh.testing.errors import Disconnected, ScriptError, WaitTimeoutError
from fastwsh.testing.expectation import MISSING, Expectation, Expected, Message, show
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder

__all__ = ["Script"]


class _StepFailed(Exception):  # noqa: N818 (what has happened)
    """A step was not as written; the text is what was expected and what came."""


@dataclass(frozen=True)
class _Step:
    name: str
    play: Callable[[Connection], None]
    # what comes behind it has nobody to come from
    ends: bool = False


class Script:
    """The steps of a conversation, in the order in which the methods are called.

    All methods return the script, so that calls can be chained.

    Args:
        path: The path that it is played at.
        recorder: Gets the failures.
    """

    def __init__(self, path: str, recorder: Recorder) -> None:
        self.path = path
        self._recorder = recorder
        self._lock = threading.Lock()
        self._steps: list[_Step] = []
        # Steps that each connection has behind it.
        self._places: list[int] = []
        self._failed = False

    def expect(
        self,
        expected: Expected | None = None,
        *,
        json: Any = MISSING,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Self:
        """Wait for a message, which must be this one.

        Args:
            expected: A text, bytes, a compiled pattern that matches the whole message, or a
                function that gets it and returns whether it will do. None: any message.
            json: A value that the message must be the JSON of.
            timeout: Seconds to wait for it.
        """
        expectation = Expectation(expected, json=json)

        def play(connection: Connection) -> None:
            try:
                message = connection.recv(timeout)
            except WaitTimeoutError:
                raise _StepFailed(
                    f"expected {expectation}, but nothing came within {timeout:g} s"
                ) from None
            except Disconnected as error:
                raise _StepFailed(f"expected {expectation}, but {error}") from None
            mismatch = expectation.mismatch(message)
            if mismatch is not None:
                raise _StepFailed(mismatch)

        return self._add(_Step(f"expect {expectation}", play))

    def reply(self, message: Message | Callable[[Connection], Message]) -> Self:
        """Send a message, or what a function makes of the connection when its turn has come."""

        def play(connection: Connection) -> None:
            connection.send(message(connection) if callable(message) else message)

        shown = "what a function returns" if callable(message) else show(message)
        return self._add(_Step(f"reply {shown}", play))

    def then(self, function: Callable[[Connection], object]) -> Self:
        """Call a function with the connection: for faults, or what no other step does."""
        name = getattr(function, "__qualname__", repr(function))
        return self._add(_Step(f"call {name}", lambda connection: (function(connection), None)[1]))

    def expect_close(self, code: int | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Self:
        """Wait for the client's close frame.

        Args:
            code: Its code; None: any, or none.
            timeout: Seconds to wait for it.
        """
        wanted = "a close frame" if code is None else f"a close frame with {code}"

        def play(connection: Connection) -> None:
            try:
                message = connection.recv(timeout)
            except WaitTimeoutError:
                raise _StepFailed(
                    f"expected {wanted}, but nothing came within {timeout:g} s"
                ) from None
            except Disconnected as error:
                got = connection.close_code
                if got is None:
                    raise _StepFailed(f"expected {wanted}, but {error}") from None
                if code not in (None, got):
                    raise _StepFailed(f"expected {wanted}, but got one with {got}") from None
            else:
                raise _StepFailed(f"expected {wanted}, but got {show(message)}")

        return self._add(_Step(f"expect {wanted}", play, ends=True))

    def close(self, code: int = 1000, reason: str = "") -> Self:
        """Send a close frame, and wait for the client's."""
        step = _Step(f"close with {code}", lambda one: one.close(code, reason), ends=True)
        return self._add(step)

    def _add(self, step: _Step) -> Self:
        with self._lock:
            if self._steps and self._steps[-1].ends:
                raise ValueError(
                    f"step {len(self._steps)} of the script of {self.path} "
                    f"({self._steps[-1].name}) ends the connection; nothing can come behind it"
                )
            self._steps.append(step)
        return self

    # --- playing ---

    def play(self, connection: Connection) -> None:
        """Play the steps on a connection; its handler."""
        with self._lock:
            turn = len(self._places)
            self._places.append(0)
        try:
            self._play(connection, turn)
        except _StepFailed as failure:
            if not connection.is_dropped:
                self._fail(connection, turn, str(failure))
        except Exception as error:
            # recorded as that of any handler
            error.add_note(f"in {self._where(turn)} of the script of {self.path}")
            with self._lock:
                self._failed = True
            raise
        finally:
            if connection.is_dropped:
                # a fault of ours; the client may come again
                self._excuse(turn)

    def _play(self, connection: Connection, turn: int) -> None:
        while True:
            step = self._step(turn)
            if step is None:
                self._await_end(connection)
                step = self._step(turn)
                if step is None:
                    return
            try:
                step.play(connection)
            except Disconnected as error:
                raise _StepFailed(f"wanted to {step.name}, but {error}") from None
            self._note_step(turn)
            if step.ends or connection.is_dropped:
                return

    def _step(self, turn: int) -> _Step | None:
        with self._lock:
            place = self._places[turn]
            return self._steps[place] if place < len(self._steps) else None

    def _note_step(self, turn: int) -> None:
        with self._lock:
            self._places[turn] += 1
        self._recorder.note_change()

    def _excuse(self, turn: int) -> None:
        with self._lock:
            self._places[turn] = len(self._steps)
        self._recorder.note_change()

    @staticmethod
    def _await_end(connection: Connection) -> None:
        """Wait for the client to close."""
        try:
            message = connection.recv()
        except Disconnected:
            return
        raise _StepFailed(f"expected nothing more, but got {show(message)}")

    def _fail(self, connection: Connection, turn: int, text: str) -> None:
        where = self._where(turn)
        with self._lock:
            self._failed = True
        error = ScriptError(f"script of {self.path}: {where} {text}")
        self._recorder.note_error(self.path, error, str(error))
        # the client need not wait for what will not come
        connection.close(
            common.STATUS_INTERNAL_ENDPOINT_ERROR, f"the script failed: {where.rstrip(',')}"
        )

    def _where(self, turn: int) -> str:
        with self._lock:
            place, count = self._places[turn], len(self._steps)
        is_over = place >= count
        return f"after step {count}, the last," if is_over else f"step {place + 1} of {count}"

    # --- the outcome ---

    @property
    def is_settled(self) -> bool:
        """Whether no connection has steps before it."""
        with self._lock:
            return self._failed or all(place >= len(self._steps) for place in self._places)

    def unfinished(self) -> ScriptError | None:
        """Say what has not been played; None if all was, or a failure has been recorded."""
        with self._lock:
            if self._failed or not self._steps:
                return None
            place = min(self._places, default=0)
            if place >= len(self._steps) and self._places:
                return None
            count, name = len(self._steps), self._steps[place].name
        if not self._places:
            return ScriptError(
                f"script of {self.path}: no client came; step 1 of {count} is: {name}"
            )
        return ScriptError(
            f"script of {self.path}: step {place + 1} of {count} is still to come: {name}"
        )
