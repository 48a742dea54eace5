"""Pages over HTTP/2 and HTTP/3: the same answers as over HTTP/1.1, from the same code."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Server, StartServer
from http_support import read_reply, request_head
from streams_support import OVER_BOTH, Over, over

pytestmark = OVER_BOTH

__all__ = ["over"]  # the fixture

# What belongs to a connection of HTTP/1.1, to the moment, or to who does not speak HTTP/3 yet.
OF_HTTP_1 = {"connection", "keep-alive", "transfer-encoding", "date", "alt-svc"}

SCRIPT = """\
#!/bin/sh
printf 'Content-Type: text/plain\\nX-Own: 1\\n\\n'
printf '%s\\n' "$REQUEST_METHOD $QUERY_STRING $HTTP_X_TEST $HTTP_COOKIE $CONTENT_LENGTH"
cat
"""


@pytest.fixture
def root() -> Iterator[Path]:
    """A document root for CGI programs of the user nobody, whom pytest keeps out of its folders."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder).resolve()
        path.chmod(0o755)
        yield path


@pytest.fixture
def server(root: Path, start_server: StartServer, over: Over) -> Server:
    (root / "page.html").write_text("<p>hello</p>" * 10)
    (root / "large.bin").write_bytes(bytes(range(256)) * 4000)
    (root / "empty").write_bytes(b"")
    (root / "folder").mkdir()
    (root / "folder" / "a b").write_text("x")
    (root / "cgi-bin").mkdir()
    script = root / "cgi-bin" / "show"
    script.write_text(SCRIPT)
    script.chmod(0o755)
    (root / "cgi-bin" / "no-content").write_text("#!/bin/sh\nprintf 'Status: 204\\n\\n'\n")
    (root / "cgi-bin" / "no-content").chmod(0o755)
    return start_server(*over.options, "-d", root, "-x", "/cgi-bin")


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/page.html", ()),
        ("GET", "//page.html?x=y", ()),
        ("HEAD", "/page.html", ()),
        ("GET", "/empty", ()),
        ("GET", "/large.bin", ()),
        ("GET", "/large.bin", (("range", "bytes=1000-200999"),)),
        ("GET", "/page.html", (("range", "bytes=5-"),)),
        ("GET", "/page.html", (("range", "bytes=500-"),)),
        ("GET", "/page.html", (("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT"),)),
        ("GET", "/folder/", ()),
        ("HEAD", "/folder/", ()),
        ("GET", "/folder", ()),
        ("GET", "/folder/a%20b", ()),
        ("GET", "/none", ()),
        ("HEAD", "/none", ()),
        ("GET", "/%00", ()),
        ("GET", "/.hidden", ()),
        ("PUT", "/page.html", ()),
        ("GET", "/cgi-bin/show?a=b", (("x-test", "t"), ("cookie", "c=d"))),
        ("HEAD", "/cgi-bin/show", ()),
        ("GET", "/cgi-bin/no-content", ()),
    ],
)
def test_answers_are_those_of_http_1_1(
    server: Server, over: Over, method: str, target: str, headers: tuple[tuple[str, str], ...]
):
    with over.connect(server) as client:
        answer = client.fetch(target, method, headers)
    with over.connect_old(server) as old:
        lines = tuple(f"{name}: {value}" for name, value in headers)
        old.send(request_head(target, method, lines))
        reply = read_reply(old, method)
    assert (answer.status, bytes(answer.data)) == (reply.status, reply.body)
    seen = {(n.lower(), v) for n, v in reply.headers if n.lower() not in OF_HTTP_1}
    told = {item for item in answer.all_headers if item[0] not in OF_HTTP_1 | {":status"}}
    # over HTTP/1.1 the end of a page may be the end of the connection
    assert {item for item in told ^ seen if item[0] != "content-length"} == set()
    assert answer.headers is not None
    assert "date" in answer.headers
    assert answer.has_ended


def test_cgi_programs_get_the_body(server: Server, over: Over):
    # more than the stream's window
    body = bytes(range(256)) * 2000
    with over.connect(server) as client:
        length = [("content-length", str(len(body)))]
        answer = client.fetch("/cgi-bin/show?q", "POST", length, body)
        assert answer.status == 200
        line, _, rest = bytes(answer.data).partition(b"\n")
        assert line == b"POST q   %d" % len(body)
        assert rest == body
        # a program is told the length before it gets the body
        assert client.fetch("/cgi-bin/show", "POST", [], b"x").status == 411
        assert client.fetch("/page.html", "POST", [("content-length", "1")], b"x").status == 501
        assert client.fetch("/page.html").status == 200


def test_answers_without_content_have_no_length(server: Server, over: Over):
    # RFC 9110 8.6; the length of a page that has not changed would be that of the page
    unchanged = [("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")]
    with over.connect(server) as client:
        for answer in (
            client.fetch("/cgi-bin/no-content"),
            client.fetch("/page.html", "GET", unchanged),
        ):
            assert answer.headers is not None
            assert answer.status in {204, 304}
            assert "content-length" not in answer.headers


def test_the_answer_of_a_program_that_was_stopped_is_reset(
    root: Path, start_server: StartServer, over: Over
):
    (root / "cgi-bin").mkdir()
    script = root / "cgi-bin" / "half"
    script.write_text("#!/bin/sh\nprintf 'Content-Type: text/plain\\n\\nhalf'\nexec sleep 60\n")
    script.chmod(0o755)
    server = start_server(*over.options, "-d", root, "-x", "/cgi-bin", "--cgi-timeout", "0.5")
    with over.connect(server) as client:
        answer = client.fetch("/cgi-bin/half")
        assert (bytes(answer.data), answer.has_ended) == (b"half", False)
        # the server's error, and not that the client has broken off
        assert answer.reset_code not in {None, over.cancelled}


def test_a_client_is_told_to_send_the_body_when_that_is_read(server: Server, over: Over):
    # RFC 9110 10.1.1
    headers = [("expect", "100-continue"), ("content-length", "3")]
    with over.connect(server) as client:
        stream = client.announce("/cgi-bin/show", "POST", headers)
        found = client.streams[stream]
        client.wait(lambda: found.interim)
        client.send(stream, b"abc", end=True)
        assert client.wait_end(stream).data.endswith(b"3\nabc")
        # a file has no use for a body
        assert client.wait_end(client.announce("/page.html", "POST", headers)).status == 501
        assert [state.interim for state in client.streams.values()] == [[100], []]


def test_basic_authentication(start_server: StartServer, tmp_path: Path, over: Over):
    (tmp_path / "a").write_text("x")
    server = start_server(*over.options, "--basic-auth")
    with over.connect(server) as client:
        refused = client.fetch("/a")
        assert (refused.status, bytes(refused.data)) == (401, b"")
        assert refused.headers is not None
        assert refused.headers["www-authenticate"] == 'Basic realm="Pywebsocket"'
        assert client.fetch("/a", headers=[("authorization", "Basic dGVzdDp0ZXN0")]).status == 200
        assert client.wait_end(client.connect("/a")).status == 401


def test_large_heads_are_refused_as_over_http_1_1(start_server: StartServer, over: Over):
    server = start_server(
        *(*over.options, "--max-request-line-bytes", "100", "--max-header-lines", "5"),
        *("--max-header-bytes", "1000"),
    )
    with over.connect(server) as client:
        assert client.fetch("/" + "a" * 100).status == 414
        assert client.fetch("/", headers=[(f"x-{n}", "") for n in range(5)]).status == 431
        assert client.fetch("/", headers=[("x", "a" * 1000)]).status == 431
        assert client.fetch("/").status == 200
