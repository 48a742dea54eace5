"""Servers with TLS: their files, their options, and connections to them."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from conftest import Server, WriteHandler
from echo_handlers import ECHO
from wire import DEADLINE_SECONDS, TEXT, Client, Frame

__all__ = [
    "HANDLERS",
    "HOST",
    "KEY_AND_CERTIFICATE",
    "assert_echoes",
    "files",
    "issue",
    "raw",
    "websocket",
]


HANDLERS = "-w", "handlers"
HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def files(authority: trustme.CA, tmp_path: Path, write_handler: WriteHandler) -> None:
    """A key, a certificate, both in one file, the authority, and an echo at /echo."""
    issue(authority, tmp_path)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    write_handler("echo", ECHO)


def issue(authority: trustme.CA, folder: Path) -> None:
    """Write a fresh certificate for 127.0.0.1."""
    leaf = authority.issue_cert(HOST)
    leaf.private_key_pem.write_to_path(str(folder / "key.pem"))
    (folder / "cert.pem").write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))


KEY_AND_CERTIFICATE = "-t", "-k", "key.pem", "-c", "cert.pem"


@contextmanager
def raw(server: Server, context: ssl.SSLContext) -> Iterator[Client]:
    """A TLS connection for anything."""
    with socket.create_connection((HOST, server.port), DEADLINE_SECONDS) as plain:
        wrapped = context.wrap_socket(plain, server_hostname=HOST)
        with Client.over(wrapped, server.port) as client:
            yield client


@contextmanager
def websocket(server: Server, context: ssl.SSLContext) -> Iterator[Client]:
    """A WebSocket connection to /echo."""
    with raw(server, context) as client:
        client.handshake("/echo")
        yield client


def assert_echoes(client: Client) -> None:
    client.send_frame(TEXT, b"hello")
    assert client.read_frame() == Frame(TEXT, b"hello")
