"""Listening sockets: those that a process inherits, and how addresses are shown.

`sockets` opens those of `--server-host` and `--port`, and `places` those of `--bind`, `--uds` and
`--fd`, which few servers need.
"""

from __future__ import annotations

import argparse
import os
import socket

from fastwsh.config_error import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from typing import Any, Final

__all__ = [
    "AddressInfo",
    "Listener",
    "are_named",
    "descriptor",
    "first_port",
    "format_address",
    "parse_unix_path",
    "take_inherited",
]

AddressInfo = tuple["Any", ...]
"""(family, type, protocol, canonical name, address), as `socket.getaddrinfo` returns it."""

Listener = tuple[socket.socket, AddressInfo]
"""A listening socket, and where it listens."""

# sd_listen_fds(3): the first descriptor that a service manager passes on.
_FIRST_INHERITED: Final = 3
# Linux has a thousand million descriptors at most; what is longer does not fit into a C int.
_DESCRIPTOR_DIGITS: Final = 9


def parse_unix_path(text: str) -> str:
    """Return the path of a Unix socket; raises ArgumentTypeError if it is empty."""
    if not text:
        raise argparse.ArgumentTypeError("the path of the Unix socket is empty")
    return text


def descriptor(text: str) -> int:
    """Parse the number of a descriptor; raises ArgumentTypeError if it is none."""
    if not text.strip().isdecimal() or len(text) > _DESCRIPTOR_DIGITS:
        raise argparse.ArgumentTypeError(f"{text!r} is not the number of a descriptor")
    return int(text)


def take_inherited(environ: MutableMapping[str, str]) -> list[int]:
    """Return the descriptors that a service manager passed to this process (sd_listen_fds(3)).

    Removes the variables, so that children do not use them.

    Raises:
        ConfigError: LISTEN_FDS is no number.
    """
    pid, count, *_ = (
        environ.pop(name, None)
        for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
    )
    if count is None or pid != str(os.getpid()):
        return []
    if not count.isdecimal():
        raise ConfigError(f"LISTEN_FDS={count!r} is not a number of sockets; unset it")
    return list(range(_FIRST_INHERITED, _FIRST_INHERITED + int(count)))


def are_named(options: Any) -> bool:
    """Tell whether the options name places besides pywebsocket's host and port."""
    return any(getattr(options, name, None) for name in ("bind", "uds", "fd"))


def first_port(sockets: list[Listener]) -> int | None:
    """Return the port of the first TCP socket."""
    for listener, _ in sockets:
        if listener.family != socket.AF_UNIX:
            port: int = listener.getsockname()[1]
            return port
    return None


def format_address(address: Any) -> str:
    """Return the address of a socket as `--bind` takes it."""
    if not isinstance(address, tuple):
        path = os.fsdecode(address)
        return f"unix:{path}"
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
