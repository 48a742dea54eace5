"""TLS of the client: whom it trusts, and sentences for what is wrong."""

import os
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trustme

import fastwsh
from client_support import accept_value
from conftest import Server, StartServer, WriteHandler, clean_environment
from echo_handlers import ECHO
from tls_support import authority, certificate
from wire import DEADLINE_SECONDS

__all__ = ["authority"]

LARGE = bytes(range(256)) * 20_000


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def server(
    authority: trustme.CA, tmp_path: Path, write_handler: WriteHandler, start_server: StartServer
) -> Server:
    """`wss://` with an echo at /echo and a certificate for 127.0.0.1."""
    write_handler("echo", ECHO)
    return start_server("-w", "handlers", *certificate(authority, tmp_path, "127.0.0.1"))


def test_messages_of_all_sizes_over_tls(server: Server, ca_file: Path):
    with fastwsh.connect(server.url("/echo", "wss"), ca_file=ca_file) as client:
        for message in ("", "hello", LARGE):
            client.send(message)
            assert client.recv(DEADLINE_SECONDS) == message
        with pytest.raises(TimeoutError):
            client.recv(0)
        # Several messages in one record: what is decrypted already counts.
        for number in range(100):
            client.send(str(number))
        assert [client.recv(DEADLINE_SECONDS) for _ in range(100)] == [str(n) for n in range(100)]
    assert client.close_code == 1000


def test_unknown_authority_is_told(server: Server):
    with pytest.raises(fastwsh.ConnectError, match="unknown authority; name the file of its CA"):
        fastwsh.connect(server.url("/echo", "wss"))


def test_unverified_connects_to_anybody(server: Server):
    with fastwsh.connect(server.url("/echo", "wss"), verify=False) as client:
        client.send("hello")
        assert client.recv(DEADLINE_SECONDS) == "hello"


def test_ssl_cert_file_names_authorities(server: Server, ca_file: Path):
    code = "import sys, fastwsh\nwith fastwsh.connect(sys.argv[1]) as c: print(c.subprotocol)"
    done = subprocess.run(
        [sys.executable, "-c", code, server.url("/echo", "wss")],
        env=clean_environment(SSL_CERT_FILE=os.fspath(ca_file)),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert done.stdout == "None\n", done.stderr


def test_certificate_for_another_name(
    authority: trustme.CA,
    ca_file: Path,
    tmp_path: Path,
    start_server: StartServer,
    write_handler: WriteHandler,
):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", *certificate(authority, tmp_path, "example.org"))
    url = server.url("/echo", "wss")
    with pytest.raises(fastwsh.ConnectError, match=r"of 127\.0\.0\.1 is not .* for another name"):
        fastwsh.connect(url, ca_file=ca_file)
    with fastwsh.connect(url, ca_file=ca_file, server_hostname="example.org") as client:
        client.send("hello")
        assert client.recv(DEADLINE_SECONDS) == "hello"


def test_client_certificate(
    authority: trustme.CA,
    ca_file: Path,
    tmp_path: Path,
    start_server: StartServer,
    write_handler: WriteHandler,
):
    write_handler("echo", ECHO)
    options = certificate(authority, tmp_path, "127.0.0.1")
    server = start_server(
        "-w", "handlers", *options, "--tls-client-auth", "--tls-client-ca", "ca.pem"
    )
    mine = tmp_path / "mine.pem"
    authority.issue_cert("client").private_key_and_cert_chain_pem.write_to_path(str(mine))
    url = server.url("/echo", "wss")
    with fastwsh.connect(url, ca_file=ca_file, certificate=mine) as client:
        client.send("hello")
        assert client.recv(DEADLINE_SECONDS) == "hello"
    with pytest.raises(fastwsh.ConnectError, match="wants a client certificate"):
        fastwsh.connect(url, ca_file=ca_file)


def test_files_that_cannot_be_used(tmp_path: Path):
    empty = tmp_path / "empty.pem"
    empty.touch()
    url = "wss://127.0.0.1:1/"
    with pytest.raises(fastwsh.ConnectArgumentError, match="cannot read the CA certificate file"):
        fastwsh.connect(url, ca_file=tmp_path / "none.pem")
    with pytest.raises(fastwsh.ConnectArgumentError, match=r"no CA certificate in .*empty"):
        fastwsh.connect(url, ca_file=empty)
    with pytest.raises(fastwsh.ConnectArgumentError, match=r"no certificate in .*empty"):
        fastwsh.connect(url, verify=False, certificate=empty)
    with pytest.raises(ValueError, match="private_key needs a certificate"):
        fastwsh.connect(url, private_key=empty)


def test_plain_text_server_on_a_wss_url(start_server: StartServer):
    server = start_server()
    with pytest.raises(fastwsh.ConnectError, match="use ws://"):
        fastwsh.connect(server.url("/", "wss"), verify=False)


def test_tls_server_on_a_ws_url(server: Server):
    with pytest.raises(fastwsh.ConnectError, match="expects TLS: use wss://"):
        fastwsh.connect(server.url("/echo"))


@pytest.fixture
def listener(authority: trustme.CA) -> Iterator[tuple[str, list[bool | None], ssl.SSLContext]]:
    """A TLS server that accepts two connections and says which of them resumed a session."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    resumed: list[bool | None] = []

    def serve() -> None:
        for _ in range(2):
            with suppress(OSError), listening.accept()[0] as plain:
                plain.settimeout(DEADLINE_SECONDS)
                with context.wrap_socket(plain, server_side=True) as tls:
                    request = tls.recv(4096)
                    resumed.append(tls.session_reused)
                    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
                    assert key
                    tls.sendall(
                        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                        b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                        + accept_value(key[1].decode()).encode()
                        + b"\r\n\r\n\x88\x02\x03\xe8"
                    )
                    while tls.recv(4096):
                        pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(DEADLINE_SECONDS)
        thread = threading.Thread(target=serve)
        thread.start()
        yield f"wss://127.0.0.1:{listening.getsockname()[1]}/", resumed, context
        thread.join(DEADLINE_SECONDS)
    assert not thread.is_alive()


def visit(url: str, **options: Any) -> None:
    with fastwsh.connect(url, **options) as client, suppress(fastwsh.ConnectionClosed):
        client.recv(DEADLINE_SECONDS)


def test_second_connection_resumes_the_session(
    listener: tuple[str, list[bool | None], ssl.SSLContext], ca_file: Path
):
    url, resumed, _ = listener
    visit(url, ca_file=ca_file)
    visit(url, ca_file=ca_file)
    assert resumed == [False, True]


def test_authorities_that_have_changed_count_at_once(
    listener: tuple[str, list[bool | None], ssl.SSLContext], ca_file: Path
):
    url, resumed, _ = listener
    visit(url, ca_file=ca_file)
    trustme.CA().cert_pem.write_to_path(str(ca_file))
    with pytest.raises(fastwsh.ConnectError, match="unknown authority"):
        fastwsh.connect(url, ca_file=ca_file)
    assert resumed == [False]
