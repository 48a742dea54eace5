"""Parses lines of the console."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastwsh import _core

__all__ = ["HELP", "OPCODES", "Close", "Command", "CommandError", "Frame", "Help", "Ping", "Pong"]
__all__ += ["Raw", "Send", "encode", "parse"]

OPCODES: Final = {"continuation": 0, "text": 1, "binary": 2, "close": 8, "ping": 9, "pong": 10}

HELP: Final = """\
text              send a text message; //text for one that begins with a slash
/ping [text]      send a ping
/pong [text]      send a pong that nobody asked for
/file PATH        send a file as a binary message
/binary HEX       send bytes as a binary message
/close [CODE [REASON]]  close the connection
/help             show this
Ctrl-D closes, Ctrl-C leaves."""

RAW_HELP: Final = """\
HEX               send bytes as they are, such as 81 85 37 fa 21 3d 7f 9f 4d 51 58
/frame OPCODE [fin=0] [rsv1=1] [rsv2=1] [rsv3=1] [mask=0] [TEXT | 0xHEX]
                  send a frame; OPCODE is a number or text, binary, continuation, close, ping, pong
/text TEXT        send a text frame
/ping, /pong, /file, /binary, /close, /help  as without --raw
Nothing is answered: pings and close frames are for you to answer."""


class CommandError(Exception):
    """The line is not valid; the text says why."""


@dataclass(frozen=True)
class Send:
    """A message."""

    message: str | bytes


@dataclass(frozen=True)
class Ping:
    """A ping."""

    data: bytes


@dataclass(frozen=True)
class Pong:
    """An unsolicited pong (RFC 6455 5.5.3)."""

    data: bytes


@dataclass(frozen=True)
class Close:
    """A close frame; without a code, an empty one."""

    code: int | None
    reason: str


@dataclass(frozen=True)
class Frame:
    """A frame, legal or not."""

    opcode: int
    payload: bytes
    fin: int = 1
    rsv: tuple[int, int, int] = (0, 0, 0)
    mask: int = 1


@dataclass(frozen=True)
class Raw:
    """Raw bytes."""

    data: bytes


@dataclass(frozen=True)
class Help:
    """The list of commands."""

    text: str


Command = Send | Ping | Pong | Close | Frame | Raw | Help


def parse(line: str, *, raw: bool) -> Command:
    """Return the command of a line.

    Args:
        line: Without its end.
        raw: Whether the console works with frames instead of messages.

    Raises:
        CommandError: The line is not a valid command.
    """
    if line.startswith("/") and not line.startswith("//"):
        name, _, rest = line[1:].partition(" ")
        return _command(name, rest, raw=raw)
    if raw:
        return Raw(_hex(line))
    return Send(line.removeprefix("/"))


def encode(frame: Frame) -> bytes:
    """Return the bytes of a frame, masked with a random key if it is to be masked."""
    header = bytes(
        _core.create_header(
            frame.opcode, len(frame.payload), frame.fin, *frame.rsv, bool(frame.mask)
        )
    )
    if not frame.mask:
        return header + frame.payload
    key = os.urandom(4)
    return header + key + _core.apply_mask(frame.payload, key)


def _command(name: str, rest: str, *, raw: bool) -> Command:
    match name:
        case "help":
            return Help(RAW_HELP if raw else HELP)
        case "ping":
            return Ping(rest.encode())
        case "pong":
            return Pong(rest.encode())
        case "close":
            return _close(rest)
        case "binary":
            return Send(_hex(rest))
        case "file":
            return Send(_read(rest.strip()))
        case "frame" if raw:
            return _frame(rest)
        case "text" if raw:
            return Send(rest)
    raise CommandError(f"no command /{name}; /help names them, // sends a line with a slash")


def _read(name: str) -> bytes:
    try:
        return Path(name).expanduser().read_bytes()
    except OSError as error:
        reason = error.strerror
    except (RuntimeError, ValueError, MemoryError) as error:
        # no such user's home, a NUL in the name, a file that is too long
        reason = str(error) or "it is too long"
    raise CommandError(f"cannot read {name}: {reason}")


def _close(rest: str) -> Close:
    code, _, reason = rest.strip().partition(" ")
    if not code:
        return Close(1000, "")
    try:
        return Close(int(code), reason)
    except ValueError:
        raise CommandError(f"{code} is no close code; write a number such as 1000") from None


def _frame(rest: str) -> Frame:
    name, _, rest = rest.strip().partition(" ")
    try:
        opcode = OPCODES[name] if name in OPCODES else int(name, 0)
    except ValueError:
        opcode = -1
    if not 0 <= opcode <= 15:
        raise CommandError(f"{name!r} is no opcode; write 0 to 15, or {', '.join(OPCODES)}")
    bits = {"fin": 1, "rsv1": 0, "rsv2": 0, "rsv3": 0, "mask": 1}
    while (word := rest.partition(" ")[0]).partition("=")[0] in bits:
        key, _, value = word.partition("=")
        if value not in {"0", "1"}:
            raise CommandError(f"{word} is no bit; write {key}=0 or {key}=1")
        bits[key] = int(value)
        rest = rest.partition(" ")[2]
    payload = _hex(rest[2:]) if rest.startswith("0x") else rest.encode()
    rsv = bits["rsv1"], bits["rsv2"], bits["rsv3"]
    return Frame(opcode, payload, bits["fin"], rsv, bits["mask"])


def _hex(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise CommandError(f"{text!r} are no bytes in hex; write pairs such as 81 00") from None
