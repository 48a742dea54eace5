"""Shared by the small server programs: where they listen, and how they end."""

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from fastwsh.testing.tls import TlsFiles

__all__ = ["catch_interrupts", "listen_options", "show", "tls_files", "wait_for"]

_MAX_PORT: Final = 0xFFFF


def listen_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where to listen."""
    add = parser.add_argument_group("listening").add_argument
    add("-p", "--port", type=_port, default=9998,
        help="the port; 0 is any free one (default: %(default)s)")  # fmt: skip
    add("--host", default="127.0.0.1",
        help="the address to listen on; everybody who can reach it is served (default: "
        "%(default)s)")  # fmt: skip
    add("--certificate", type=Path, metavar="FILE",
        help="PEM file of a certificate, for clients that connect to wss://")  # fmt: skip
    add("--private-key", type=Path, metavar="FILE", help="PEM file of its private key")


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; it is 0 to {_MAX_PORT}")
    return port


_port.__name__ = "port"


def tls_files(parser: argparse.ArgumentParser, options: argparse.Namespace) -> "TlsFiles | None":
    """Return the files for TLS, if the options name them."""
    from fastwsh.testing.tls import TlsFiles  # noqa: PLC0415 (this module is below that package)

    if (options.certificate is None) != (options.private_key is None):
        parser.error("--certificate and --private-key go together; name both")
    if options.certificate is None:
        return None
    return TlsFiles(options.certificate, options.private_key)


def show(line: str) -> None:
    """Write a line to standard output, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def catch_interrupts(end: threading.Event) -> None:
    """Make SIGINT and SIGTERM set `end`; call this before reporting that the server runs."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: end.set())


def wait_for(end: threading.Event) -> None:
    """Wait for the event; signals are handled meanwhile."""
    # wait in short pieces: a signal that arrives just before a wait does not end it
    while not end.wait(0.5):
        pass
