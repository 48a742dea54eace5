"""TLS of the client: whom it trusts, and sentences for what is wrong."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

import fastwsh
from conftest import Server, StartServer, WriteHandler, clean_environment
from wire import DEADLINE_SECONDS

ECHO = """\
while True:
    message = request.ws_stream.receive_message()
    if message is None:
        return
    request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""
LARGE = bytes(range(256)) * 20_000


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


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


def certificate(authority: trustme.CA, folder: Path, name: str) -> list[str]:
    """Write a certificate for a name; give the server's options for it."""
    leaf = authority.issue_cert(name)
    leaf.private_key_pem.write_to_path(str(folder / f"{name}-key.pem"))
    chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
    (folder / f"{name}.pem").write_bytes(chain)
    return ["-t", "-k", f"{name}-key.pem", "-c", f"{name}.pem"]


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
