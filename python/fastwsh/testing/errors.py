"""The exceptions of a test server, and how it keeps those of its handlers.

AssertionError
├── CheckError
└── ScriptError
TimeoutError
└── WaitTimeoutError
ConnectionTerminatedException (pywebsocket's)
└── Disconnected
"""

from dataclasses import dataclass

from fastwsh.pywebsocket.stream import ConnectionTerminatedException

__all__ = ["CheckError", "Disconnected", "HandlerFailure", "ScriptError", "WaitTimeoutError"]


@dataclass(frozen=True, slots=True)
class HandlerFailure:
    """Something that went wrong in a handler, kept until `take_errors` or `check`.

    Attributes:
        path: The path that the handler serves.
        exception: What it raised.
        text: One sentence, and behind it the traceback if there is one.
    """

    path: str
    exception: BaseException
    text: str

    def __str__(self) -> str:
        return self.text


class CheckError(AssertionError):
    """Handlers or scripts of the test server failed; the text says which ones and why.

    Attributes:
        errors: What failed, in the order in which it did.
    """

    def __init__(self, errors: list[HandlerFailure]) -> None:
        super().__init__("\n\n".join(error.text for error in errors))
        self.errors = errors


class ScriptError(AssertionError):
    """A client did something else than a step of its script expects."""


class WaitTimeoutError(TimeoutError):
    """An awaited event did not happen in time; the text says what happened instead."""


class Disconnected(ConnectionTerminatedException):
    """The connection has ended while its handler wanted to use it.

    Not an error of the handler: one that lets it pass has simply ended.
    """
