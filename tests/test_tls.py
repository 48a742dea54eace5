"""TLS: `wss://` and `https://` on one port, the files that it needs, and sessions."""

import asyncio
import signal
import socket
import ssl
import subprocess
from pathlib import Path

import pytest
import trustme
from websockets.asyncio.client import connect

from conftest import Server, StartServer, WriteHandler, run_fastwsh
from tls_servers import HANDLERS, HOST, KEY_AND_CERTIFICATE, assert_echoes, files, raw, websocket
from tls_support import authority, trusting
from wire import DEADLINE_SECONDS, TEXT, Frame

__all__ = ["authority", "files"]


LARGE = 5 * 1024 * 1024


def exchange(server: Server, context: ssl.SSLContext, *messages: str | bytes) -> None:
    """Send messages to /echo with another implementation, and see them come back.

    Not with its client for threads: that reads and writes one TLS object at the same time, which
    OpenSSL does not allow.
    """

    async def run() -> None:
        uri = server.url("/echo", "wss")
        timeout = DEADLINE_SECONDS
        async with (
            asyncio.timeout(timeout),
            connect(uri, ssl=context, max_size=None, open_timeout=timeout, proxy=None) as client,
        ):
            for message in messages:
                await client.send(message)
                assert await client.recv() == message

    asyncio.run(run())


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(KEY_AND_CERTIFICATE, id="two files"),
        pytest.param(("--tls", "-k", "both.pem", "-c", "both.pem"), id="one file"),
        pytest.param(("--ssl-keyfile", "key.pem", "--ssl-certfile", "cert.pem"), id="uvicorn's"),
        pytest.param(("--ssl-certfile", "both.pem"), id="uvicorn's with one file"),
    ],
)
def test_echoes_over_wss(start_server: StartServer, authority: trustme.CA, args: tuple[str, ...]):
    server = start_server(*HANDLERS, *args)
    exchange(server, trusting(authority), "hello", b"\x00\xff")


def test_serves_files_over_https(start_server: StartServer, authority: trustme.CA, tmp_path: Path):
    (tmp_path / "page.txt").write_text("a page", encoding="utf-8")
    server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
    with raw(server, trusting(authority)) as client:
        client.send(b"GET /page.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.read_response().status == 200
        assert client.read_to_end() == b"a page"


def test_handler_knows_that_it_is_tls(
    start_server: StartServer, authority: trustme.CA, write_handler: WriteHandler
):
    write_handler("tls", "request.ws_stream.send_message(str(request.is_https()))")
    server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
    with raw(server, trusting(authority)) as client:
        client.handshake("/tls")
        assert client.read_frame() == Frame(TEXT, b"True")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_speaks_both_current_versions(
    start_server: StartServer, authority: trustme.CA, version: ssl.TLSVersion
):
    server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    with websocket(server, context) as connection:
        assert_echoes(connection)


def test_large_messages_go_both_ways(start_server: StartServer, authority: trustme.CA):
    server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
    message = bytes(range(256)) * (LARGE // 256)
    exchange(server, trusting(authority), message, message)


def test_relative_files_are_seen_from_the_document_root(
    start_server: StartServer, authority: trustme.CA, tmp_path: Path
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    server = start_server("-d", "..", *HANDLERS, *KEY_AND_CERTIFICATE, cwd=elsewhere)
    with websocket(server, trusting(authority)) as connection:
        assert_echoes(connection)


class TestOtherClients:
    """What some clients do, others do not notice."""

    def test_plain_http(self, start_server: StartServer, authority: trustme.CA):
        server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
        context = trusting(authority)
        with websocket(server, context) as connection:
            with server.connect() as plain:
                plain.send_request("/echo")
                assert not plain.read_to_end().startswith(b"HTTP/1.1 101")
            assert_echoes(connection)
        with websocket(server, context) as connection:
            assert_echoes(connection)

    def test_silent(self, start_server: StartServer, authority: trustme.CA):
        server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
        with server.connect(), server.connect() as half:
            # the beginning of a ClientHello: handshake record of 512 bytes
            half.send(b"\x16\x03\x01\x02\x00\x01")
            with websocket(server, trusting(authority)) as connection:
                assert_echoes(connection)

    def test_gone_in_the_middle_of_a_message(
        self, start_server: StartServer, authority: trustme.CA
    ):
        server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
        context = trusting(authority)
        with raw(server, context) as client:
            client.handshake("/echo")
            client.send(b"\x81\xfe\x10\x00half")
        with websocket(server, context) as connection:
            assert_echoes(connection)


def test_end_of_the_server_is_told_with_1001(start_server: StartServer, authority: trustme.CA):
    server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
    with raw(server, trusting(authority)) as client:
        client.handshake("/echo")
        assert_echoes(client)
        server.send_signal(signal.SIGTERM)
        assert client.read_frame().close_code == 1001
        client.send_close(1001)
        assert server.wait() == 0


def run(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return run_fastwsh(*HANDLERS, *args, cwd=cwd)


class TestStartFailures:
    """Each is one sentence with the remedy, and status 1."""

    @pytest.fixture(autouse=True)
    def bad_files(self, tmp_path: Path, authority: trustme.CA) -> None:
        (tmp_path / "encrypted.pem").write_text(ENCRYPTED_KEY, encoding="ascii")
        (tmp_path / "empty.pem").touch()
        (tmp_path / "secret.pem").mkdir()
        other = authority.issue_cert(HOST)
        other.private_key_pem.write_to_path(str(tmp_path / "other-key.pem"))

    @pytest.mark.parametrize(
        ("args", "parts"),
        [
            (["-t", "-c", "both.pem"], ["--private-key", "--certificate"]),
            (["--ssl-keyfile", "key.pem"], ["--private-key", "--certificate"]),
            (["-t", "-k", "none.pem", "-c", "cert.pem"], ["none.pem'", "No such file", "-key"]),
            (["-t", "-k", "key.pem", "-c", "secret.pem"], ["secret.pem'", "--certificate"]),
            (["-t", "-k", "cert.pem", "-c", "cert.pem"], ["no private key in", "/cert.pem"]),
            (["-t", "-k", "key.pem", "-c", "empty.pem"], ["no certificate in", "/empty.pem"]),
            (["-t", "-k", "encrypted.pem", "-c", "cert.pem"], ["is encrypted", "passphrase"]),
            (["-t", "-k", "other-key.pem", "-c", "cert.pem"], ["/cert.pem", "/other-key.pem"]),
            ([*KEY_AND_CERTIFICATE, "--tls-client-auth"], ["--tls-client-ca"]),
            (
                [*KEY_AND_CERTIFICATE, "--tls-client-auth", "--tls-client-ca", "empty.pem"],
                ["no CA certificate in", "/empty.pem"],
            ),
            ([*KEY_AND_CERTIFICATE, "--tls-client-cert-optional"], ["--tls-client-auth"]),
            (["-c", "cert.pem", "--tls-client-auth"], ["--tls"]),
        ],
    )
    def test_files_or_options_do_not_fit(self, tmp_path: Path, args: list[str], parts: list[str]):
        done = run("-H", HOST, "-p", "0", *args, cwd=tmp_path)
        assert done.stderr.startswith("fastwsh: ")
        assert done.stderr.count("\n") == 1, done.stderr
        for part in parts:
            assert part in done.stderr
        assert done.returncode == 1

    def test_socket_file_is_gone(self, tmp_path: Path):
        args = ["-t", "-k", "other-key.pem", "-c", "cert.pem", "--uds", "own.sock"]
        assert run(*args, cwd=tmp_path).returncode == 1
        assert not (tmp_path / "own.sock").exists()


# Nobody's: its contents are never looked at.
ENCRYPTED_KEY = """\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBAAAAAAAAAAAAAAAAAA
-----END ENCRYPTED PRIVATE KEY-----
"""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_session_is_resumed_however_many_others_there_were(
    start_server: StartServer, authority: trustme.CA, version: ssl.TLSVersion
):
    server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
    context = trusting(authority)
    context.maximum_version = version

    def visit(session: ssl.SSLSession | None = None) -> tuple[bool | None, ssl.SSLSession | None]:
        plain = socket.create_connection((HOST, server.port), DEADLINE_SECONDS)
        with context.wrap_socket(plain, server_hostname=HOST, session=session) as tls:
            # with TLS 1.3, tickets come behind the handshake
            tls.sendall(b"GET /nothing HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert tls.recv(4096).startswith(b"HTTP/1.1 404 ")
            return tls.session_reused, tls.session

    was_resumed, session = visit()
    assert not was_resumed
    # more than a server keeps in memory by default
    for _ in range(260):
        plain = socket.create_connection((HOST, server.port), DEADLINE_SECONDS)
        context.wrap_socket(plain, server_hostname=HOST).close()
    assert visit(session)[0]
