"""Connections of the inspector as HAR, and as tests."""

import re
from typing import Any

from fastwsh import _core
from fastwsh.record.redaction import Redaction
from fastwsh.testing import har as har_files
from fastwsh.testing.arguments import check_close
from fastwsh.testing.har import BINARY, CLOSE, TEXT, Conversation, End, Message

__all__ = ["conversation", "har", "test"]

_BATCH = 1000
_CONTINUATION = 0
_FIN = 0x80
_OPENED = frozenset({101, 200})
_HOST = re.compile(r"[A-Za-z0-9._~-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")
_NAME_CHARACTERS = 60
_PROTOCOL_ERROR = 1002


def conversation(inspection: _core.Inspection, number: int) -> tuple[Conversation, list[str]]:
    """Return a connection, and sentences about what is missing of it.

    Raises:
        ValueError: It is not known.
    """
    found = inspection.connection(number)
    if found is None:
        raise ValueError(f"connection {number} is not known any more")
    headers = found["request_headers"]
    host = next((value for name, value in headers if name.lower() == "host"), "")
    if not _HOST.fullmatch(host):
        # whatever a client has sent, the URL must be one
        host = "localhost"
    is_open = found["status"] in _OPENED
    status = 101 if is_open else found["status"]
    made = Conversation(
        url=f"ws{'s' if found['tls'] else ''}://{host}/{found['resource'].removeprefix('/')}",
        started=found["started"],
        status=status,
        status_text="Switching Protocols" if is_open else "",
        request_headers=headers,
        response_headers=found["response_headers"],
    )
    missing: list[str] = []
    if is_open:
        _add_messages(made, inspection, number, missing)
    closed, ended = found["closed"], found["ended"]
    if ended is not None and closed is not None and closed[0] == 1006:
        made.end = End(closed[1] == "client", False, ended)
    return made, [f"#{number}: {sentence}" for sentence in missing]


def _add_messages(
    made: Conversation, inspection: _core.Inspection, number: int, missing: list[str]
) -> None:
    begun: dict[bool, tuple[int, bytearray, list[int]]] = {}
    after = dropped = 0
    frames: list[dict[str, Any]] = []
    while found := inspection.records(number, after=after, most=_BATCH):
        dropped = found["dropped"]
        if not found["records"]:
            break
        after = found["records"][-1]["number"]
        frames += [record for record in found["records"] if "note" not in record]
    made.messages += [message for frame in frames if (message := _message(frame, begun))]
    for from_client in begun:
        who = "client" if from_client else "server"
        missing.append(f"the {who} has not finished its last message, which is left out")
    if dropped:
        missing.append(f"the first {dropped} frames were dropped to save memory")
    opaque = sum(frame["opaque"] for frame in frames)
    cut = sum(not frame["opaque"] and len(frame["data"]) < frame["size"] for frame in frames)
    if cut:
        missing.append(f"{cut} frames are not whole, since 64 KiB of a frame are kept")
    if opaque:
        missing.append(f"{opaque} compressed frames could not be decompressed")


def _message(
    frame: dict[str, Any], begun: dict[bool, tuple[int, bytearray, list[int]]]
) -> Message | None:
    """Return the message that a frame completes, if it does; `begun` has those that go on."""
    from_client, opcode = frame["received"], frame["first"] & 0xF
    if opcode >= CLOSE:
        return Message(from_client, frame["time"], opcode, frame["data"])
    if opcode == _CONTINUATION and from_client in begun:
        opcode, data, sizes = begun.pop(from_client)
    else:
        data, sizes = bytearray(), []
    data += frame["data"]
    sizes.append(frame["wire"])
    if not frame["first"] & _FIN:
        begun[from_client] = opcode, data, sizes
        return None
    fragments = tuple(sizes) if len(sizes) > 1 else ()
    return Message(from_client, frame["time"], opcode, _value(opcode, bytes(data)), fragments)


def _value(opcode: int, data: bytes) -> str | bytes:
    if opcode != TEXT:
        return data
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def har(
    inspection: _core.Inspection, numbers: list[int], redaction: Redaction | None
) -> dict[str, Any]:
    """Return the text of a HAR file, and what is missing of it.

    Args:
        inspection: Knows the connections.
        numbers: Those to write; ones that are forgotten meanwhile are left out.
        redaction: Removes secrets; None: they stay.
    """
    made: list[Conversation] = []
    missing: list[str] = []
    for number in numbers:
        try:
            one, lacks = conversation(inspection, number)
        except ValueError:
            continue
        made.append(one if redaction is None else redaction.conversation(one))
        missing += lacks
    if not made:
        raise ValueError("there are no connections")
    # those of several workers come one worker after the other
    made.sort(key=lambda one: one.started)
    return {"text": har_files.dumps(made), "missing": missing, "count": len(made)}


def test(inspection: _core.Inspection, number: int) -> dict[str, Any]:
    """Return a test that plays a connection: its server by `wsserver`, and its client.

    Raises:
        ValueError: The connection was refused, or is not known.
    """
    made, missing = conversation(inspection, number)
    if not made.is_open:
        raise ValueError("the connection was not opened, so there is nothing to play")
    words = re.sub(r"[^0-9A-Za-z]+", "_", made.path)[:_NAME_CHARACTERS]
    name = words.strip("_").lower() or "root"
    missing += [f"#{number}: {sentence}" for sentence in _not_played(made.messages)]
    server = [f"    script = wsserver.script({made.path!r}{_subprotocol(made)})"]
    client: list[str] = []
    closed_by_client: bool | None = None
    for message in made.messages:
        if message.opcode == CLOSE:
            closed_by_client = message.from_client
            code, reason = _sendable_close(made.messages)
            if message.from_client:
                server.append(f"    script.expect_close({'' if code is None else code})")
                arguments = "" if code is None else f"{code}, {reason!r}"
                client.append(f"connection.close({arguments})")
            else:
                server.append(f"    script.close({1000 if code is None else code}, {reason!r})")
                client += [
                    "with pytest.raises(fastwsh.ConnectionClosed):",
                    "    connection.recv(timeout=5)",
                ]
            break
        if not _is_played(message):
            continue
        if message.from_client:
            server.append(f"    script.expect({message.data!r})")
            client.append(f"connection.send({message.data!r})")
        else:
            server.append(f"    script.reply({message.data!r})")
            client.append(f"assert connection.recv(timeout=5) == {message.data!r}")
    offered = made.subprotocol
    subprotocols = f", subprotocols=[{offered!r}]" if offered else ""
    imports = ["import fastwsh"]
    if closed_by_client is False:
        imports += ["import pytest"]
    lines = [
        *imports,
        "",
        "",
        f"def test_{name}(wsserver):",
        f'    """Plays what connection {number} has said."""',
        *[f"    # {sentence}" for sentence in missing],
        *server,
        "",
        "    # in place of this, let the client under test connect to wsserver.url_for(...)",
        f"    with fastwsh.connect(wsserver.url_for({made.path!r}){subprotocols}) as connection:",
        *[f"        {line}" for line in client or ["pass"]],
    ]
    if len(server) == 1:
        # neither side has sent a message
        lines.insert(lines.index(server[0]) + 1, "    script.expect_close()")
    return {"text": "\n".join(lines) + "\n", "missing": missing, "name": f"test_{name}.py"}


def _is_played(message: Message) -> bool:
    return message.opcode in {TEXT, BINARY}


def _sendable_close(messages: list[Message]) -> tuple[int | None, str]:
    """Return code and reason of the first close frame, without those that may not be sent."""
    first, *others = [one for one in messages if one.opcode == CLOSE]
    code, reason = first.close_code, first.close_reason
    was_refused = any(one.close_code == _PROTOCOL_ERROR for one in others)
    if code is None or was_refused:
        return None, ""
    for known in (reason, ""):
        try:
            check_close(code, known)
        except ValueError:
            continue
        return code, known
    return None, ""


def _not_played(messages: list[Message]) -> list[str]:
    """Return sentences about what a test does not play as it was."""
    sentences = []
    if count := sum(not one.is_control and not _is_played(one) for one in messages):
        sentences.append(f"{count} frames with a reserved opcode are left out")
    if count := sum(one.opcode == TEXT and isinstance(one.data, bytes) for one in messages):
        sentences.append(f"{count} texts that are not UTF-8 are binary messages here")
    close = next((one for one in messages if one.opcode == CLOSE), None)
    if close is not None and _sendable_close(messages) != (close.close_code, close.close_reason):
        sentences.append("the close frame had a code or a reason that may not be sent")
    return sentences


def _subprotocol(made: Conversation) -> str:
    return f", subprotocol={made.subprotocol!r}" if made.subprotocol else ""
