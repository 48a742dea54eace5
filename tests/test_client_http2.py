"""The client over HTTP/2 (RFC 8441), against our server and others."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

import fastwsh
from client_support import refused
from conftest import (
    DEFAULT_CONCURRENCY,
    Server,
    StartServer,
    WriteHandler,
    clean_environment,
    find_program,
    starting_servers,
)
from fastwsh.testing import running_server
from forward_proxy import connect_proxy, socks_proxy
from oneshot_support import ends_with, run
from tls_support import certificate
from wire import DEADLINE_SECONDS

HANDLER = """\
import json
from pywebsocket3 import common, handshake

def web_socket_do_extra_handshake(request):
    if request.ws_requested_protocols:
        request.ws_protocol = request.ws_requested_protocols[-1]
    if request.uri == "/echo?refuse":
        raise handshake.HandshakeException("no", status=418)

def web_socket_transfer_data(request):
    if request.uri == "/echo?fail":
        raise ValueError("on purpose")
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        if message == "tell":
            message = json.dumps([request.protocol, request.is_https(), dict(request.headers_in)])
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""
LARGE = bytes(range(256)) * 20_000


@pytest.fixture
def handlers(write_handler: WriteHandler) -> str:
    write_handler("echo", HANDLER)
    return "handlers"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "handlers").mkdir()
    (folder / "handlers/echo_wsh.py").write_text(HANDLER)
    with starting_servers(folder, DEFAULT_CONCURRENCY) as start:
        yield start("-w", "handlers", "--http2")


def echoes(url: str, **options: object) -> dict[str, str]:
    """Check that the handler echoes over HTTP/2; return what it knows of the request."""
    with fastwsh.connect(url, http_version=2, **options) as connection:
        connection.send("hello")
        assert connection.recv(DEADLINE_SECONDS) == "hello"
        connection.send("tell")
        protocol, https, headers = json.loads(connection.recv(DEADLINE_SECONDS))
        assert protocol == "HTTP/2"
        assert https == url.startswith("wss:")
    assert connection.close_code == 1000
    return headers


@pytest.mark.parametrize("compression", [False, True])
def test_messages_of_all_sizes(server: Server, *, compression: bool):
    url = server.url("/echo")
    with fastwsh.connect(url, http_version=2, compression=compression) as connection:
        assert connection.is_compressed == compression
        assert connection.remote_address == ("127.0.0.1", server.port)
        for message in ("", "hello", LARGE):
            # the handler echoes before it has received everything that waits
            sending = threading.Thread(target=connection.send, args=(message,))
            sending.start()
            assert connection.recv(DEADLINE_SECONDS) == message
            sending.join()
        assert connection.wait_pong(connection.ping(), DEADLINE_SECONDS) >= 0


def test_in_an_event_loop(server: Server):
    async def talk() -> None:
        async with fastwsh.connect(server.url("/echo"), http_version=2) as connection:
            sending = asyncio.ensure_future(connection.send(LARGE))
            assert await connection.recv(DEADLINE_SECONDS) == LARGE
            await sending
            await connection.wait_pong(await connection.ping(), DEADLINE_SECONDS)
        assert connection.close_code == 1000

    asyncio.run(talk())


def test_the_request_is_that_of_http_1(server: Server):
    url = server.url("/echo").replace("//", "//me:secret@")
    headers = echoes(
        url,
        subprotocols=["a", "b"],
        headers=[("Cookie", "a=1"), ("cookie", "b=2"), ("X-Own", "1"), ("Host", "other.test:81")],
        origin="http://o.test",
    )
    assert headers["cookie"] == "a=1; b=2"
    assert headers["x-own"] == "1"
    assert headers["origin"] == "http://o.test"
    assert headers["authorization"] == "Basic bWU6c2VjcmV0"
    assert headers[":authority"] == headers["host"] == "other.test:81"
    assert headers["sec-websocket-protocol"] == "a, b"
    assert not {"connection", "upgrade", "sec-websocket-key"} & set(headers)


def test_the_chosen_subprotocol(server: Server):
    options = {"http_version": 2, "subprotocols": ["a", "b"]}
    with fastwsh.connect(server.url("/echo"), **options) as connection:
        assert connection.subprotocol == "b"
        assert dict(connection.response_headers)["sec-websocket-protocol"] == "b"


def test_heads_are_shown(server: Server):
    heads: list[tuple[str, bytes]] = []
    echoes(server.url("/echo"), on_head=lambda mark, head: heads.append((mark, head)))
    (sent, request), (received, answer) = heads
    assert (sent, received) == (">", "<")
    start = (
        ":method: CONNECT\r\n:protocol: websocket\r\n:scheme: http\r\n"
        f":authority: 127.0.0.1:{server.port}\r\n:path: /echo\r\n"
    )
    assert request.decode().startswith(start)
    assert answer.startswith(b":status: 200\r\n")
    assert request.endswith(b"\r\n\r\n")
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(("path", "status"), [("/nowhere", 404), ("/echo?refuse", 418)])
def test_refusals_have_status_headers_and_body(server: Server, path: str, status: int):
    error = refused(server.url(path))
    assert isinstance(error, fastwsh.ConnectRefusedError)
    assert error.status == status
    assert f"answered {status}" in str(error)
    assert int(dict(error.headers)["content-length"]) == len(error.body) > 0


def test_a_handler_that_fails(server: Server):
    with fastwsh.connect(server.url("/echo?fail"), http_version=2) as connection:
        with pytest.raises(fastwsh.ConnectionClosed) as caught:
            connection.recv(DEADLINE_SECONDS)
        assert caught.value.code in (1006, 1011)


def test_over_tls(handlers: str, start_server: StartServer, tmp_path: Path, authority: trustme.CA):
    options = certificate(authority, tmp_path, "127.0.0.1")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    server = start_server("-w", handlers, "--http2", *options)
    url = server.url("/echo", "wss")
    echoes(url, ca_file=tmp_path / "ca.pem")
    with fastwsh.connect(url, http_version=2, verify=False) as connection:
        sending = threading.Thread(target=connection.send, args=(LARGE,))
        sending.start()
        assert connection.recv(DEADLINE_SECONDS) == LARGE
        sending.join()
    assert "use wss://" in str(refused(server.url("/echo")))
    assert "certificate" in str(refused(url))
    for kind, scheme in ((connect_proxy, "http"), (socks_proxy, "socks5")):
        with kind(None, None) as proxy:
            echoes(url, ca_file=tmp_path / "ca.pem", proxy=proxy.url(scheme))
            assert proxy.asked == [f"127.0.0.1:{server.port}"]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_servers_without_http_2(
    handlers: str, start_server: StartServer, tmp_path: Path, authority: trustme.CA
):
    server = start_server("-w", handlers)
    says = f"127.0.0.1:{server.port} opens no WebSockets over HTTP/2: it speaks HTTP/1; connect"
    assert says in str(refused(server.url("/echo")))
    server = start_server("-w", handlers, *certificate(authority, tmp_path, "127.0.0.1"))
    error = refused(server.url("/echo", "wss"), verify=False)
    assert "its TLS does not choose h2 (ALPN)" in str(error)


def test_over_a_unix_socket(handlers: str, tmp_path: Path):
    path = tmp_path / "s.sock"
    with running_server([tmp_path / handlers], uds=path, http2=True):
        assert echoes(f"ws+unix://{path}:/echo")["host"] == "localhost"


@pytest.mark.parametrize(("kind", "scheme"), [(connect_proxy, "http"), (socks_proxy, "socks5h")])
def test_through_a_proxy(server: Server, kind: object, scheme: str):
    with kind(None, None) as proxy:
        echoes(server.url("/echo"), proxy=proxy.url(scheme))
        assert proxy.asked == [f"127.0.0.1:{server.port}"]


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"Transfer-Encoding": "chunked"}, "transfer-encoding: HTTP/2 does not have it"),
        ({"TE": "gzip"}, "te: HTTP/2 allows only"),
        ({"Host": "a b"}, "host: HTTP/2 needs a host"),
        ({"Connection": "x"}, "Connection: the opening handshake sets it itself"),
    ],
)
def test_headers_that_http_2_does_not_have(headers: dict[str, str], says: str):
    with pytest.raises(fastwsh.ConnectArgumentError, match=says):
        fastwsh.connect("ws://127.0.0.1:1/", http_version=2, headers=headers)


@pytest.mark.parametrize("version", [0, 3, "2", None, 1.1])
def test_versions_that_do_not_exist(version: object):
    with pytest.raises((TypeError, ValueError), match=r"http_version is .*; give 1 or 2"):
        fastwsh.connect("ws://127.0.0.1:1/", http_version=version)


def test_the_console_runs_to_an_end(server: Server):
    done = run(server.url("/echo"), "--http2", "--send", "hello", "--expect", "1", "-v")
    assert done.returncode == 0
    assert done.stdout == b"hello\n"
    assert b"> :protocol: websocket\n" in done.stderr
    assert b"< :status: 200\n" in done.stderr
    ends_with(run(server.url("/nowhere"), "--http2"), 1, "answered 404 Not Found")


def test_the_console_shows_frames(server: Server):
    # the masked text "hi", and a close frame
    lines = b"81 82 00 00 00 00 68 69\n/close 1000\n"
    done = run(server.url("/echo"), "--http2", "--raw", stdin=lines)
    assert done.returncode == 0
    assert b'text fin=1 rsv=000 mask=0 2 bytes: "hi"' in done.stdout
    assert b"close fin=1" in done.stdout


def test_the_console_does_not_record_http_2(tmp_path: Path):
    done = run("ws://127.0.0.1:1/", "--http2", "--record", str(tmp_path / "a.har"))
    assert done.returncode == 2
    assert b"--record sees HTTP/1.1 only; leave out --http2" in done.stderr


def test_what_was_sent_arrives_though_the_program_ends(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "collect",
        "while (message := request.ws_stream.receive_message()) is not None:\n"
        "    print('received', len(message), flush=True)",
    )
    server = start_server("-w", "handlers", "--http2")
    program = (
        "import fastwsh\n"
        f"c = fastwsh.connect({server.url('/collect')!r}, http_version=2, compression=False)\n"
        "for size in (1, 200_000): c.send(bytes(size))\n"
    )
    for ending in ("", "c.disconnect()"):
        done = subprocess.run(
            [sys.executable, "-c", program + ending],
            env=clean_environment(),
            check=False,
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0
    server.out.wait_for("received 200000")
    server.process.terminate()
    assert server.wait() == 0
    assert server.out.text().splitlines().count("received 200000") == 2


def test_a_forked_process_opens_its_own(server: Server):
    program = f"""\
import os, fastwsh
def talk():
    with fastwsh.connect({server.url("/echo")!r}, http_version=2) as connection:
        connection.send("hello")
        assert connection.recv({DEADLINE_SECONDS}) == "hello"
talk()
child = os.fork()
talk()
if child:
    raise SystemExit(os.waitpid(child, 0)[1])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=clean_environment(),
        check=False,
        timeout=2 * DEADLINE_SECONDS,
    )
    assert done.returncode == 0


NODE_SERVER = """\
const http2 = require('node:http2');
const server = http2.createServer({settings: {enableConnectProtocol: true}});
server.on('stream', (stream, headers) => {
  if (headers[':path'] !== '/echo') {
    stream.respond({':status': 403, 'x-why': 'secret'});
    stream.end('not you');
    return;
  }
  stream.respond({':status': 200});
  // unmask: this echoes short frames
  stream.on('data', (data) => {
    while (data.length >= 6) {
      const size = data[1] & 0x7f, key = data.subarray(2, 6);
      const body = data.subarray(6, 6 + size).map((byte, at) => byte ^ key[at % 4]);
      stream.write(Buffer.concat([Buffer.from([data[0], size]), body]));
      if ((data[0] & 0xf) === 8) stream.end();
      data = data.subarray(6 + size);
    }
  });
});
server.listen(0, '127.0.0.1', () => console.log(server.address().port));
"""


def test_a_server_in_nodejs(tmp_path: Path):
    node = find_program("node", "nodejs")
    (tmp_path / "server.js").write_text(NODE_SERVER)
    command = [node, str(tmp_path / "server.js")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"ws://127.0.0.1:{int(process.stdout.readline())}"
            options = {"http_version": 2, "compression": False}
            with fastwsh.connect(f"{url}/echo", **options) as connection:
                connection.send("hello")
                assert connection.recv(DEADLINE_SECONDS) == "hello"
            assert connection.close_code == 1000
            error = refused(url)
            assert isinstance(error, fastwsh.ConnectRefusedError)
            assert (error.status, error.body) == (403, b"not you")
            assert ("x-why", "secret") in error.headers
        finally:
            process.kill()


HYPERCORN = """\
import asyncio, sys
from hypercorn.asyncio import serve
from hypercorn.config import Config
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept", "subprotocol": scope["subprotocols"][0]})
    while (event := await receive())["type"] == "websocket.receive":
        text = f"{event['text']}: {scope['http_version']}"
        await send({"type": "websocket.send", "text": text})
config = Config()
config.bind = ["127.0.0.1:0"]
config.accesslog = config.errorlog = "-"
asyncio.run(serve(app, config))
"""


def test_hypercorn(tmp_path: Path):
    command = [sys.executable, "-u", "-c", HYPERCORN]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=tmp_path
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            port = int(line.partition("127.0.0.1:")[2].split()[0])
            options = {"http_version": 2, "subprotocols": ["chat"]}
            with fastwsh.connect(f"ws://127.0.0.1:{port}/", **options) as connection:
                assert connection.subprotocol == "chat"
                assert connection.is_compressed
                for text in ("hello", "x" * 100_000):
                    connection.send(text)
                    assert connection.recv(DEADLINE_SECONDS) == f"{text}: 2"
            assert connection.close_code == 1000
        finally:
            process.kill()
