"""`python -m fastwsh.client`: connect, speak, and leave with a status and at most a sentence."""

import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from fastwsh.client import connect_sync
from fastwsh.client.arguments import DEFAULT_TIMEOUT, connect_options, parse_args
from fastwsh.client.console import Console
from fastwsh.client.oneshot import OneShot, messages_of, run_raw, stdin_lines
from fastwsh.client.status import Status
from fastwsh.client.terminal import elide, escape
from fastwsh.errors import ConnectArgumentError, ConnectError, ConnectRefusedError

__all__ = ["main"]

_INTERRUPTED: Final = 128 + signal.SIGINT
_OUTPUT_GONE: Final = 128 + signal.SIGPIPE


def main(args: Sequence[str] | None = None) -> int:
    """Talk to a server as the arguments say; `--help` is the manual.

    Args:
        args: The arguments without the program's name; None takes those of the process.

    Returns:
        A `Status`; 130 after an interrupt, 141 if nobody reads standard output any more.

    Raises:
        SystemExit: With status 2 for a wrong command line, 0 after --help and --version.
    """
    options = parse_args(args)
    try:
        messages = messages_of(options.sending)
    except OSError as error:
        _tell(f"cannot read {error.filename}: {error.strerror}")
        return Status.USAGE
    try:
        connection = connect_sync(options.url, **connect_options(options))
    except ConnectArgumentError as error:
        _tell(str(error))
        return Status.USAGE
    except ConnectError as error:
        _tell(str(error))
        if isinstance(error, ConnectRefusedError) and (page := _first_line(error.body)):
            _tell(f"its page says: {page}")
        return Status.FAILED
    except KeyboardInterrupt:
        return _INTERRUPTED
    runs_to_an_end = bool(messages or options.expect or options.exit_on_close)
    try:
        if options.raw and not _has_terminal():
            return run_raw(connection, _tell, options.timeout or DEFAULT_TIMEOUT)
        if not runs_to_an_end and _has_terminal():
            return Console(connection, raw=options.raw).run()
        timeout = options.timeout or (None if options.exit_on_close else DEFAULT_TIMEOUT)
        run = OneShot(
            connection,
            messages if runs_to_an_end else stdin_lines(),
            _tell,
            expect=options.expect,
            until_closed=options.exit_on_close,
            timeout=timeout,
        )
        return run.run()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # Python flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OUTPUT_GONE


def _has_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _tell(sentence: str) -> None:
    sys.stderr.write(f"fastwsh.client: {escape(sentence)}\n")
    sys.stderr.flush()


def _first_line(body: bytes) -> str:
    """The first line of a page that is plain text."""
    text = body.decode(errors="replace").strip()
    if not text or text.startswith("<"):
        return ""
    return elide(text.splitlines()[0])
