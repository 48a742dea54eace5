"""Files of the document root: what is served, as what, and what is not."""

import email.utils
import mimetypes
import os
from pathlib import Path

import pytest

from conftest import Server, StartServer
from http_support import Reply, fetch

MODIFIED = 1_000_000_000
LAST_MODIFIED = email.utils.formatdate(MODIFIED, usegmt=True)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    put(root, "plain.txt", b"plain text\n")
    return root


@pytest.fixture
def server(start_server: StartServer, root: Path, handler_root: Path) -> Server:
    return start_server("-d", root, "-w", handler_root)


def put(root: Path, name: str, content: bytes = b"") -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (MODIFIED, MODIFIED))
    return path


def assert_not_found(reply: Reply) -> None:
    assert (reply.status, reply.reason) == (404, "File not found")
    assert b"<p>Message: File not found.</p>" in reply.body


def test_file_comes_with_validators(server: Server):
    reply = fetch(server, "/plain.txt")
    assert (reply.status, reply.reason, reply.body) == (200, "OK", b"plain text\n")
    assert reply.header("Content-Type") == "text/plain"
    assert reply.header("Last-Modified") == LAST_MODIFIED
    assert reply.header("Accept-Ranges") == "bytes"
    assert reply.header("ETag")
    assert str(reply.header("Server")).startswith("fastwsh/")
    assert reply.header("Date")


@pytest.mark.parametrize(
    "name",
    [
        "a.html",
        "a.HTM",
        "a.js",
        "a.mjs",
        "a.css",
        "a.json",
        "a.png",
        "a.svg",
        "a.xhtml",
        "a.py",
        "a.sh",
        "a.wasm",
        "a.xml",
        "a.pdf",
        "a.tgz",
        "no-extension",
        "a.unheard-of",
    ],
)
def test_content_type_is_that_of_mimetypes(server: Server, root: Path, name: str):
    put(root, name, b"x")
    expected = mimetypes.guess_type(name)[0] or "application/octet-stream"
    assert fetch(server, f"/{name}").header("Content-Type") == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.tar.gz", "application/gzip"),
        ("a.txt.bz2", "application/x-bzip2"),
        ("a.xz", "application/x-xz"),
        ("a.Z", "application/octet-stream"),
    ],
)
def test_compressed_files_have_the_type_of_their_compression(
    server: Server, root: Path, name: str, expected: str
):
    put(root, name, b"x")
    reply = fetch(server, f"/{name}")
    assert reply.header("Content-Type") == expected
    assert reply.header("Content-Encoding") is None


def test_head_has_headers_and_no_body(server: Server):
    with server.connect() as client:
        client.send(b"HEAD /plain.txt HTTP/1.0\r\n\r\n")
        head, _, body = client.read_to_end().partition(b"\r\n\r\n")
    assert b"Content-Length: 11" in head
    assert body == b""
    with server.connect() as client:
        client.send(b"HEAD /nope HTTP/1.0\r\n\r\n")
        head, _, body = client.read_to_end().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.0 404 File not found\r\n")
    assert body == b""


def test_large_file_comes_whole(server: Server, root: Path):
    content = os.urandom(3 << 20)
    put(root, "large.bin", content)
    assert fetch(server, "/large.bin").body == content


@pytest.mark.parametrize(
    ("value", "status", "body", "content_range"),
    [
        ("bytes=0-4", 206, b"plain", "bytes 0-4/11"),
        ("bytes=6-", 206, b"text\n", "bytes 6-10/11"),
        ("bytes=-5", 206, b"text\n", "bytes 6-10/11"),
        ("bytes=20-", 416, b"", "bytes */11"),
        ("bytes=0-1,3-4", 200, b"plain text\n", None),
    ],
)
def test_ranges(server: Server, value: str, status: int, body: bytes, content_range: str | None):
    reply = fetch(server, "/plain.txt", headers=(f"Range: {value}",))
    assert (reply.status, reply.body) == (status, body)
    assert reply.header("Content-Range") == content_range


def test_range_of_another_version_gives_the_whole_file(server: Server):
    etag = fetch(server, "/plain.txt").header("ETag")
    for condition, status in [(etag, 206), (LAST_MODIFIED, 206), ('"other"', 200)]:
        headers = ("Range: bytes=0-4", f"If-Range: {condition}")
        assert fetch(server, "/plain.txt", headers=headers).status == status


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"If-Modified-Since: {LAST_MODIFIED}", 304),
        ("If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT", 304),
        ("If-Modified-Since: Sun, 09 Sep 2001 01:46:40", 304),
        ("If-Modified-Since: Sat, 01 Jan 2000 00:00:00 GMT", 200),
        ("If-Modified-Since: yesterday", 200),
        ("If-None-Match: *", 304),
        ('If-None-Match: "x"', 200),
        ('If-Match: "x"', 412),
        ("If-Unmodified-Since: Sat, 01 Jan 2000 00:00:00 GMT", 412),
    ],
)
def test_conditional_requests(server: Server, header: str, status: int):
    assert fetch(server, "/plain.txt", headers=(header,)).status == status


def test_etag_is_understood_and_goes_before_the_date(server: Server):
    etag = fetch(server, "/plain.txt").header("ETag")
    reply = fetch(server, "/plain.txt", headers=(f'If-None-Match: "x", {etag}',))
    assert (reply.status, reply.body, reply.header("ETag")) == (304, b"", etag)
    later = "If-Modified-Since: Mon, 01 Jan 2024 00:00:00 GMT"
    assert fetch(server, "/plain.txt", headers=('If-None-Match: "x"', later)).status == 200


def test_compressed_siblings_only_for_those_who_accept_them(server: Server, root: Path):
    put(root, "page.html", b"plain")
    put(root, "page.html.gz", b"gzipped")
    put(root, "page.html.br", b"brotli")

    def get(accepted: str) -> tuple[bytes, str | None]:
        reply = fetch(server, "/page.html", headers=(f"Accept-Encoding: {accepted}",))
        assert reply.header("Content-Type") == "text/html"
        assert reply.header("Vary") == "accept-encoding"
        return reply.body, reply.header("Content-Encoding")

    assert get("gzip, deflate") == (b"gzipped", "gzip")
    assert get("br;q=1, gzip;q=0.5") == (b"brotli", "br")
    assert get("gzip;q=0") == (b"plain", None)
    assert get("identity") == (b"plain", None)
    reply = fetch(server, "/plain.txt", headers=("Accept-Encoding: gzip",))
    assert (reply.body, reply.header("Vary")) == (b"plain text\n", None)


@pytest.mark.parametrize("index", ["index.html", "index.htm"])
def test_index_file_stands_for_its_directory(server: Server, root: Path, index: str):
    put(root, f"sub/{index}", b"index")
    reply = fetch(server, "/sub/")
    assert (reply.status, reply.body) == (200, b"index")
    assert reply.header("Content-Type") == "text/html"


def test_index_html_goes_before_index_htm(server: Server, root: Path):
    put(root, "index.htm", b"htm")
    put(root, "index.html", b"html")
    assert fetch(server, "/").body == b"html"


@pytest.mark.parametrize(
    ("target", "location"),
    [("/sub", "/sub/"), ("/sub?x=y", "/sub/?x=y"), ("//sub", "/sub/"), ("sub", "/sub/")],
)
def test_directory_without_slash_is_redirected(
    server: Server, root: Path, target: str, location: str
):
    (root / "sub").mkdir()
    reply = fetch(server, target)
    assert (reply.status, reply.header("Location"), reply.body) == (301, location, b"")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/with%20space.txt", "with space.txt"),
        ("/per%25cent.txt", "per%cent.txt"),
        ("/uni-%C3%A9.txt", "uni-\u00e9.txt"),
        ("/uni-\u00e9.txt", "uni-\u00e9.txt"),
        ("/%ff", os.fsdecode(b"\xff")),
        ("/back\\slash", "back\\slash"),
        ("/plain.txt?a/../b", "plain.txt"),
        ("/plain.txt#part", "plain.txt"),
        ("/sub/../plain.txt", "plain.txt"),
        ("/./plain.txt", "plain.txt"),
        ("//plain.txt", "plain.txt"),
        ("plain.txt", "plain.txt"),
        ("ws://anything:1/plain.txt", "plain.txt"),
    ],
)
def test_target_becomes_a_path(server: Server, root: Path, target: str, name: str):
    put(root, name, name.encode("utf-8", "surrogateescape"))
    reply = fetch(server, target)
    assert reply.status == 200
    assert reply.body == name.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    "target",
    [
        "/nope",
        "/plain.txt/",
        "/plain.txt/x",
        "/%zz",
        "/%ff",
        "*",
        "localhost:80",
        "/<b>&",
        "/nope#x",
        "http://localhost/plain.txt",
        "https://localhost/",
        f"/{'n' * 5000}",
        f"/{'d/' * 5000}",
        "/plain.txt%2f",
        "/\x01",
        "/sub\\inner.txt",
    ],
)
def test_what_is_not_there_is_404(server: Server, target: str):
    assert_not_found(fetch(server, target))


@pytest.mark.parametrize(
    "target",
    [
        "/../plain.txt",
        "/..",
        "/a/../../b",
        "/%2e%2e/plain.txt",
        "/..%2fplain.txt",
        "/plain.txt%00",
        "/\x00",
        "/plain.txt\x00.html",
    ],
)
def test_what_makes_no_sense_is_400(server: Server, target: str):
    reply = fetch(server, target)
    assert (reply.status, reply.reason) == (400, "Bad Request")
    assert reply.header("Connection") == "close"


def test_links_are_followed_inside_the_root_only(server: Server, root: Path, tmp_path: Path):
    secret = put(tmp_path, "secret/file.txt", b"secret")
    (root / "sub").mkdir()
    put(root, "sub/inner.txt", b"inner")
    (root / "inside").symlink_to("plain.txt")
    (root / "folder").symlink_to("sub")
    (root / "outside").symlink_to(secret)
    (root / "above").symlink_to("..")
    (root / "dangling").symlink_to("/nonexistent")
    (root / "plain.txt.gz").symlink_to(secret)
    (root / "withindex").mkdir()
    (root / "withindex" / "index.html").symlink_to(secret)
    assert fetch(server, "/inside").body == b"plain text\n"
    assert fetch(server, "/folder/inner.txt").body == b"inner"
    for target in ["/outside", "/above/", "/above/secret/file.txt", "/dangling", "/withindex/"]:
        assert_not_found(fetch(server, target))
    server.log.wait_for("/outside.* leads out of the document root")
    reply = fetch(server, "/plain.txt", headers=("Accept-Encoding: gzip",))
    assert reply.body == b"plain text\n"


def test_root_that_is_a_link_is_served(
    start_server: StartServer, tmp_path: Path, root: Path, handler_root: Path
):
    (tmp_path / "link").symlink_to(root)
    server = start_server("-d", tmp_path / "link", "-w", handler_root)
    assert fetch(server, "/plain.txt").status == 200


def test_pipe_is_not_waited_for(server: Server, root: Path):
    os.mkfifo(root / "pipe")
    assert_not_found(fetch(server, "/pipe"))


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "FOO", "get"])
def test_other_methods_are_not_implemented(server: Server, method: str):
    reply = fetch(server, "/plain.txt", method=method)
    assert (reply.status, reply.reason) == (501, f"Unsupported method ('{method}')")
    assert f"<p>Message: Unsupported method ('{method}').</p>".encode() in reply.body


def test_connect_is_not_implemented(server: Server):
    assert fetch(server, "localhost:80", method="CONNECT").status == 501


def test_method_is_not_trusted_in_html(server: Server):
    reply = fetch(server, "/", method="<script>")
    assert reply.status == 501
    assert b"<script>" not in reply.body


@pytest.mark.parametrize("body", [b"", b"abc", b"x" * 100_000])
def test_post_is_for_programs_only(server: Server, body: bytes):
    for target in ["/plain.txt", "/nope", "/"]:
        reply = fetch(server, target, method="POST", body=body)
        assert (reply.status, reply.reason) == (501, "Can only POST to CGI scripts")


def test_absolute_target_for_another_host_is_404(
    start_server: StartServer, root: Path, handler_root: Path
):
    server = start_server("-d", root, "-w", handler_root, "-V", "localhost", "-P", "81")
    assert fetch(server, "ws://localhost:81/plain.txt").status == 200
    assert_not_found(fetch(server, "ws://localhost/plain.txt"))
    assert_not_found(fetch(server, "ws://example.com:81/plain.txt"))


def test_handshake_for_a_file_gets_the_file(server: Server):
    headers = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    reply = fetch(server, "/plain.txt", headers=headers)
    assert (reply.status, reply.body) == (200, b"plain text\n")


def test_log_has_the_request_line_and_no_control_characters(server: Server):
    fetch(server, "/nope\x1b[31m?q")
    server.log.wait_for(r'"GET /nope\\x1b\[31m\?q HTTP/1.1" 404 -$')
