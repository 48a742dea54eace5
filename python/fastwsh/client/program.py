"""`python -m fastwsh.client`: connect, communicate, and end with a status."""

import argparse
import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Final, TextIO

from fastwsh.client import connect_sync
from fastwsh.client.arguments import DEFAULT_TIMEOUT, connect_options, parse_args
from fastwsh.client.connection import ClientConnection
from fastwsh.client.console import Console
from fastwsh.client.frame_script import FrameScript
from fastwsh.client.oneshot import OneShot
from fastwsh.client.output import Output
from fastwsh.client.recorded import recording
from fastwsh.client.sending import InputError, Message, StdinLines, messages_of
from fastwsh.client.status import Status
from fastwsh.client.terminal import elide, escape
from fastwsh.errors import (
    ConnectArgumentError,
    ConnectError,
    ConnectRefusedError,
    FastwshError,
)
from fastwsh.output import stdout
from fastwsh.process.interrupts import INTERRUPTED

__all__ = ["main"]

_GOING_AWAY: Final = 1001

# What sentences on standard error begin with.
_NAME: Final = "fastwsh.client: "


def main(args: Sequence[str] | None = None) -> int:
    """Communicate with a server as the arguments say; `--help` is the manual.

    Args:
        args: The arguments without the program's name; None takes those of the process.

    Returns:
        A `Status`; 130 after an interrupt, 141 if the reader of standard output has gone.

    Raises:
        SystemExit: With status 2 for a wrong command line, 0 after --help and --version.
    """
    stdout.reserve_descriptors()
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 (until the end)
    try:
        return _run(parse_args(args))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return stdout.GONE
    except InputError as error:
        _tell(str(error))
        return Status.USAGE
    except stdout.OutputError as error:
        _tell(str(error))
        return Status.FAILED


def _run(options: argparse.Namespace) -> int:
    messages = messages_of(options.sending, binary=options.binary)
    with recording(options, connect_options(options, _show_head)) as (url, how, explain):
        try:
            connection = connect_sync(url, **how)
        except ConnectArgumentError as error:
            _tell(str(error))
            return Status.USAGE
        except ConnectError as error:
            cause = explain(error)
            _tell(str(cause))
            if isinstance(cause, ConnectRefusedError) and (page := _first_line(cause.body)):
                _tell(f"its page says: {page}")
            return Status.USAGE if isinstance(cause, ConnectArgumentError) else Status.FAILED
        return _use(connection, options, messages)


def _use(connection: ClientConnection, options: argparse.Namespace, messages: list[Message]) -> int:
    try:
        return _speak(connection, options, messages)
    except (BrokenPipeError, stdout.OutputError):
        with suppress(FastwshError):
            connection.start_closing(_GOING_AWAY)
        raise


def _speak(
    connection: ClientConnection, options: argparse.Namespace, messages: list[Message]
) -> int:
    has_terminal = sys.stdin is not None and sys.stdin.isatty()
    interval = options.ping_interval
    if options.raw and not has_terminal:
        timeout = options.timeout or DEFAULT_TIMEOUT
        shot = FrameScript(connection, _tell, Output(), timeout=timeout, ping_interval=interval)
        with redirect_stderr(_NamedLines(sys.stderr)):
            return shot.run()
    expects = bool(options.expect or options.exit_on_close)
    if has_terminal and not (messages or expects or options.json_lines):
        console = Console(
            connection, raw=options.raw, binary=options.binary, ping_interval=interval
        )
        return console.run()
    from_stdin = not options.sending and not (has_terminal and expects)
    run = OneShot(
        connection,
        StdinLines(binary=options.binary) if from_stdin else messages,
        _tell,
        Output(json_lines=options.json_lines),
        expect=options.expect,
        until_closed=options.exit_on_close,
        timeout=options.timeout or (None if options.exit_on_close else DEFAULT_TIMEOUT),
        ping_interval=interval,
    )
    with redirect_stderr(_NamedLines(sys.stderr)):
        return run.run()


def _tell(sentence: str) -> None:
    _write_error(f"{_NAME}{escape(sentence)}\n")


class _NamedLines(io.TextIOBase):
    """Standard error while a connection is used: warnings of the protocol get the program's name.

    They come by a logger without a handler: to set one up would load `logging` at each start.

    Args:
        stream: Standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._begun = ""

    def write(self, text: str) -> int:
        """Write the lines that are complete with this text."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(None, lines):
            sentence = line if line.startswith(_NAME) else f"{_NAME}{escape(line)}"
            _write_to(self._stream, f"{sentence}\n")
        return len(text)


def _show_head(mark: str, head: bytes) -> None:
    """Show an HTTP head, line by line, as curl does."""
    try:
        text = head.decode()
    except UnicodeDecodeError:
        text = head.decode("latin-1")
    lines = text.removesuffix("\n").split("\n")
    _write_error("".join(f"{mark} {escape(line.removesuffix(chr(13)))}\n" for line in lines))


def _write_error(text: str) -> None:
    _write_to(sys.stderr, text)


def _write_to(stream: TextIO, text: str) -> None:
    # If standard error cannot be written, the exit status must be enough.
    with suppress(OSError, ValueError):
        encoding = stream.encoding or "utf-8"
        stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stream.flush()


def _first_line(body: bytes) -> str:
    """The first line of a page that is plain text."""
    text = body.decode(errors="backslashreplace").strip()
    if not text or text.startswith("<"):
        return ""
    return elide(text.splitlines()[0])
