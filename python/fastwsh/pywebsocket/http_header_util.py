"""A cursor over a header value, and functions that parse it (RFC 9110 5.6).

The native module has the grammar. The functions here move `ParsingState.head` over what was parsed,
or leave it unchanged if nothing matches.
"""

from fastwsh import _core
from fastwsh.pywebsocket._signatures import hide_annotations

__all__ = [
    "ParsingState",
    "consume",
    "consume_lws",
    "consume_lwses",
    "consume_string",
    "consume_token",
    "consume_token_or_quoted_string",
    "parse_uri",
    "peek",
    "quote_if_necessary",
]


class ParsingState:
    """A text and the position up to which it was consumed."""

    def __init__(self, data: str) -> None:
        self.data = data
        self.head = 0


def peek(state: ParsingState, pos: int = 0) -> str | None:
    """Return the character at `head + pos`, or None if the text ends before it."""
    index = state.head + pos
    return state.data[index] if index < len(state.data) else None


def consume(state: ParsingState, amount: int = 1) -> str | None:
    """Consume and return `amount` characters, or return None if there are not as many."""
    end = state.head + amount
    return None if end > len(state.data) else _consume_to(state, end)


def consume_string(state: ParsingState, expected: str) -> bool:
    """Consume `expected` if it comes next; tell whether it did."""
    if not state.data.startswith(expected, state.head):
        return False
    state.head += len(expected)
    return True


def consume_lws(state: ParsingState) -> bool:
    """Consume one linear white space, `[CRLF] 1*(SP|HT)`; tell whether there was one."""
    end = _core.scan_lws(state.data, state.head)
    return bool(_consume_to(state, end))


def consume_lwses(state: ParsingState) -> None:
    """Consume any amount of linear white space."""
    while consume_lws(state):
        pass


def consume_token(state: ParsingState) -> str | None:
    """Consume and return a token, or return None if there is none."""
    return _consume_to(state, _core.scan_token(state.data, state.head)) or None


def consume_token_or_quoted_string(state: ParsingState) -> str | None:
    """Consume a token or a quoted-string and return its text, or None if there is neither."""
    if peek(state) != '"':
        return consume_token(state)
    found = _core.scan_quoted_string(state.data, state.head)
    if found is None:
        return None
    text, state.head = found
    return text


def quote_if_necessary(s: str) -> str:
    """Return `s` if it is a token, else as a quoted-string."""
    return _core.quote_if_necessary(s)


def parse_uri(uri: str) -> tuple[str | None, int | None, str | None]:
    """Split a request target into host, port and resource (RFC 6455 3).

    A target that is no ws: or wss: URI is itself the resource: `(None, None, uri)`. A ws: URI
    without a host, or with a bad port, gives `(None, None, None)`.

    Raises:
        ValueError: The host is a malformed IPv6 address.
    """
    return _core.parse_uri(uri)


def _consume_to(state: ParsingState, end: int) -> str:
    consumed = state.data[state.head : end]
    state.head = end
    return consumed


hide_annotations(globals())
