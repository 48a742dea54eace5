"""Removes secrets from recordings: headers, query parameters, and whatever a hook removes."""

import importlib
from collections.abc import Callable, Iterable
from copy import copy
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from fastwsh.testing.har import REDACTED, Conversation, Headers, Message

__all__ = ["DEFAULT_HEADERS", "Hook", "Redaction", "load_hook"]

DEFAULT_HEADERS: Final = ("Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie")
"""Headers with values that are nearly always secrets."""

Hook = Callable[[Any], Any]
"""Called with each `Conversation` when it is opened, and with each `Message`. It returns the
object, changed or not, or None to leave a message out. It gets a copy, so the bytes that pass are
not changed."""


class Redaction:
    """Removes secrets.

    Args:
        headers: Names of headers, in addition to `DEFAULT_HEADERS`.
        query: Names of parameters in the query of the URL.
        hook: See `Hook`.
    """

    def __init__(
        self,
        headers: Iterable[str] = (),
        query: Iterable[str] = (),
        hook: Hook | None = None,
    ) -> None:
        self._headers = {name.lower() for name in (*DEFAULT_HEADERS, *headers)}
        self._query = frozenset(query)
        self._hook = hook

    def conversation(self, conversation: Conversation) -> Conversation:
        """Return a copy without secrets; its messages are unchanged."""
        redacted = replace(
            conversation,
            url=self._url(conversation.url),
            request_headers=self._pairs(conversation.request_headers),
            response_headers=self._pairs(conversation.response_headers),
            messages=list(conversation.messages),
        )
        if self._hook is None:
            return redacted
        changed = self._hook(redacted)
        if not isinstance(changed, Conversation):
            raise TypeError(
                f"the redaction hook returned {changed!r} for a Conversation; return that"
            )
        return changed

    def message(self, message: Message) -> Message | None:
        """Return a copy without secrets; None if it is to be left out."""
        if self._hook is None or message.is_control:
            return message
        changed = self._hook(copy(message))
        if changed is not None and not isinstance(changed, Message):
            raise TypeError(
                f"the redaction hook returned {changed!r} for a Message; return that, or None"
            )
        return changed

    def _pairs(self, pairs: Headers) -> Headers:
        return [
            (name, REDACTED if name.lower() in self._headers else value) for name, value in pairs
        ]

    def _url(self, url: str) -> str:
        parts = urlsplit(url)
        # user and password have been moved to the header Authorization
        parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
        if self._query.intersection(name for name, _ in parse_qsl(parts.query, True)):
            pairs = [
                (name, REDACTED if name in self._query else value)
                for name, value in parse_qsl(parts.query, keep_blank_values=True)
            ]
            parts = parts._replace(query=urlencode(pairs, safe="[]", quote_via=quote))
        return urlunsplit(parts)


def load_hook(name: str) -> Hook:
    """Return the function that `module:function` names.

    Raises:
        ValueError: There is none; the text says why.
    """
    module, colon, function = name.partition(":")
    if not colon:
        raise ValueError(f"{name!r} names no function; write module:function")
    try:
        hook: Any = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"there is no {name}: {error}") from error
    if not callable(hook):
        raise ValueError(f"{name} cannot be called")  # noqa: TRY004 (the name is wrong)
    found: Hook = hook
    return found
