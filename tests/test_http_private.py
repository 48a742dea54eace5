"""What the server uses itself, and dot files, are nobody's business (RFC 9110 15.5.5: 404)."""

import os
import re
import socket
import threading
from pathlib import Path

import pytest
import trustme

from conftest import StartServer, WriteHandler
from http_support import fetch

SECRET = b"secret"


@pytest.fixture
def tls(tmp_path: Path) -> list[str]:
    leaf = trustme.CA().issue_cert("localhost")
    leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    return ["-k", "key.pem", "-c", "cert.pem"]


def test_keys_logs_and_configuration_are_not_served(
    start_server: StartServer, tmp_path: Path, tls: list[str]
):
    (tmp_path / "fastwsh.ini").write_text("[pywebsocket]\n", encoding="ascii")
    (tmp_path / "map.txt").write_text("", encoding="ascii")
    (tmp_path / "plain.txt").write_text("x", encoding="ascii")
    (tmp_path / "link.txt").symlink_to("key.pem")
    (tmp_path / "hard.txt").hardlink_to(tmp_path / "key.pem")
    rotated = [f"own.log.{number}" for number in range(1, 9)]
    for name in rotated:
        (tmp_path / name).write_text("old", encoding="ascii")
    options = ["--config", "fastwsh.ini", "-m", "map.txt", "--access-log", "own.log"]
    # without --tls the files are named all the same
    server = start_server(*tls, *options)
    server.log.wait_for("WARNING.*Not served.*key.pem.*fastwsh.ini")
    names = ["key.pem", "cert.pem", "link.txt", "hard.txt", "fastwsh.ini", "map.txt"]
    names += ["own.log", *rotated, "./key.pem", "%6bey.pem", "x/../key.pem"]
    for name in names:
        assert fetch(server, f"/{name}").status in {400, 404}, name
        assert fetch(server, f"/{name}", method="HEAD").status in {400, 404}, name
    listing = fetch(server, "/").body
    assert b"plain.txt" in listing
    for name in names[:7]:
        assert name.encode() not in listing
    assert fetch(server, "/plain.txt").body == b"x"


def test_a_key_is_not_run_either(start_server: StartServer, tmp_path: Path, tls: list[str]):
    (tmp_path / "cgi-bin").mkdir()
    program = tmp_path / "cgi-bin" / "key.sh"
    program.hardlink_to(tmp_path / "key.pem")
    program.chmod(0o755)
    server = start_server(*tls, "-x", "/cgi-bin")
    assert fetch(server, "/cgi-bin/key.sh").status == 404


class TestDotFiles:
    @pytest.fixture(autouse=True)
    def files(self, tmp_path: Path) -> None:
        for name in (".env", ".git/config", "sub/.htpasswd", ".well-known/security.txt"):
            path = tmp_path / "root" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(SECRET)
        (tmp_path / "root" / "link.txt").symlink_to(".env")

    @pytest.mark.parametrize(
        "path",
        ["/.env", "/.git/config", "/.git/", "/.git", "/sub/.htpasswd", "/%2eenv", "/link.txt"],
    )
    def test_are_not_there(self, start_server: StartServer, path: str):
        server = start_server("-d", "root")
        reply = fetch(server, path)
        assert (reply.status, SECRET in reply.body) == (404, False)

    def test_are_not_listed(self, start_server: StartServer):
        server = start_server("-d", "root")
        assert b">." not in fetch(server, "/").body.replace(b">.well-known/", b"")
        assert b"htpasswd" not in fetch(server, "/sub/").body

    def test_but_those_that_are_well_known_are(self, start_server: StartServer):
        server = start_server("-d", "root")
        assert fetch(server, "/.well-known/security.txt").body == SECRET

    @pytest.mark.parametrize("option", ["--serve-dot-files", "--strict-compat"])
    def test_are_served_on_request(self, start_server: StartServer, option: str):
        server = start_server("-d", "root", option)
        assert fetch(server, "/.git/config").body == SECRET
        assert b".env" in fetch(server, "/").body


class TestPathsOfKeys:
    def test_are_seen_from_where_the_command_was_typed(
        self, start_server: StartServer, tmp_path: Path, tls: list[str]
    ):
        (tmp_path / "root").mkdir()
        server = start_server("--tls", *tls, "-d", "root")
        assert "document root" not in "\n".join(server.log.lines)

    def test_or_from_the_document_root_as_in_pywebsocket(
        self, start_server: StartServer, tmp_path: Path, tls: list[str]
    ):
        (tmp_path / "root").mkdir()
        for name in ("key.pem", "cert.pem"):
            (tmp_path / name).rename(tmp_path / "root" / name)
        server = start_server("--tls", *tls, "-d", "root")
        server.log.wait_for("WARNING.*key.pem was found in the document root.*elsewhere")


@pytest.mark.parametrize("hidden", ["key.pem", ".env", "cgi-bin/program", "../outside.txt"])
def test_a_compressed_version_shows_no_other_file(
    start_server: StartServer, tmp_path: Path, tls: list[str], hidden: str
):
    root = tmp_path / "root"
    (root / "cgi-bin").mkdir(parents=True)
    (tmp_path / "key.pem").rename(root / "key.pem")
    (root / "cgi-bin/program").write_bytes(b"#!/bin/sh\n")
    (root / ".env").write_bytes(SECRET)
    (tmp_path / "outside.txt").write_bytes(SECRET)
    (root / "page.txt").write_bytes(b"page")
    (root / "page.txt.gz").symlink_to(root / hidden)
    server = start_server("-d", "root", "--cgi-paths", "/cgi-bin", *tls)
    reply = fetch(server, "/page.txt", headers=("Accept-Encoding: gzip",))
    assert (reply.status, reply.body) == (200, b"page")


@pytest.mark.parametrize("name", ["link.txt", "page.txt.gz"])
def test_a_link_that_is_swapped_leads_nowhere(start_server: StartServer, tmp_path: Path, name: str):
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "outside.txt").write_bytes(SECRET)
    for inside in ("inside.txt", "page.txt"):
        (root / inside).write_bytes(b"inside")
    link, stop = root / name, threading.Event()
    link.symlink_to("inside.txt")

    def swap() -> None:
        targets = [tmp_path / "outside.txt", Path("inside.txt")]
        while not stop.is_set():
            for target in targets:
                (root / "next").symlink_to(target)
                os.replace(root / "next", link)  # noqa: PTH105

    swapping = threading.Thread(target=swap)
    server = start_server("-d", "root")
    swapping.start()
    asked, accepted = f"/{name.removesuffix('.gz')}", ("Accept-Encoding: gzip",)
    try:
        bodies = {fetch(server, asked, headers=accepted).body for _ in range(300)}
    finally:
        stop.set()
        swapping.join()
    assert b"inside" in bodies
    assert SECRET not in bodies


@pytest.mark.parametrize("year", [1950, 1969, 10_000, 200_000])
def test_a_date_that_http_cannot_write_is_left_out(
    start_server: StartServer, tmp_path: Path, year: int
):
    path = tmp_path / "old.txt"
    path.write_bytes(b"x" * 100_000)
    seconds = (year - 1970) * 31_556_952
    try:
        os.utime(path, (seconds, seconds))
    except (OSError, OverflowError):
        pytest.skip("the file system has no such date")
    if int(path.stat().st_mtime) != seconds:
        pytest.skip("the file system has no such date")
    server = start_server()
    for headers in (
        (),
        ("Range: bytes=0-1",),
        ("If-Modified-Since: Sun, 09 Sep 2001 01:46:40 GMT",),
    ):
        reply = fetch(server, "/old.txt", headers=headers)
        assert (reply.status, reply.body) == (200, b"x" * 100_000)
        assert reply.header("Last-Modified") is None
    assert fetch(server, "/old.txt", method="HEAD").header("Content-Length") == "100000"


@pytest.mark.parametrize("accepted", ["gzip", "identity"])
def test_a_compressed_version_may_have_such_a_date(
    start_server: StartServer, tmp_path: Path, accepted: str
):
    for name, body in (("a.txt", b"plain"), ("a.txt.gz", b"gzipped")):
        (tmp_path / name).write_bytes(body)
    os.utime(tmp_path / "a.txt.gz", (-1e9, -1e9))
    server = start_server()
    reply = fetch(server, "/a.txt", headers=(f"Accept-Encoding: {accepted}",))
    assert (reply.status, reply.body) == (200, b"plain")
    assert reply.header("Vary") == "accept-encoding"


def test_a_date_in_the_future_is_left_out(start_server: StartServer, tmp_path: Path):
    path = tmp_path / "new.txt"
    path.write_bytes(b"x")
    os.utime(path, (4_000_000_000, 4_000_000_000))
    server = start_server()
    assert fetch(server, "/new.txt").header("Last-Modified") is None


@pytest.mark.parametrize(
    ("value", "status", "body"),
    [
        ("bytes=-5", {200, 206}, b"abc"),
        ("bytes=-2", {206}, b"bc"),
        ("BYTES=0-0", {206}, b"a"),
        ("items=0-1", {200}, b"abc"),
        ("bytes=1-99999999999999999999", {206}, b"bc"),
        ("bytes=2-1", {200}, b"abc"),
        ("bytes=x", {200}, b"abc"),
        ("bytes=0-0,2-2", {200}, b"abc"),
        ("bytes=9-", {416}, None),
    ],
)
def test_ranges(start_server: StartServer, tmp_path: Path, value: str, status, body):
    (tmp_path / "abc.txt").write_bytes(b"abc")
    server = start_server()
    reply = fetch(server, "/abc.txt", headers=(f"Range: {value}",))
    assert reply.status in status
    if body is not None:
        assert reply.body == body


@pytest.mark.parametrize(
    ("value", "accepted", "status", "body"),
    [
        ("bytes=-5", "identity", {200, 206}, b"abc"),
        ("bytes=-18446744073709551615", "identity", {200, 206}, b"abc"),
        ("bytes=-5", "gzip", {206}, b"ipped"),
        ("bytes=-8", "gzip", {200, 206}, b"gzipped"),
        ("bytes=3-", "gzip", {206}, b"pped"),
        ("bytes=3-", "identity", {416}, b""),
    ],
)
def test_ranges_are_of_the_version_that_is_sent(
    start_server: StartServer, tmp_path: Path, value: str, accepted: str, status, body
):
    (tmp_path / "abc.txt").write_bytes(b"abc")
    (tmp_path / "abc.txt.gz").write_bytes(b"gzipped")
    server = start_server()
    headers = [f"Accept-Encoding: {accepted}"]
    whole = fetch(server, "/abc.txt", headers=tuple(headers))
    headers += [f"Range: {value}", f"If-Range: {whole.header('ETag')}"]
    reply = fetch(server, "/abc.txt", headers=tuple(headers))
    assert reply.status in status
    assert reply.body == body


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-5"])
def test_an_empty_file_has_no_ranges(start_server: StartServer, tmp_path: Path, value: str):
    (tmp_path / "empty.txt").write_bytes(b"")
    server = start_server()
    assert fetch(server, "/empty.txt", headers=(f"Range: {value}",)).status == 200


def test_a_304_has_the_headers_of_its_200(start_server: StartServer, tmp_path: Path):
    (tmp_path / "a.txt").write_bytes(b"abc")
    (tmp_path / "a.txt.gz").write_bytes(b"xyz")
    server = start_server()
    for accepted in ((), ("Accept-Encoding: gzip",)):
        whole = fetch(server, "/a.txt", headers=accepted)
        since = f"If-Modified-Since: {whole.header('Last-Modified')}"
        unchanged = fetch(server, "/a.txt", headers=(*accepted, since))
        assert unchanged.status == 304
        for name in ("Vary", "ETag", "Cache-Control", "Content-Location", "Expires"):
            assert (name, unchanged.header(name)) == (name, whole.header(name))


def ask(port: int, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while more := connection.recv(65536):
            received += more
    return received


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\nhost: y\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x, y\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: user@x\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\r\n y\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.0\r\nHost: x\\y\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: x\x00\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.1\r\nHost: [fe80::1%25eth0]:80\r\n\r\n", 200),
        (b"GET /a.txt HTTP/1.1\r\nHost: a_b.caf\xc3\xa9:port\r\n\r\n", 200),
        (b"GET /a.txt HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET /a.txt HTTP/1.1\r\n\r\n", 400),
        (b"GET /a.txt HTTP/1.0\r\n\r\n", 200),
        (b"\r\n\n\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n", 200),
        (b"\r\nGET /a.txt HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_heads(start_server: StartServer, tmp_path: Path, head: bytes, status: int):
    (tmp_path / "a.txt").write_bytes(b"a")
    server = start_server()
    assert re.match(rb"HTTP/1\.[01] %d " % status, ask(server.port, head))


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (b"Content-Length: 10", 400),
        (b"Content-Length: x", 400),
        (b"Transfer-Encoding: chunked", 400),
        (b"Content-Length: 0", 101),
        (b"Host: other", 400),
        (b"Content-Length: \x0b0", 400),
        (b"Content-Length: \xa00", 400),
    ],
)
def test_a_handshake_has_no_body_and_one_host(
    start_server: StartServer, write_handler: WriteHandler, header: bytes, status: int
):
    write_handler("echo", "pass")
    server = start_server("-w", "handlers")
    head = (
        b"GET /echo HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    )
    answer = ask(server.port, head + header + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 %d " % status)
