"""The steps of a script: what each waits for or does, and what it says when that fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastwsh.testing.arguments import made_message
from fastwsh.testing.clock import monotonic
from fastwsh.testing.connection import Connection
from fastwsh.testing.errors import Disconnected, WaitTimeoutError
from fastwsh.testing.expectation import CloseExpectation, Expectation, Message, show
from fastwsh.testing.functions import call

__all__ = ["Step", "StepFailed", "any_order", "close", "expect", "expect_close", "reply", "then"]


class StepFailed(Exception):  # noqa: N818 (what has happened)
    """The client did something else than the script or the recording has; the text says what."""


@dataclass(frozen=True)
class Step:
    """A step of a script.

    Attributes:
        name: What it does, in words.
        play: Does it.
        ends: Whether it ends the connection, so that no step can follow it.
    """

    name: str
    play: Callable[[Connection], None]
    ends: bool = False


def expect(expectation: Expectation, timeout: float | None) -> Step:
    """Make the step that waits for one message."""

    def play(connection: Connection) -> None:
        message = _receive(connection, str(expectation), timeout)
        mismatch = expectation.mismatch(message)
        if mismatch is not None:
            raise StepFailed(mismatch)

    return Step(f"expect {expectation}", play)


def any_order(expectations: Sequence[Expectation], timeout: float | None) -> Step:
    """Make the step that waits for several messages, whichever comes first."""
    wanted = f"in any order {', '.join(map(str, expectations))}"

    def play(connection: Connection) -> None:
        deadline = None if timeout is None else monotonic() + timeout
        came: list[Message] = []
        while len(came) < len(expectations):
            missing = _missing(expectations, came)
            what = ", ".join(str(expectations[place]) for place in missing)
            left = None if deadline is None else max(0.0, deadline - monotonic())
            came.append(_receive(connection, what, left, timeout))
            if len(_missing(expectations, came)) == len(missing):
                raise StepFailed(
                    f"expected {'one of ' if len(missing) > 1 else ''}{what}, "
                    f"but got {show(came[-1])}"
                )

    return Step(f"expect {wanted}", play)


def _missing(expectations: Sequence[Expectation], messages: Sequence[Message]) -> list[int]:
    """Return which expectations are left when as many messages as can be have one each."""
    holder: dict[int, int] = {}

    def place(message: int, tried: set[int]) -> bool:
        for number, expectation in enumerate(expectations):
            if number in tried or not expectation.accepts(messages[message]):
                continue
            tried.add(number)
            # the one that has it may do with another
            if number not in holder or place(holder[number], tried):
                holder[number] = message
                return True
        return False

    for message in range(len(messages)):
        place(message, set())
    return [number for number in range(len(expectations)) if number not in holder]


def reply(message: Message | Callable[[Connection], Message]) -> Step:
    """Make the step that sends a message, or what a function makes of the connection."""
    if not callable(message):
        return Step(f"reply {show(message)}", lambda connection: connection.send(message))
    return Step(
        "reply what a function returns",
        lambda connection: connection.send(made_message(message, call(message, connection))),
    )


def then(function: Callable[[Connection], object]) -> Step:
    """Make the step that calls a function."""
    name = getattr(function, "__qualname__", repr(function))

    def play(connection: Connection) -> None:
        call(function, connection)

    return Step(f"call {name}", play)


def expect_close(expectation: CloseExpectation, timeout: float | None) -> Step:
    """Make the step that waits for the client's close frame."""

    def play(connection: Connection) -> None:
        try:
            message = connection.recv(timeout)
        except WaitTimeoutError:
            raise StepFailed(
                f"expected {expectation}, but nothing came within {timeout:g} s"
            ) from None
        except Disconnected as error:
            got = connection.close_code
            if got is None:
                raise StepFailed(f"expected {expectation}, but {error}") from None
            mismatch = expectation.mismatch(got, connection.close_reason)
            if mismatch is not None:
                raise StepFailed(mismatch) from None
        else:
            raise StepFailed(f"expected {expectation}, but got {show(message)}")

    return Step(f"expect {expectation}", play, ends=True)


def close(code: int, reason: str) -> Step:
    """Make the step that closes the connection."""
    return Step(f"close with {code}", lambda one: one.close(code, reason), ends=True)


def _receive(
    connection: Connection, what: str, timeout: float | None, whole: float | None = None
) -> Message:
    try:
        return connection.recv(timeout)
    except WaitTimeoutError:
        seconds = timeout if whole is None else whole
        raise StepFailed(f"expected {what}, but nothing came within {seconds:g} s") from None
    except Disconnected as error:
        raise StepFailed(f"expected {what}, but {error}") from None
