"""Proxies as a server sees them: what they put in front of a connection, and into a request."""

import ast
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from conftest import Server
from contract_support import PATH
from http_support import request_head
from wire import DEADLINE_SECONDS, KEY, Client

# Each name that an address has for a handler.
TELL = """\
addresses = [
    request.connection.remote_addr,
    request.connection.get_remote_addr(),
    request._request_handler.client_address,
]
request.ws_stream.send_message(repr(addresses))
while request.ws_stream.receive_message() is not None:
    pass
"""

LOCAL = "127.0.0.1"
TRUSTED = "--trusted-proxies", f"{LOCAL},10.0.0.0/8"
PROXY = *TRUSTED, "--proxy-protocol"

LINE = b"PROXY TCP4 203.0.113.7 10.0.0.1 56324 443\r\n"
LINE_6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n"
CLIENT = ("203.0.113.7", 56324)
CLIENT_6 = ("2001:db8::7", 56324, 0, 0)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
PROXIED, OWN = 0x21, 0x20
TCP4, TCP6, UNIX = 0x11, 0x21, 0x31


def binary(command: int, family: int, rest: bytes) -> bytes:
    """A header of version 2."""
    return SIGNATURE + struct.pack("!BBH", command, family, len(rest)) + rest


ADDRESSES = socket.inet_aton("203.0.113.7") + bytes(4) + struct.pack("!HH", 56324, 443)
ADDRESSES_6 = (
    socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + struct.pack("!HH", 56324, 443)
)
BINARY = binary(PROXIED, TCP4, ADDRESSES)
# A further value, PP2_TYPE_NOOP.
NOOP = b"\x04\x00\x03\x00\x00\x00"


@contextmanager
def connected(server: Server, source: str = LOCAL) -> Iterator[Client]:
    """A connection from an address of this machine."""
    plain = socket.create_connection(
        (LOCAL, server.port), DEADLINE_SECONDS, source_address=(source, 0)
    )
    with Client.over(plain, server.port) as client:
        yield client


def forwarded(*values: str) -> list[tuple[str, str]]:
    return [("X-Forwarded-For", value) for value in values]


def opening(*values: str) -> bytes:
    """The bytes of an opening handshake, for who sends them with others."""
    headers = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "13"),
        *forwarded(*values),
    ]
    return request_head(PATH, headers=tuple(f"{name}: {value}" for name, value in headers))


def told(client: Client) -> object:
    """The address that the handler was told, by all of its names."""
    addresses: list[object] = ast.literal_eval(client.read_frame().payload.decode())
    assert addresses == [addresses[0]] * 3
    return addresses[0]


def address_seen(client: Client, *values: str) -> object:
    """Open the connection and return the client's address as the handler sees it."""
    client.handshake(PATH, forwarded(*values))
    return told(client)


def own_address(client: Client) -> object:
    return client.socket.getsockname()
