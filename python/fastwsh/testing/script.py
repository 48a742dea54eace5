"""What a server says and expects to hear, step by step.

A script is written before the client connects; each connection that it is for plays it from the
first step on. After the last one the server waits for the client to close, and takes whatever else
comes for a failure.
"""

import threading
from collections.abc import Callable, Iterable
from typing import Any, Self

from fastwsh.pywebsocket import common
from fastwsh.testing import steps
from fastwsh.testing.arguments import (
    check_close,
    check_expected_close,
    check_sendable,
    check_timeout,
    json_text,
    to_message,
)
from fastwsh.testing.connection import Connection
from fastwsh.testing.errors import Disconnected, ScriptError
from fastwsh.testing.expectation import (
    MISSING,
    CloseExpectation,
    Expectation,
    Expected,
    Message,
    show,
)
from fastwsh.testing.functions import check_function
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder
from fastwsh.testing.steps import Step, StepFailed

__all__ = ["Script"]


class Script:
    """The steps of a conversation, in the order in which the methods are called.

    All methods return the script, so that calls can be chained. Arguments that cannot be used are
    refused by the call that has them.

    Args:
        path: The path that it is played at.
        recorder: Gets the failures.
        whose: Which connections of the path it is for, as in "connection 2 of ".
    """

    def __init__(self, path: str, recorder: Recorder, whose: str = "") -> None:
        self.path = path
        self._title = f"script of {whose}{path}"
        self._recorder = recorder
        self._lock = threading.Lock()
        self._steps: list[Step] = []
        # Steps that each connection has behind it.
        self._places: list[int] = []
        self._failed = False

    @property
    def is_empty(self) -> bool:
        """Whether it has no step."""
        return not self._steps

    def expect(
        self,
        expected: Expected | None = None,
        *,
        json: Any = MISSING,
        ignore: Iterable[str] = (),
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Self:
        """Wait for a message, which must be this one.

        Args:
            expected: A text, bytes, a compiled pattern that matches the whole message, or a
                function that gets it and returns whether it will do. None: any message.
            json: A value that the message must be the JSON of, however it is written.
            ignore: Keys of JSON objects whose values may differ or be missing: "id" anywhere,
                "meta.id" from the top on.
            timeout: Seconds to wait for it; None: no limit.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        check_timeout(timeout)
        return self._add(steps.expect(Expectation(expected, json=json, ignore=ignore), timeout))

    def expect_any_order(
        self, *expected: Expected | Expectation, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Self:
        """Wait for as many messages, each of which is one of these, in any order.

        Args:
            *expected: What `expect` takes, or an `Expectation`, as of JSON.
            timeout: Seconds to wait for all of them; None: no limit.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        check_timeout(timeout)
        if not expected:
            raise TypeError("expect_any_order() needs the messages that are expected")
        made = [one if isinstance(one, Expectation) else Expectation(one) for one in expected]
        return self._add(steps.any_order(made, timeout))

    def reply(
        self,
        message: Message | Callable[[Connection], Message] | None = None,
        *,
        json: Any = MISSING,
    ) -> Self:
        """Send a message.

        Args:
            message: A text, bytes, or a function that makes one of these of the connection when
                its turn has come.
            json: A value whose JSON is sent as a text.

        Raises:
            TypeError, ValueError: It cannot be sent.
        """
        if json is not MISSING:
            message = json_text(json, message)
        elif callable(message):
            check_function(message, "reply")
        else:
            message = check_sendable(to_message(message))
        return self._add(steps.reply(message))

    def then(self, function: Callable[[Connection], object]) -> Self:
        """Call a function with the connection: for faults, or what no other step does."""
        check_function(function, "then")
        return self._add(steps.then(function))

    def expect_close(
        self,
        code: int | None = None,
        reason: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Self:
        """Wait for the client's close frame.

        Args:
            code: Its code, 1005 for a frame without one; None: any, or none.
            reason: Its reason; None: any.
            timeout: Seconds to wait for it; None: no limit.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        check_expected_close(code, reason)
        check_timeout(timeout)
        return self._add(steps.expect_close(CloseExpectation(code, reason), timeout))

    def close(self, code: int = 1000, reason: str = "") -> Self:
        """Send a close frame, and wait for the client's.

        Raises:
            TypeError, ValueError: Code or reason cannot be sent.
        """
        check_close(code, reason)
        return self._add(steps.close(code, reason))

    def _add(self, step: Step) -> Self:
        with self._lock:
            if self._steps and self._steps[-1].ends:
                raise ValueError(
                    f"step {len(self._steps)} of the {self._title} "
                    f"({self._steps[-1].name}) ends the connection; nothing can come behind it"
                )
            self._steps.append(step)
        return self

    def play(self, connection: Connection) -> None:
        """Play the steps on a connection; its handler."""
        with self._lock:
            turn = len(self._places)
            self._places.append(0)
        try:
            self._play(connection, turn)
        except StepFailed as failure:
            if not self._is_ours(connection):
                self._fail(connection, turn, str(failure))
        except Exception as error:
            # recorded as that of any handler
            error.add_note(f"in {self._where(turn)} of the {self._title}")
            with self._lock:
                self._failed = True
            raise
        finally:
            if self._is_ours(connection):
                # a fault of ours; the client may come again
                self._excuse(turn)

    def _is_ours(self, connection: Connection) -> bool:
        """Tell whether the test has ended the connection, and not its client."""
        return connection.is_dropped or self._recorder.is_interrupting

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
                raise StepFailed(f"wanted to {step.name}, but {error}") from None
            self._note_step(turn)
            if step.ends or connection.is_dropped:
                return

    def _step(self, turn: int) -> Step | None:
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
        raise StepFailed(f"expected nothing more, but got {show(message)}")

    def _fail(self, connection: Connection, turn: int, text: str) -> None:
        where = self._where(turn)
        with self._lock:
            self._failed = True
        error = ScriptError(f"{self._title}: {where} {text}")
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
            return ScriptError(f"{self._title}: no client came; step 1 of {count} is: {name}")
        return ScriptError(f"{self._title}: step {place + 1} of {count} is still to come: {name}")
