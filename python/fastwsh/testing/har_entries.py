"""Entries of HAR files: JSON to `Conversation` and back.

What differs between the programs that write them is known here only:

- Chromium writes `_webSocketMessages`, each with `type` (send, receive, or error), `time` in
  seconds, `opcode` and `data`, in base64 unless the message is text. It does not write control
  frames.
- mitmproxy does the same, under the URL of the request, which begins with http: or https:.
- Firefox writes the handshake without messages, and nothing that says what it is but the URL and
  the status.
- Playwright's times are in milliseconds.
- Our own recorder writes control frames as messages, and adds `_fragments` to messages, `_base64`
  to texts that are not UTF-8, and `_end` to the error that stands for an unclean end. While it
  records several connections at once, a connection may go on in a later entry with the same
  `_connectionId`, marked `_continues`.
"""

import base64
import binascii
import http
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from fastwsh.testing.conversation import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    TEXT,
    Conversation,
    End,
    Headers,
    Message,
)

__all__ = ["conversations_of", "entry_of", "message_of", "messages_of", "value_of_end"]

_SCHEMES: Final = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
_FROM_CLIENT: Final = {"send": True, "sent": True, "receive": False, "received": False}
# From here on a number of seconds since 1970 would be beyond the year 5000.
_TOO_LATE: Final = 1e11
_NO_OPCODE: Final = -1


def conversations_of(har: Any) -> list[Conversation]:
    """Return the WebSocket connections of a parsed file.

    Raises:
        ValueError: It is no HAR file; the text says why.
    """
    log = har.get("log") if isinstance(har, dict) else None
    entries = log.get("entries") if isinstance(log, dict) else None
    if not isinstance(entries, list):
        raise ValueError('it has no list "entries" in "log"')  # noqa: TRY004 (a file's fault)
    found: list[Conversation] = []
    begun: dict[str, Conversation] = {}
    for number, entry in enumerate(entries, 1):
        if not isinstance(entry, dict) or not _is_websocket(entry):
            continue
        try:
            identity = str(entry.get("_connectionId", ""))
            if entry.get("_continues") and identity in begun:
                _add_messages(begun[identity], entry)
                continue
            conversation = _conversation(entry)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"entry {number} cannot be understood ({error!r})") from error
        found.append(conversation)
        begun[identity] = conversation
    return found


def _is_websocket(entry: Mapping[str, Any]) -> bool:
    if "_webSocketMessages" in entry or entry.get("_resourceType") == "websocket":
        return True
    request = entry.get("request")
    url = request.get("url") if isinstance(request, dict) else None
    if isinstance(url, str) and url.partition(":")[0].lower() in {"ws", "wss"}:
        return True
    # an upgrade may be to another protocol
    response = entry.get("response")
    upgrades = [
        str(pair.get("value")).lower()
        for pair in (response.get("headers") or () if isinstance(response, dict) else ())
        if isinstance(pair, dict) and str(pair.get("name")).lower() == "upgrade"
    ]
    status = response.get("status") if isinstance(response, dict) else None
    return status == http.HTTPStatus.SWITCHING_PROTOCOLS and upgrades == ["websocket"]


def _conversation(entry: Mapping[str, Any]) -> Conversation:
    request, response = entry["request"], entry.get("response") or {}
    scheme, colon, rest = str(request["url"]).partition(":")
    url = _SCHEMES.get(scheme.lower(), scheme) + colon + rest
    conversation = Conversation(
        url=url,
        started=_date(entry.get("startedDateTime")),
        # Chromium has no status where it has not seen the answer
        status=int(response.get("status") or 0),
        status_text=str(response.get("statusText") or ""),
        request_headers=_headers(request),
        response_headers=_headers(response),
        body=_body(response.get("content") or {}),
        has_messages=isinstance(entry.get("_webSocketMessages"), list),
    )
    _add_messages(conversation, entry)
    if conversation.status == 0 and conversation.messages:
        # there were messages, so it was opened
        switching = http.HTTPStatus.SWITCHING_PROTOCOLS
        conversation.status, conversation.status_text = switching.value, switching.phrase
    return conversation


def _headers(part: Mapping[str, Any]) -> Headers:
    # Firefox joins the lines of a header that comes several times
    return [(str(one["name"]), str(one.get("value", ""))) for one in part.get("headers") or ()]


def _body(content: Mapping[str, Any]) -> bytes:
    text = content.get("text")
    if not isinstance(text, str):
        return b""
    return base64.b64decode(text) if content.get("encoding") == "base64" else text.encode()


def _date(text: Any) -> float:
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return 0.0


def _add_messages(conversation: Conversation, entry: Mapping[str, Any]) -> None:
    for value in entry.get("_webSocketMessages") or ():
        kind, time = value.get("type"), _seconds(value.get("time"))
        if kind in _FROM_CLIENT:
            conversation.messages.append(_message(value, _FROM_CLIENT[kind], time))
        elif conversation.end is None:
            conversation.end = _end(value.get("_end"), time)


def _seconds(value: Any) -> float:
    time = float(value or 0)
    if not math.isfinite(time):
        raise ValueError(f"{value} is no time")
    while time > _TOO_LATE:
        time /= 1000
    return time


def _message(value: Mapping[str, Any], from_client: bool, time: float) -> Message:
    opcode = int(value.get("opcode", value.get("opCode", TEXT)))
    text = str(value.get("data") or "")
    data: str | bytes = text
    if opcode != TEXT or value.get("_base64"):
        try:
            data = base64.b64decode(text, validate=True)
        except binascii.Error as error:
            raise ValueError(f"the data of a message with opcode {opcode} is no base64") from error
    fragments = tuple(int(size) for size in value.get("_fragments") or ())
    return Message(from_client, time, opcode, data, fragments)


def _end(value: Any, time: float) -> End:
    if not isinstance(value, dict):
        # Chromium says what went wrong in words
        return End(None, False, time)
    by_client = {"client": True, "server": False}.get(str(value.get("by")))
    return End(by_client, value.get("how") == "reset", time)


def entry_of(conversation: Conversation, identity: str = "") -> dict[str, Any]:
    """Return the entry of a connection; the messages are its last member.

    Args:
        conversation: The connection.
        identity: Tells connections of a file apart.
    """
    parts = urlsplit(conversation.url)
    times = [message.time for message in conversation.messages]
    duration = max(0.0, times[-1] - conversation.started) * 1000 if times else 0.0
    content: dict[str, Any] = {"size": len(conversation.body), "mimeType": "x-unknown"}
    if conversation.body:
        content["mimeType"] = conversation.header("Content-Type") or "x-unknown"
        content |= _content(conversation.body)
    entry: dict[str, Any] = {
        "_connectionId": identity,
        "_resourceType": "websocket",
        "startedDateTime": _iso(conversation.started),
        "time": round(duration, 3),
        "request": {
            "method": "GET",
            "url": conversation.url,
            "httpVersion": "HTTP/1.1",
            "headers": _pairs(conversation.request_headers),
            "queryString": _pairs(parse_qsl(parts.query, keep_blank_values=True)),
            # secrets stand in the headers only, where they are redacted
            "cookies": [],
            "headersSize": -1,
            "bodySize": 0,
        },
        "response": {
            "status": conversation.status,
            "statusText": conversation.status_text,
            "httpVersion": "HTTP/1.1",
            "headers": _pairs(conversation.response_headers),
            "cookies": [],
            "content": content,
            "redirectURL": conversation.header("Location") or "",
            "headersSize": -1,
            "bodySize": len(conversation.body),
        },
        "cache": {},
        "timings": {"send": 0, "wait": 0, "receive": round(duration, 3)},
    }
    return {**entry, "_webSocketMessages": messages_of(conversation)}


def messages_of(conversation: Conversation) -> list[dict[str, Any]]:
    """Return the JSON values for the messages of a connection, and for its end."""
    values = [message_of(message) for message in conversation.messages]
    if conversation.end is not None:
        values.append(value_of_end(conversation.end))
    return values


def message_of(message: Message) -> dict[str, Any]:
    """Return the JSON value for a message."""
    value: dict[str, Any] = {
        "type": "send" if message.from_client else "receive",
        "time": round(message.time, 6),
        "opcode": message.opcode,
    }
    if isinstance(message.data, str) and message.opcode == TEXT:
        value["data"] = message.data
    else:
        data = message.data.encode() if isinstance(message.data, str) else message.data
        value["data"] = base64.b64encode(data).decode()
        if message.opcode not in {BINARY, CLOSE, PING, PONG}:
            value["_base64"] = True
    if message.fragments:
        value["_fragments"] = list(message.fragments)
    return value


def value_of_end(end: End) -> dict[str, Any]:
    """Return the JSON value for an unclean end: an error, as in Chromium's files."""
    who = {True: "client", False: "server", None: "unknown"}[end.by_client]
    how = "reset" if end.was_reset else "end"
    words = "was reset" if end.was_reset else "was ended without a close frame"
    by = "" if end.by_client is None else f" by the {who}"
    return {
        "type": "error",
        "time": round(end.time, 6),
        "opcode": _NO_OPCODE,
        "data": f"the connection {words}{by}",
        "_end": {"by": who, "how": how},
    }


def _pairs(pairs: Headers) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in pairs]


def _content(body: bytes) -> dict[str, str]:
    try:
        return {"text": body.decode()}
    except UnicodeDecodeError:
        return {"text": base64.b64encode(body).decode(), "encoding": "base64"}


def _iso(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
