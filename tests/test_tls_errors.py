"""What goes wrong with TLS is told in plain English: in the log, by the client, at the start."""

import datetime as dt
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import fastwsh
from conftest import Server, StartServer, run_fastwsh
from tls_support import authority, trusting
from wire import DEADLINE_SECONDS

__all__ = ["authority"]

HOST = "127.0.0.1"
NOW = dt.datetime.now(dt.UTC)
LAST_YEAR, NEXT_YEAR = NOW - dt.timedelta(365), NOW + dt.timedelta(365)
DATE = r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
# What begins a TLS handshake, and then is none.
CORRUPT = b"\x16\x03\x01\x00\x10" + b"\xff" * 16
# handshake_failure
ALERT = b"\x15\x03\x03\x00\x02\x02\x28"


@pytest.fixture(autouse=True)
def files(authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    write(authority.issue_cert(HOST), tmp_path / "good.pem")


def write(leaf: trustme.LeafCert, path: Path) -> Path:
    leaf.private_key_and_cert_chain_pem.write_to_path(str(path))
    return path


def write_authority(authority: trustme.CA, path: Path) -> Path:
    """The authority's own certificate and key, for a server or client that should not use them."""
    path.write_bytes(authority.private_key_pem.bytes() + authority.cert_pem.bytes())
    return path


def options(name: str) -> list[str]:
    return ["--log-level", "info", "-t", "-k", name, "-c", name]


def assert_plain(text: str) -> None:
    """Assert that no name of a Rust value is in the text, such as `AlertReceived(UnknownCA)`."""
    assert not re.search(r"\b[A-Z][a-z]+[A-Z]\w*\b|\w\(", text), text


def assert_logged(server: Server, reason: str) -> None:
    match = server.log.wait_for(r"TLS handshake with 127\.0\.0\.1.* failed: .*")
    told = match.group()
    assert re.search(f"failed: {reason}", told), told
    assert_plain(told)


def fail(server: Server, context: ssl.SSLContext, name: str = HOST) -> None:
    """Do a handshake that fails, here or, with TLS 1.3, when the server's answer is read."""

    def ask() -> None:
        with (
            socket.create_connection((HOST, server.port), DEADLINE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=name) as wrapped,
        ):
            wrapped.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert not wrapped.recv(1)

    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask()


class TestServerLog:
    """The peer is a client of another implementation."""

    def test_client_does_not_trust_the_authority(self, start_server: StartServer):
        server = start_server(*options("good.pem"))
        fail(server, ssl.create_default_context())
        assert_logged(server, "the client does not trust the issuer of the server's certificate")

    def test_client_wants_another_name(self, start_server: StartServer, authority: trustme.CA):
        server = start_server(*options("good.pem"))
        fail(server, trusting(authority), "example.org")
        assert_logged(server, "the client (considers|does not accept) the server's certificate")

    def test_client_finds_the_certificate_expired(
        self, start_server: StartServer, authority: trustme.CA, tmp_path: Path
    ):
        write(authority.issue_cert(HOST, not_after=LAST_YEAR), tmp_path / "old.pem")
        server = start_server(*options("old.pem"))
        fail(server, trusting(authority))
        assert_logged(server, "the client considers the server's certificate expired")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_client_has_only_old_versions(self, start_server: StartServer, authority: trustme.CA):
        server = start_server(*options("good.pem"))
        context = trusting(authority)
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        fail(server, context)
        assert_logged(server, "the client .* supports neither TLS 1.2 nor TLS 1.3")

    def test_client_has_only_other_cipher_suites(
        self, start_server: StartServer, authority: trustme.CA
    ):
        server = start_server(*options("good.pem"))
        context = trusting(authority)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE-ECDSA-AES256-SHA:@SECLEVEL=0")
        fail(server, context)
        assert_logged(server, "the client has no cipher suite in common with this side")

    @pytest.mark.parametrize(
        ("sent", "reason"),
        [
            (b"\x00\x01\x02\x03\x04\x05\x06\x07", "the client does not speak TLS"),
            (b"\xff" * 100, "the client does not speak TLS"),
            (b"\x16\x02\x00\x00\x01\x00", "the client sent a corrupt TLS message: its version"),
            (CORRUPT, "the client sent a (corrupt TLS message|TLS message out of turn)"),
            (b"\x17\x03\x03\x00\x01\x00", "the client sent a TLS message out of turn: application"),
            (ALERT, "the client has no cipher suite or version of TLS in common"),
            (b"", "the client ended the connection"),
        ],
    )
    def test_client_sends_other_bytes(self, start_server: StartServer, sent: bytes, reason: str):
        server = start_server(*options("good.pem"))
        with socket.create_connection((HOST, server.port), DEADLINE_SECONDS) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            assert_logged(server, reason)

    def test_client_speaks_plain_http(self, start_server: StartServer):
        server = start_server(*options("good.pem"))
        with socket.create_connection((HOST, server.port), DEADLINE_SECONDS) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.makefile("rb").readline().startswith(b"HTTP/1.1 400 ")
        server.log.wait_for("This port speaks TLS; use https: or wss:")

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("none", "the client sent no certificate"),
            ("foreign", "the client's certificate is signed by an unknown authority"),
            ("expired", f"the client's certificate has expired on {DATE}"),
            ("early", f"the client's certificate is not valid yet, but from {DATE}"),
            ("authority", "the client's certificate is a CA certificate, which nobody may use"),
        ],
    )
    def test_certificates_of_clients(
        self,
        start_server: StartServer,
        authority: trustme.CA,
        tmp_path: Path,
        kind: str,
        reason: str,
    ):
        server = start_server(
            *options("good.pem"), "--tls-client-auth", "--tls-client-ca", "ca.pem"
        )
        context = trusting(authority)
        name, path = "client@example.org", tmp_path / "client.pem"
        if kind == "foreign":
            write(trustme.CA().issue_cert(name), path)
        elif kind == "expired":
            write(authority.issue_cert(name, not_after=LAST_YEAR), path)
        elif kind == "early":
            write(authority.issue_cert(name, not_before=NEXT_YEAR), path)
        elif kind == "authority":
            write_authority(authority, path)
        if kind != "none":
            context.load_cert_chain(path)
        fail(server, context)
        assert_logged(server, reason)


def refusal(url: str, ca_file: Path) -> str:
    """What the client says."""
    with pytest.raises(fastwsh.ConnectError) as raised:
        fastwsh.connect(url, ca_file=ca_file, open_timeout=DEADLINE_SECONDS)
    assert_plain(str(raised.value))
    return str(raised.value)


@contextmanager
def answering(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """The wss URL of a server for one connection."""
    with socket.create_server((HOST, 0)) as listener:
        listener.settimeout(DEADLINE_SECONDS)

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(DEADLINE_SECONDS)
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield f"wss://{HOST}:{listener.getsockname()[1]}/"
        finally:
            thread.join()


class TestClient:
    """The certificate, or the server, is not as it should be."""

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [
            ("expired", f"it has expired on {DATE}; check the clock"),
            ("early", f"it is not valid yet, but from {DATE}; check the clock"),
            (
                "named",
                r"it is for another name: .*, not for 127\.0\.0\.1; use a name",
            ),
            ("foreign", "it is signed by an unknown authority; name the file"),
            ("authority", "it is a CA certificate, which nobody may use as their own; tell"),
        ],
    )
    def test_certificates_of_servers(
        self,
        start_server: StartServer,
        authority: trustme.CA,
        tmp_path: Path,
        kind: str,
        reason: str,
    ):
        path = tmp_path / "bad.pem"
        if kind == "expired":
            write(authority.issue_cert(HOST, not_after=LAST_YEAR), path)
        elif kind == "early":
            write(authority.issue_cert(HOST, not_before=NEXT_YEAR), path)
        elif kind == "named":
            write(authority.issue_cert("a.example", "*.b.example", "127.0.0.2"), path)
        elif kind == "foreign":
            write(trustme.CA().issue_cert(HOST), path)
        else:
            write_authority(authority, path)
        server = start_server(*options("bad.pem"))
        said = refusal(server.url("/", "wss"), tmp_path / "ca.pem")
        if kind == "named":
            assert "it is for a.example, *.b.example and 127.0.0.2, not for" in said
        assert re.search(rf"^the certificate of 127\.0\.0\.1 is not accepted: {reason}", said), said

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not speak TLS; use ws:// there"),
            (b"220 mail.example ESMTP\r\n", "does not speak TLS; use ws:// there"),
            (b"\x00" * 20, "does not speak TLS; use ws:// there"),
            (CORRUPT, "failed: the server sent a "),
            (b"\x16\x03\x03\x00\x00", "failed: the server sent a corrupt TLS message: "),
            # a record that is one, and then something else
            (b"\x14\x03\x03\x00\x01\x01HTTP/1.1 400 Bad Request\r\n", "failed: the server sent a "),
            (ALERT, "failed: the server has no cipher suite or version of TLS in common"),
            (b"", "failed: it ended the connection; if it does not speak TLS, use ws://"),
            (b"\x16\x03\x03", "failed: the server ended the connection"),
        ],
    )
    def test_server_answers_other_bytes(self, tmp_path: Path, answer: bytes, said: str):
        def serve(connection: socket.socket) -> None:
            connection.recv(65536)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

        with answering(serve) as url:
            assert said in refusal(url, tmp_path / "ca.pem")

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_server_has_only_old_versions(self, tmp_path: Path):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "good.pem")
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = ssl.TLSVersion.TLSv1_1
        context.maximum_version = ssl.TLSVersion.TLSv1_1

        def serve(connection: socket.socket) -> None:
            with pytest.raises((ssl.SSLError, OSError)):
                context.wrap_socket(connection, server_side=True)

        with answering(serve) as url:
            said = refusal(url, tmp_path / "ca.pem")
        assert "the server supports neither TLS 1.2 nor TLS 1.3" in said

    def test_server_refuses_the_certificate_of_the_client(
        self, start_server: StartServer, tmp_path: Path
    ):
        server = start_server(
            *options("good.pem"), "--tls-client-auth", "--tls-client-ca", "ca.pem"
        )
        mine = write(trustme.CA().issue_cert("client@example.org"), tmp_path / "mine.pem")
        with pytest.raises(fastwsh.ConnectError) as raised:
            fastwsh.connect(server.url("/", "wss"), ca_file=tmp_path / "ca.pem", certificate=mine)
        said = str(raised.value)
        assert "the server does not trust the issuer of the client's certificate" in said
        assert_plain(said)


BAD_CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
BAD_KEY = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-k", "other.pem", "-c", "good.pem"], "the private key does not belong to"),
        (["-k", "good.pem", "-c", "bad.pem"], "the certificate is not encoded correctly"),
        (["-k", "badkey.pem", "-c", "good.pem"], "it is damaged; copy the file anew"),
        (
            ["-k", "good.pem", "-c", "good.pem", "--tls-client-auth", "--tls-client-ca", "bad.pem"],
            "the certificate is not encoded correctly",
        ),
    ],
)
def test_files_that_cannot_be_used(
    authority: trustme.CA, tmp_path: Path, args: list[str], reason: str
):
    write(authority.issue_cert(HOST), tmp_path / "other.pem")
    (tmp_path / "bad.pem").write_text(BAD_CERTIFICATE, encoding="ascii")
    (tmp_path / "badkey.pem").write_text(BAD_KEY, encoding="ascii")
    done = run_fastwsh("-w", ".", "-H", HOST, "-p", "0", "-t", *args, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(rf"^fastwsh: cannot use .*: {reason}", done.stderr), done.stderr
    assert "Invalid" not in done.stderr
    assert "Mismatch" not in done.stderr
