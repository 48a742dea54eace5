"""Pages over HTTP/2: the same answers as over HTTP/1.1, from the same code."""

import json
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from conftest import Server, StartServer, WriteHandler, find_program
from http2_support import Http2Client
from http_support import read_reply, request_head
from wire import DEADLINE_SECONDS, TEXT, Client, Frame

# What belongs to a connection of HTTP/1.1, or to the moment.
OF_HTTP_1 = {"connection", "keep-alive", "transfer-encoding", "date"}

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
def server(root: Path, start_server: StartServer) -> Server:
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
    return start_server("--http2", "-d", root, "-x", "/cgi-bin")


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
    server: Server, method: str, target: str, headers: tuple[tuple[str, str], ...]
):
    with Http2Client(server) as client:
        answer = client.fetch(target, method, headers)
    with server.connect() as old:
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


def test_cgi_programs_get_the_body(server: Server):
    body = bytes(range(256)) * 200
    with Http2Client(server) as client:
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


def test_basic_authentication(start_server: StartServer, tmp_path: Path):
    (tmp_path / "a").write_text("x")
    server = start_server("--http2", "--basic-auth")
    with Http2Client(server) as client:
        refused = client.fetch("/a")
        assert (refused.status, bytes(refused.data)) == (401, b"")
        assert refused.headers is not None
        assert refused.headers["www-authenticate"] == 'Basic realm="Pywebsocket"'
        assert client.fetch("/a", headers=[("authorization", "Basic dGVzdDp0ZXN0")]).status == 200
        assert client.wait_end(client.connect("/a")).status == 401


def test_large_heads_are_refused_as_over_http_1_1(start_server: StartServer):
    server = start_server(
        *("--http2", "--max-request-line-bytes", "100", "--max-header-lines", "5"),
        *("--max-header-bytes", "1000"),
    )
    with Http2Client(server) as client:
        assert client.fetch("/" + "a" * 100).status == 414
        assert client.fetch("/", headers=[(f"x-{n}", "") for n in range(5)]).status == 431
        assert client.fetch("/", headers=[("x", "a" * 1000)]).status == 431
        assert client.fetch("/").status == 200


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def tls_server(
    tmp_path: Path, start_server: StartServer, write_handler: WriteHandler, authority: trustme.CA
) -> Server:
    certificate = authority.issue_cert("localhost", "127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "page.html").write_text("hello")
    write_handler(
        "told",
        'request.ws_stream.send_message(f"{request.protocol} {request.is_https()}")\n'
        "request.ws_stream.receive_message()",
    )
    return start_server("--ssl-certfile", "tls.pem", "-w", "handlers", "--http2")


def test_tls_offers_both(tls_server: Server, authority: trustme.CA):
    with Http2Client(tls_server, trusting(authority)) as client:
        assert bytes(client.fetch("/page.html").data) == b"hello"
        assert client.websocket("/told").read_frame() == Frame(TEXT, b"HTTP/2 True")
    for offered in (["http/1.1"], None):
        context = trusting(authority)
        if offered:
            context.set_alpn_protocols(offered)
        with tls_server.connect() as plain:
            wrapped = context.wrap_socket(plain.socket, server_hostname="localhost")
            old = Client.over(wrapped, tls_server.port)
            old.handshake("/told")
            assert old.read_frame() == Frame(TEXT, b"HTTP/1.1 True")
            old.close()


def test_certificates_are_reloaded(tls_server: Server, authority: trustme.CA):
    tls_server.send_signal(signal.SIGHUP)
    tls_server.log.wait_for("Certificates reloaded")
    with Http2Client(tls_server, trusting(authority)) as client:
        assert client.fetch("/page.html").status == 200


def test_curl(tls_server: Server, tmp_path: Path):
    curl = find_program("curl", "curl")
    command = [curl, "--silent", "--show-error", "--cacert", str(tmp_path / "ca.pem"), "--http2"]
    command += ["--write-out", " %{http_version} %{http_code}"]
    command.append(f"https://localhost:{tls_server.port}/page.html")
    done = subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_SECONDS)
    assert done.stdout == b"hello 2 200"


NODE = """\
const http2 = require('node:http2');
const [port, ca] = process.argv.slice(2);
const options = {ca: require('node:fs').readFileSync(ca)};
const session = http2.connect(`https://localhost:${port}`, options);
session.on('remoteSettings', () => {
  const stream = session.request({
    ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/told', 'sec-websocket-version': '13',
  });
  const told = [];
  stream.on('response', (headers) => told.push(headers[':status']));
  stream.on('data', (data) => {
    told.push(data.subarray(2).toString('latin1'));
    // a masked close frame with 1000
    if (told.length == 2) stream.write(Buffer.from([0x88, 0x82, 0, 0, 0, 0, 3, 0xe8]));
  });
  stream.on('end', () => stream.end());
  stream.on('close', () => {
    console.log(JSON.stringify([...told, stream.rstCode]));
    session.close();
  });
});
"""


def test_node(tls_server: Server, tmp_path: Path):
    node = find_program("node", "nodejs")
    (tmp_path / "client.js").write_text(NODE)
    command = [node, str(tmp_path / "client.js"), str(tls_server.port), str(tmp_path / "ca.pem")]
    done = subprocess.run(command, check=True, capture_output=True, timeout=DEADLINE_SECONDS)
    assert json.loads(done.stdout) == [200, "HTTP/2 True", "\x03\xe8", 0]
