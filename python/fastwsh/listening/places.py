"""Places to listen besides `--server-host` and `--port`: opening their sockets.

Owns how places are written, Unix sockets and their files, and sockets that were inherited. Knows
nothing about connections. If a place that the operator names cannot be used, the server does not
start. Only addresses of pywebsocket's `--server-host` may be left out silently.
"""

import argparse
import errno
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from fastwsh.config_error import ConfigError
from fastwsh.listening.listeners import AddressInfo, Listener, format_address, parse_unix_path
from fastwsh.option_values import port_number

__all__ = [
    "Inherited",
    "Place",
    "Tcp",
    "Unix",
    "UnixListener",
    "open_all",
    "open_place",
    "parse_bind",
]

_FAMILIES: Final = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})

# Errors for an address of a family that this machine does not have.
_ABSENT: Final = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Tcp(NamedTuple):
    """A host and a port; an empty host stands for every address, IPv4 and IPv6.

    Attributes:
        host: Name or address, without brackets.
        port: 0 for any free one; all addresses of the host share it.
        option: The option that named it.
        takes_mapped: Whether `::` takes IPv4 connections too, if the system's default says so.
    """

    host: str
    port: int
    option: str = "--bind"
    takes_mapped: bool = False

    def __str__(self) -> str:
        return format_address((self.host, self.port))

    def open(self, backlog: int) -> Iterator[Listener]:
        """Yield a listening socket for each address of the host."""
        port, missing, found = self.port, None, False
        for info in socket.getaddrinfo(
            self.host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                listener = self._listen(info, port, backlog)
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                missing = error
                continue
            found = True
            port = port or listener.getsockname()[1]
            yield listener, info
        if missing is not None and not found:
            raise missing

    def _listen(self, info: AddressInfo, port: int, backlog: int) -> socket.socket:
        family, kind, protocol, _, address = info
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6 and not self.takes_mapped:
                # [::] and 0.0.0.0 can be used at the same time, whatever the system's default is
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address[0], port, *address[2:]))
            listener.listen(backlog)
        except BaseException:
            listener.close()
            raise
        return listener


class Unix(NamedTuple):
    """A Unix socket. Its file follows the umask, and is removed when the server ends.

    Attributes:
        path: The file; a relative one is relative to the document root.
        option: The option that named it.
    """

    path: str
    option: str = "--bind"

    def __str__(self) -> str:
        return f"unix:{self.path}"

    def open(self, backlog: int) -> Iterator[Listener]:
        """Yield the listening socket. It replaces one on which no process listens any more."""
        _remove_stale(self.path)
        listener = UnixListener(self.path)
        try:
            listener.listen(backlog)
        except BaseException:
            listener.close()
            raise
        yield listener, (socket.AF_UNIX, socket.SOCK_STREAM, 0, "", self.path)


class Inherited(NamedTuple):
    """A listening socket that this process was started with.

    Attributes:
        number: Its descriptor.
        option: The option, or the variable, that named it.
    """

    number: int
    option: str = "--fd"

    def __str__(self) -> str:
        return f"descriptor {self.number}"

    def open(self, backlog: int) -> Iterator[Listener]:
        """Yield the socket. Makes it listen if it was only bound; children do not inherit it."""
        listener = socket.socket(fileno=self.number)
        try:
            self._prepare(listener, backlog)
        except BaseException:
            listener.close()
            raise
        address = listener.getsockname()
        yield listener, (listener.family, listener.type, listener.proto, "", address)

    def _prepare(self, listener: socket.socket, backlog: int) -> None:
        if listener.family not in _FAMILIES or listener.type != socket.SOCK_STREAM:
            raise OSError(errno.EPROTOTYPE, "neither a TCP nor a Unix stream socket")
        listener.set_inheritable(False)
        address = listener.getsockname()
        if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            if not address or (listener.family != socket.AF_UNIX and not address[1]):
                raise OSError(errno.EINVAL, "not bound to an address")
            listener.listen(backlog)


Place = Tcp | Unix | Inherited


class UnixListener(socket.socket):
    """A Unix socket that removes its file when it is closed."""

    def __init__(self, path: str) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.bind(path)
        except BaseException:
            super().close()
            raise
        # a handler may change the current folder, and another server may use the name meanwhile
        self._path = os.path.abspath(path)  # noqa: PTH100 (resolve() would follow links)
        self._identity = _identity(self._path)

    def close(self) -> None:
        """Close the socket, and remove its file unless another server uses it by now."""
        if self.fileno() >= 0:
            with suppress(OSError):
                if _identity(self._path) == self._identity:
                    os.unlink(self._path)  # noqa: PTH108 (a string as given)
        super().close()


def _identity(path: str) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_dev, status.st_ino


def _remove_stale(path: str) -> None:
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(errno.EEXIST, "the file exists and is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        outcome = probe.connect_ex(path)
    if outcome in {0, errno.EAGAIN}:
        raise OSError(errno.EADDRINUSE, "another server listens there")
    if outcome != errno.ECONNREFUSED:
        raise OSError(outcome, os.strerror(outcome))
    with suppress(FileNotFoundError):
        os.unlink(path)  # noqa: PTH108 (a string as given)


def parse_bind(text: str) -> Place:
    """Parse `host:port`, `[IPv6 address]:port`, `:port` or `unix:path`.

    Raises:
        argparse.ArgumentTypeError: It is none of these, the port no number, or the path empty.
    """
    scheme, _, path = text.partition(":")
    if scheme == "unix" and not path.isdecimal():
        return Unix(parse_unix_path(path))
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        colon = ""
    if not colon:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no place to listen on (host:port, [IPv6 address]:port or unix:path)"
        )
    return Tcp(host, port_number(port))


def open_all(options: Any) -> list[Listener]:
    """Listen on every place that the options name; on host and port only if they were given.

    Raises:
        ConfigError: One of them cannot be used. Nothing listens then.
    """
    places: list[Place] = []
    if getattr(options, "port_is_named", False):
        host = options.server_host
        places.append(Tcp(host, options.port, "--port", takes_mapped=bool(host)))
    places += getattr(options, "bind", None) or ()
    places += (Unix(path, "--uds") for path in _unix_paths(options))
    places += map(Inherited, dict.fromkeys(getattr(options, "fd", None) or ()))
    opened: list[Listener] = []
    try:
        for place in places:
            opened.extend(open_place(place, options.request_queue_size))
    except BaseException:
        for listener, _ in opened:
            listener.close()
        raise
    return opened


def _unix_paths(options: Any) -> list[str]:
    """The Unix sockets of `--uds`; embedders may give one as a string."""
    paths = getattr(options, "uds", None) or []
    return [paths] if isinstance(paths, str) else list(dict.fromkeys(paths))


def open_place(place: Place, backlog: int) -> list[Listener]:
    """Listen on a place.

    Args:
        place: Where.
        backlog: Connections that the system keeps waiting to be accepted.

    Raises:
        ConfigError: The place cannot be used. Nothing listens then.
    """
    opened: list[Listener] = []
    try:
        for entry in place.open(backlog):
            opened.append(entry)  # noqa: PERF402 (those before a failure must be closed)
    except (OSError, UnicodeError) as error:
        for listener, _ in opened:
            listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(
            f"cannot listen on {place} ({reason}); name another place with {place.option}"
        ) from error
    return opened
