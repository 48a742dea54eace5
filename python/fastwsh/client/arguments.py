"""The command line of `python -m fastwsh.client`."""

import argparse
import base64
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from fastwsh.client.options import ConnectOptions
from fastwsh.client.sending import File
from fastwsh.output import stdout

__all__ = ["DEFAULT_TIMEOUT", "add_tls", "build_parser", "connect_options", "parse_args"]
__all__ += ["parse_header", "seconds"]

# A server that works opens and answers within one or two seconds.
DEFAULT_TIMEOUT: Final = 10.0

_EPILOG: Final = """\
With a terminal as standard input, and without --send, --send-file, --expect, --exit-on-close and
--json-lines, this is a console: a line is sent as a text message, and /help names the commands.
Otherwise it runs to an end: messages go to standard output, one per line, and everything else to
standard error. Without --send and --send-file, each line of standard input is a message, unless
that is a terminal and something is expected.

Without --proxy, the environment names one: HTTPS_PROXY or else ALL_PROXY; for ws:// HTTP_PROXY
between them. Servers in NO_PROXY are reached without.

exit status:
  0  all went well
  1  the connection was refused, lost, or took too long; or too few messages came, or standard
     output cannot be written to
  2  the command line or the input is wrong
  3  the peer closed with another code than 1000 and 1001
"""


class _Sending(argparse.Action):
    """Keeps the order of --send and --send-file on the command line."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 (argparse's signature)
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,  # noqa: ARG002
    ) -> None:
        namespace.sending = [*namespace.sending, values]


def parse_header(text: str) -> tuple[str, str]:
    """Return name and value of a header; raises ArgumentTypeError if the text has no colon."""
    name, colon, value = text.partition(":")
    if not colon:
        raise argparse.ArgumentTypeError(f"{text!r} has no colon; write 'Name: value'")
    return name.strip(), value.strip()


def _auth(text: str) -> str:
    if ":" not in text:
        raise argparse.ArgumentTypeError("it has no colon; write USER:PASSWORD")
    return text


def seconds(text: str) -> float:
    """Return a number of seconds; raises ArgumentTypeError if it is 0, negative or too long."""
    value = float(text)
    # `not <` instead of `>=`, so that NaN is refused as well; no thread can wait longer
    if not 0 < value < threading.TIMEOUT_MAX:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no number of seconds above 0 and below {threading.TIMEOUT_MAX:.0f}"
        )
    return value


seconds.__name__ = "number of seconds"


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return count


_count.__name__ = "number"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the manual."""
    parser = stdout.ProgramParser("fastwsh.client", "Talk to a WebSocket server.", _EPILOG)
    parser.add_argument("url", help="ws://..., wss://... or ws+unix:///path/of.sock:/resource")
    add = parser.add_argument_group("opening").add_argument
    add("-H", "--header", action="append", default=[], type=parse_header, metavar="'NAME: VALUE'",
        help="add a header to the request; may be repeated")  # fmt: skip
    add("--subprotocol", action="append", default=[], metavar="NAME",
        help="ask for a subprotocol; may be repeated, the preferred one first")  # fmt: skip
    add("--origin", help="the Origin header")
    add("--auth", type=_auth, metavar="USER:PASSWORD",
        help="log in by an Authorization header, as USER:PASSWORD@ in the URL does")  # fmt: skip
    add("--http2", action="store_true",
        help="open the WebSocket on a stream of HTTP/2: with TLS the server must choose it, "
        "without TLS it must expect it")  # fmt: skip
    add("--no-compression", action="store_true", help="do not offer permessage-deflate")
    add("--proxy", metavar="URL",
        help="go through a proxy: http://, socks5:// or socks5h://, which looks names up; with "
        "USER:PASSWORD@ before its host if it wants credentials")  # fmt: skip
    add("--no-proxy", action="store_true", help="use no proxy, whatever the environment says")
    add("--timeout", type=seconds, metavar="SECONDS",
        help="time limit for opening, for waiting after the last message was sent, and for "
        "closing (default: 10; for --exit-on-close: none)")  # fmt: skip
    add("--ping-interval", type=seconds, metavar="SECONDS",
        help="send a ping at this interval, and cut the connection if its pong has not arrived "
        "when the next ping is due")  # fmt: skip
    add("-v", "--verbose", action="store_true",
        help="show the heads of the opening handshake on standard error, with "
        "all credentials")  # fmt: skip
    add("--record", type=Path, metavar="FILE",
        help="record the connection in a HAR file, without credentials and cookies; an existing "
        "file is continued")  # fmt: skip
    add_tls(parser)
    add = parser.add_argument_group("running to an end").add_argument
    parser.set_defaults(sending=[])
    add("--send", action=_Sending, default=argparse.SUPPRESS, metavar="TEXT",
        help="send a text message; may be repeated")  # fmt: skip
    add("--send-file", action=_Sending, default=argparse.SUPPRESS, type=File, metavar="FILE",
        help="send a file as a binary message, - for standard input; may be repeated; one of "
        "16 MiB or more is sent in fragments while it is read")  # fmt: skip
    add("--binary", action="store_true",
        help="send the texts of --send, of standard input and of the console as binary "
        "messages")  # fmt: skip
    add("--expect", type=_count, metavar="N", help="close after N received messages")
    add("--exit-on-close", action="store_true", help="go on until the peer closes")
    add("--json-lines", action="store_true",
        help='write each message as a line of JSON: {"type": "text", "time": 1.5, "data": "..."}; '
        "of a binary one, data is base64")  # fmt: skip
    parser.add_argument_group("frames").add_argument(
        "--raw", action="store_true",
        help="show every frame, answer none, send lines of hex digits as they are, and offer no "
        "compression",
    )  # fmt: skip
    return parser


def add_tls(parser: argparse.ArgumentParser) -> None:
    """Add the options for `wss://` servers."""
    add = parser.add_argument_group("TLS").add_argument
    add("--cacert", type=Path, metavar="FILE",
        help="trust the CA certificates in this PEM file instead of the system's")  # fmt: skip
    add("--insecure", action="store_true", help="do not check the server's certificate")
    add("--cert", type=Path, metavar="FILE", help="PEM file of a client certificate")
    add("--key", type=Path, metavar="FILE", help="PEM file of its private key, if not in --cert")
    add("--server-hostname", metavar="NAME",
        help="the name that the server's certificate must be for, if not the URL's")  # fmt: skip


def parse_args(args: Sequence[str] | None) -> argparse.Namespace:
    """Parse the arguments; `sending` is the messages: str for text, `File` for a file.

    Raises:
        OutputError: The help cannot be written.
        SystemExit: With status 2 for a wrong command line, 0 after --help and --version.
    """
    parser = build_parser()
    options = parser.parse_args(args)
    for is_wrong, reason in _mistakes(options):
        if is_wrong:
            parser.error(reason)
    for name, value in _texts(options):
        if not _is_unicode(value):
            parser.error(f"{name} is not UTF-8: {value!r}; percent-encode it, or write UTF-8")
    return options


def _mistakes(options: argparse.Namespace) -> list[tuple[object, str]]:
    """Return sentences for options that exclude each other."""
    has_header = any(name.lower() == "authorization" for name, _ in options.header)
    runs = options.sending or options.expect or options.exit_on_close
    return [
        (
            options.key and not options.cert,
            "--key needs --cert, the file of the certificate",
        ),
        (
            options.insecure and options.cacert,
            "--insecure and --cacert contradict each other; leave one out",
        ),
        (
            options.expect and options.exit_on_close,
            "--expect and --exit-on-close contradict each other; leave one out",
        ),
        (
            options.raw and runs,
            "--raw takes what it sends from standard input, and shows what comes",
        ),
        (
            options.raw and (options.binary or options.json_lines),
            "--raw sends and shows frames; leave out --binary and --json-lines",
        ),
        (
            options.proxy is not None and options.no_proxy,
            "--proxy and --no-proxy contradict each other; leave one out",
        ),
        (
            options.http2 and options.record is not None,
            "--record sees HTTP/1.1 only; leave out --http2",
        ),
        (
            options.auth is not None and has_header,
            "--auth and an Authorization header contradict each other; leave one out",
        ),
        (
            options.sending.count(File("-")) > 1,
            "standard input can be sent once; leave out one --send-file -",
        ),
    ]


def _texts(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Return the texts that go into the request, by the names that users know."""
    texts = [
        ("the URL", options.url),
        ("--origin", options.origin),
        ("--proxy", options.proxy),
        ("--server-hostname", options.server_hostname),
        *(("--subprotocol", name) for name in options.subprotocol),
        *(("--header", f"{name}: {value}") for name, value in options.header),
    ]
    return [(name, value) for name, value in texts if value is not None]


def _is_unicode(text: str) -> bool:
    """Whether all bytes of an argument could be decoded; others are surrogates (PEP 383)."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def connect_options(
    options: argparse.Namespace, on_head: Callable[[str, bytes], object]
) -> ConnectOptions:
    """Return the keyword arguments for `connect`.

    Args:
        options: The arguments.
        on_head: Is called with each head, if the user wants to see them.
    """
    timeout = options.timeout or DEFAULT_TIMEOUT
    headers = list(options.header)
    if options.auth is not None:
        token = base64.b64encode(os.fsencode(options.auth)).decode()
        headers.append(("Authorization", f"Basic {token}"))
    return {
        "subprotocols": options.subprotocol,
        "headers": headers,
        "origin": options.origin,
        # Frames are shown as they are.
        "compression": not (options.no_compression or options.raw),
        "http_version": 2 if options.http2 else 1,
        "open_timeout": timeout,
        "close_timeout": timeout,
        "ca_file": options.cacert,
        "verify": not options.insecure,
        "certificate": options.cert,
        "private_key": options.key,
        "server_hostname": options.server_hostname,
        "proxy": not options.no_proxy if options.proxy is None else options.proxy,
        "on_head": on_head if options.verbose else None,
    }
