"""Forward proxies for tests of the client: HTTP CONNECT and SOCKS 5, and what they were asked."""

import base64
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from wire import DEADLINE_SECONDS

__all__ = ["ForwardProxy", "connect_proxy", "socks_proxy"]

_NO_AUTHENTICATION = b"\x05\x00"
_PASSWORD = b"\x05\x02"
_NOTHING_ACCEPTABLE = b"\x05\xff"


@dataclass
class ForwardProxy:
    """A proxy that leads wherever `leads_to` says, whatever it is asked for.

    Attributes:
        port: Where it listens.
        asked: `host:port` of every client.
        heads: The heads of CONNECT requests.
        credentials: What it wants; None: nothing.
        refuses_with: The status line, or the reply of SOCKS, that it answers with instead.
        leads_to: Where it connects to; None: to what it is asked for.
    """

    port: int
    credentials: tuple[str, str] | None = None
    refuses_with: bytes | None = None
    leads_to: tuple[str, int] | None = None
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    def url(self, scheme: str, userinfo: str = "") -> str:
        return f"{scheme}://{userinfo}127.0.0.1:{self.port}"

    def lead(self, host: str, port: int) -> socket.socket:
        self.asked.append(f"{host}:{port}")
        return socket.create_connection(self.leads_to or (host, port), DEADLINE_SECONDS)

    def serve_connect(self, client: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += _read(client, 1)
        text = head.decode()
        self.heads.append(text)
        method, place, version = text.splitlines()[0].split(" ")
        assert (method, version) == ("CONNECT", "HTTP/1.1")
        assert f"\r\nHost: {place}\r\n" in text
        if self.refuses_with is not None:
            client.sendall(self.refuses_with)
            return
        if self.credentials is not None:
            token = base64.b64encode(":".join(self.credentials).encode()).decode()
            if f"\r\nProxy-Authorization: Basic {token}\r\n" not in text:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
        host, _, port = place.rpartition(":")
        with self.lead(host.strip("[]"), int(port)) as server:
            # As squid and tinyproxy do it, with an interim answer that no client need expect.
            client.sendall(
                b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 Connection established\r\n\r\n"
            )
            _relay(client, server)

    def serve_socks(self, client: socket.socket) -> None:
        version, count = _read(client, 2)
        if version != 5:
            return
        methods = _read(client, count)
        if self.credentials is None:
            client.sendall(_NO_AUTHENTICATION)
        elif 2 not in methods:
            client.sendall(_NOTHING_ACCEPTABLE)
            return
        else:
            client.sendall(_PASSWORD)
            assert _read(client, 1) == b"\x01"
            user = _read(client, _read(client, 1)[0]).decode()
            password = _read(client, _read(client, 1)[0]).decode()
            if (user, password) != self.credentials:
                client.sendall(b"\x01\x01")
                return
            client.sendall(b"\x01\x00")
        assert _read(client, 3) == b"\x05\x01\x00"
        match _read(client, 1)[0]:
            case 1:
                host = socket.inet_ntop(socket.AF_INET, _read(client, 4))
            case 3:
                host = _read(client, _read(client, 1)[0]).decode()
            case _:
                host = socket.inet_ntop(socket.AF_INET6, _read(client, 16))
        port = int.from_bytes(_read(client, 2))
        if self.refuses_with is not None:
            self.asked.append(f"{host}:{port}")
            client.sendall(b"\x05" + self.refuses_with + b"\x00\x01" + bytes(6))
            return
        with self.lead(host, port) as server:
            # A name in the reply, as some proxies send it.
            client.sendall(b"\x05\x00\x00\x03\x05proxy\x00\x50")
            _relay(client, server)


@contextmanager
def connect_proxy(
    credentials: tuple[str, str] | None = None, refuses_with: bytes | None = None
) -> Iterator[ForwardProxy]:
    """Run an HTTP proxy."""
    with _running("serve_connect", credentials, refuses_with) as proxy:
        yield proxy


@contextmanager
def socks_proxy(
    credentials: tuple[str, str] | None = None, refuses_with: bytes | None = None
) -> Iterator[ForwardProxy]:
    """Run a SOCKS proxy."""
    with _running("serve_socks", credentials, refuses_with) as proxy:
        yield proxy


@contextmanager
def _running(
    serve: str, credentials: tuple[str, str] | None, refuses_with: bytes | None
) -> Iterator[ForwardProxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = ForwardProxy(listener.getsockname()[1], credentials, refuses_with)

        def run(client: socket.socket) -> None:
            client.settimeout(DEADLINE_SECONDS)
            # A client that goes away is no failure of the proxy.
            with client, suppress(OSError):
                getattr(proxy, serve)(client)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    client, _ = listener.accept()
                    threading.Thread(target=run, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE_SECONDS)


def _read(client: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (more := client.recv(count - len(data))):
            raise ConnectionError("the client has gone")
        data += more
    return data


def _relay(client: socket.socket, server: socket.socket) -> None:
    """Pass everything on, both ways, until both have ended."""

    def forth() -> None:
        _copy(client, server)

    thread = threading.Thread(target=forth, daemon=True)
    thread.start()
    _copy(server, client)
    thread.join(DEADLINE_SECONDS)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
