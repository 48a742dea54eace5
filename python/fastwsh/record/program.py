"""`python -m fastwsh.record`: a recording proxy, until it is interrupted."""

import argparse
import logging
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from fastwsh.client.arguments import add_tls, parse_header
from fastwsh.config_error import ConfigError
from fastwsh.errors import ConnectArgumentError
from fastwsh.output import stdout
from fastwsh.program import catch_interrupts, listen_options, show, tls_files, wait_for
from fastwsh.record.redaction import Hook, load_hook
from fastwsh.testing.har import HarError
from fastwsh.testing.server import WsServer

__all__ = ["main"]

_FAILED: Final = 1
_NAME: Final = "fastwsh.record"

_EPILOG: Final = """\
Clients connect to ws://HOST:PORT/ in place of URL; other paths lead to the same paths of its
server. What they say passes as it is: subprotocols, headers, compression, fragments, pings, close
codes, refusals and unclean ends. The file can be opened in a browser's developer tools, and
replayed by python -m fastwsh.replay. It is whole at any time; one that is there goes on.
"""


def _hook(text: str) -> Hook:
    # find modules in the current folder, as `python -m` does
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        return load_hook(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; its help is the manual."""
    parser = stdout.ProgramParser(
        "fastwsh.record", "Record what clients and a WebSocket server say to each other.", _EPILOG
    )
    parser.add_argument("url", help="ws://..., wss://... or ws+unix:///path/of.sock:/resource")
    add = parser.add_argument
    add("-o", "--output", required=True, type=Path, metavar="FILE", help="the HAR file")
    add("--overwrite", action="store_true", help="replace an existing file")
    listen_options(parser)
    add = parser.add_argument_group("secrets").add_argument
    add("--redact-header", action="append", default=[], metavar="NAME",
        help="do not record the value of this header, besides Authorization, Proxy-Authorization, "
        "Cookie and Set-Cookie; may be repeated")  # fmt: skip
    add("--redact-query", action="append", default=[], metavar="NAME",
        help="do not record the value of this parameter in URLs; may be repeated")  # fmt: skip
    add("--redact", type=_hook, metavar="MODULE:FUNCTION",
        help="call a function with each har.Conversation and har.Message of fastwsh.testing; it "
        "returns what is recorded, or None to leave a message out")  # fmt: skip
    add = parser.add_argument_group("the real server").add_argument
    add("-H", "--header", action="append", default=[], type=parse_header, metavar="'NAME: VALUE'",
        help="send a header in place of the client's; may be repeated")  # fmt: skip
    add("--proxy", metavar="URL", help="go through a proxy: http://, socks5:// or socks5h://")
    add("--no-proxy", action="store_true", help="use no proxy, whatever the environment says")
    add_tls(parser)
    return parser


def main(args: Sequence[str] | None = None) -> int:
    """Record until SIGINT or SIGTERM; `--help` is the manual.

    Returns:
        The exit status: 0 after a signal; 1 if the server cannot start, or nothing more could be
        written.

    Raises:
        SystemExit: With status 2 for a wrong command line, 0 after --help and --version.
    """
    parser = build_parser()
    options = parser.parse_args(args)
    if options.key and not options.cert:
        parser.error("--key needs --cert, the file of the certificate")
    if options.proxy is not None and options.no_proxy:
        parser.error("--proxy and --no-proxy contradict each other; leave one out")
    _log_to_stderr()
    try:
        server = WsServer(host=options.host, port=options.port, tls=tls_files(parser, options))
    except (ConfigError, ValueError) as error:
        return _fail(error)
    try:
        server.record(
            options.url,
            options.output,
            headers=options.header,
            redact_headers=options.redact_header,
            redact_query=options.redact_query,
            redact=options.redact,
            overwrite=options.overwrite,
            **_connect_options(options),
        )
    except (ConnectArgumentError, HarError, ValueError) as error:
        server.stop()
        return _fail(error)
    except OSError as error:
        server.stop()
        return _fail(f"cannot write {options.output}: {error.strerror}")
    with server:
        end = threading.Event()
        catch_interrupts(end)
        show(f"Recording {options.url} into {options.output}; clients connect to {server.url}")
        wait_for(end)
        failed = server.recording_error
    return 0 if failed is None else _FAILED


def _connect_options(options: argparse.Namespace) -> dict[str, Any]:
    return {
        "ca_file": options.cacert,
        "verify": not options.insecure,
        "certificate": options.cert,
        "private_key": options.key,
        "server_hostname": options.server_hostname,
        "proxy": None if options.no_proxy else options.proxy or True,
    }


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger(_NAME)
    logger.addHandler(handler)
    logger.propagate = False


def _fail(error: object) -> int:
    sys.stderr.write(f"{_NAME}: {error}{os.linesep}")
    return _FAILED
