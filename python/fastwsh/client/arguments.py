"""The command line of `python -m fastwsh.client`."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fastwsh import __version__
from fastwsh.client.options import ConnectOptions

__all__ = ["DEFAULT_TIMEOUT", "build_parser", "connect_options", "parse_args"]

# Whoever is there opens and answers within one or two seconds.
DEFAULT_TIMEOUT: Final = 10.0

_EPILOG: Final = """\
Without --send, --send-file, --expect and --exit-on-close, and with a terminal as standard input,
this is a console: a line is sent as a text message, and /help names the commands. Otherwise it runs
to an end: messages go to standard output, one per line, and everything else to standard error. If
nothing is to be sent or expected, each line of standard input is a message.

exit status:
  0  all went well
  1  the connection was refused, lost, or took too long; or too few messages came
  2  the command line is wrong
  3  the peer closed with another code than 1000 and 1001
"""


class _Sending(argparse.Action):
    """Keeps --send and --send-file in their common order."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 (argparse's signature)
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        namespace.sending = [*namespace.sending, values]


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} has no colon; write 'Name: value'")
    return name.strip(), value.strip()


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


_seconds.__name__ = "number of seconds"


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return count


_count.__name__ = "number"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the manual."""
    parser = argparse.ArgumentParser(
        prog="python -m fastwsh.client",
        description="Talk to a WebSocket server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"fastwsh {__version__}")
    parser.add_argument("url", help="ws://..., wss://... or ws+unix:///path/of.sock:/resource")
    add = parser.add_argument_group("opening").add_argument
    add("-H", "--header", action="append", default=[], type=_header, metavar="'NAME: VALUE'",
        help="add a header to the request; may be repeated")  # fmt: skip
    add("--subprotocol", action="append", default=[], metavar="NAME",
        help="ask for a subprotocol; may be repeated, the preferred one first")  # fmt: skip
    add("--origin", help="the Origin header")
    add("--no-compression", action="store_true", help="do not offer permessage-deflate")
    add("--timeout", type=_seconds, metavar="SECONDS",
        help="for opening, for what is awaited after the last message was sent, and for closing "
        "(default: 10; for --exit-on-close: none)")  # fmt: skip
    add = parser.add_argument_group("TLS").add_argument
    add("--cacert", type=Path, metavar="FILE",
        help="trust the CA certificates in this PEM file instead of the system's")  # fmt: skip
    add("--insecure", action="store_true", help="do not check the server's certificate")
    add("--cert", type=Path, metavar="FILE", help="PEM file of a client certificate")
    add("--key", type=Path, metavar="FILE", help="PEM file of its private key, if not in --cert")
    add("--server-hostname", metavar="NAME",
        help="the name that the server's certificate must be for, if not the URL's")  # fmt: skip
    add = parser.add_argument_group("running to an end").add_argument
    parser.set_defaults(sending=[])
    add("--send", action=_Sending, default=argparse.SUPPRESS, metavar="TEXT",
        help="send a text message; may be repeated")  # fmt: skip
    add("--send-file", action=_Sending, default=argparse.SUPPRESS, type=Path, metavar="FILE",
        help="send a file as a binary message; may be repeated")  # fmt: skip
    add("--expect", type=_count, metavar="N", help="close when N messages have come")
    add("--exit-on-close", action="store_true", help="go on until the peer closes")
    parser.add_argument_group("frames").add_argument(
        "--raw", action="store_true",
        help="show every frame, answer none, and send lines of hex digits as they are",
    )  # fmt: skip
    return parser


def parse_args(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; `sending` is the messages: str for text, Path for a file.

    Raises:
        SystemExit: With status 2 for a wrong command line, 0 after --help and --version.
    """
    parser = build_parser()
    options = parser.parse_args(args)
    if options.key and not options.cert:
        parser.error("--key needs --cert, the file of the certificate")
    if options.insecure and options.cacert:
        parser.error("--insecure and --cacert contradict each other; leave one out")
    if options.expect and options.exit_on_close:
        parser.error("--expect and --exit-on-close contradict each other; leave one out")
    if options.raw and (options.sending or options.expect or options.exit_on_close):
        parser.error("--raw takes what it sends from standard input, and shows what comes")
    return options


def connect_options(options: argparse.Namespace) -> ConnectOptions:
    """Return what `connect` takes."""
    timeout = options.timeout or DEFAULT_TIMEOUT
    return {
        "subprotocols": options.subprotocol,
        "headers": options.header,
        "origin": options.origin,
        "compression": not options.no_compression,
        "open_timeout": timeout,
        "close_timeout": timeout,
        "ca_file": options.cacert,
        "verify": not options.insecure,
        "certificate": options.cert,
        "private_key": options.key,
        "server_hostname": options.server_hostname,
    }
