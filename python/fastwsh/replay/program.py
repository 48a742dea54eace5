"""`python -m fastwsh.replay`: the server of a recording, until it is interrupted."""

import argparse
import os
import re
import sys
import threading
from collections.abc import Sequence
from typing import Final

from fastwsh.client.arguments import seconds
from fastwsh.config_error import ConfigError
from fastwsh.output import stdout
from fastwsh.program import catch_interrupts, listen_options, show, tls_files, wait_for
from fastwsh.testing.har import HarError
from fastwsh.testing.replaying import Replay
from fastwsh.testing.server import WsServer

__all__ = ["main"]

_FAILED: Final = 1
_NAME: Final = "fastwsh.replay"
# Time between two checks whether a client has failed, or all have connected.
_LOOK_SECONDS: Final = 0.1

_EPILOG: Final = """\
Each client gets the next connection of FILE with its path, and is to send what was sent then; where
it does not, the connection is closed with 1011, and standard error says what was expected and what
came. When all connections of a path have been played, the first one comes again.
"""


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}; 0 is without pauses, 1 as it was recorded")
    return speed


_speed.__name__ = "speed"


def _regex(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from None


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the manual."""
    parser = stdout.ProgramParser(
        "fastwsh.replay", "Be the WebSocket server that was recorded in a HAR file.", _EPILOG
    )
    parser.add_argument(
        "file",
        help="of python -m fastwsh.record, or exported by Chromium's developer tools or mitmproxy",
    )
    add = parser.add_argument
    add("--path", help="replay the connections of this path only")
    add("--speed", type=_speed, default=0.0, metavar="FACTOR",
        help="0: without pauses; 1: at the recorded times; 2: twice as fast "
        "(default: 0)")  # fmt: skip
    add("--lenient", action="store_true",
        help="take messages in any order between two of the server, and others among them, and "
        "clients that leave early")  # fmt: skip
    add("--match", choices=["exact", "json"], default="exact",
        help="compare messages as they are, or as JSON (default: %(default)s)")  # fmt: skip
    add("--ignore", action="append", default=[], metavar="KEY",
        help="a key of JSON messages that may differ, such as id, or meta.id from the top on; may "
        "be repeated")  # fmt: skip
    add("--may-differ", type=_regex, metavar="REGEX",
        help="what matches this may differ")  # fmt: skip
    add("--timeout", type=seconds, metavar="SECONDS",
        help="give up a client that sends nothing for so long (default: never)")  # fmt: skip
    add("--once", action="store_true",
        help="end when every connection has been played, with status 1 if a client "
        "failed")  # fmt: skip
    listen_options(parser)
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Replay until SIGINT or SIGTERM; `--help` is the manual.

    Returns:
        The exit status: 0; 1 if the server cannot start, or with --once if a client failed.

    Raises:
        SystemExit: With status 2 for a wrong command line, 0 after --help and --version.
    """
    parser = build_parser()
    options = parser.parse_args(args)
    if options.may_differ and (options.ignore or options.match != "exact"):
        parser.error("--may-differ is for text, --match json and --ignore for JSON; leave one out")
    try:
        server = WsServer(host=options.host, port=options.port, tls=tls_files(parser, options))
    except (ConfigError, ValueError) as error:
        return _fail(error)
    try:
        replay = server.replay(
            options.file,
            path=options.path,
            strict=not options.lenient,
            speed=options.speed,
            match=options.may_differ or options.match,
            ignore=options.ignore,
            timeout=options.timeout,
            repeat=not options.once,
        )
    except HarError as error:
        server.stop()
        return _fail(error)
    with server:
        urls = ", ".join(map(server.url_for, replay.paths))
        end = threading.Event()
        catch_interrupts(end)
        show(f"Replaying {options.file}; clients connect to {urls}")
        failed = _watch(server, replay, end, once=options.once)
    return _FAILED if failed and options.once else 0


def _watch(server: WsServer, replay: Replay, end: threading.Event, *, once: bool) -> bool:
    """Report failures as they occur, until `end`; return whether there were any."""
    failed = threading.Event()

    def look() -> None:
        while not end.wait(_LOOK_SECONDS):
            is_over = once and replay.is_over
            for error in server.take_errors():
                failed.set()
                _fail(error)
            # clear the records, which would add up
            server._recorder.forget_history()
            if is_over:
                end.set()

    watcher = threading.Thread(target=look, name="fastwsh-watch", daemon=True)
    watcher.start()
    wait_for(end)
    end.set()
    watcher.join()
    for error in server.take_errors():
        failed.set()
        _fail(error)
    return failed.is_set()


def _fail(error: object) -> int:
    sys.stderr.write(f"{_NAME}: {error}{os.linesep}")
    return _FAILED
