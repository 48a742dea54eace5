"""Proxies that speak HTTP/2 with the server: HAProxy for pages and WebSockets, Caddy and nginx for
pages."""

import http.client
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import fastwsh
from conformance.autobahn import HAPROXY
from conftest import Server, StartServer, WriteHandler, find_program
from proxy_support import free_port
from wire import DEADLINE_SECONDS, TEXT, Client, Frame

CADDY = """\
{{
	admin off
}}
http://127.0.0.1:{front} {{
	reverse_proxy h2c://127.0.0.1:{back}
}}
"""

# nginx's own files go to its folder
NGINX = """\
daemon off;
pid {folder}/nginx.pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://127.0.0.1:{back};
            proxy_http_version %s;
        }}
    }}
}}
"""

# The first release that speaks HTTP/2 with a server behind it. Debian's are older.
NGINX_WITH_HTTP2 = (1, 29, 4)

TOLD = """\
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(f"{message}: {request.protocol} {request.method}")
"""

PAGE = bytes(range(256)) * 4096


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler, tmp_path: Path) -> Server:
    write_handler("told", TOLD)
    (tmp_path / "public").mkdir()
    (tmp_path / "public/page.bin").write_bytes(PAGE)
    return start_server("-d", "public", "-w", "../handlers", "--http2")


@contextmanager
def proxy(name: str, arguments: str, config: str, server: Server, folder: Path) -> Iterator[int]:
    """Run a proxy in front of the server; gives its port."""
    path = find_program(name, name)
    front = free_port()
    file = folder / "proxy.conf"
    file.write_text(config.format(front=front, back=server.port, folder=folder))
    command = [path, *arguments.format(file=file).split()]
    log = folder / "proxy.log"
    home = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (
        log.open("wb") as output,
        subprocess.Popen(command, stdout=output, stderr=output, env=home) as process,
    ):
        try:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while True:
                try:
                    socket.create_connection(("127.0.0.1", front)).close()
                    break
                except ConnectionRefusedError:
                    assert process.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield front
        finally:
            process.kill()


def assert_pages(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    for path, headers, status, body in (
        ("/page.bin", {}, 200, PAGE),
        ("/page.bin", {"Range": "bytes=10-19"}, 206, PAGE[10:20]),
        ("/nothing", {}, 404, None),
        ("/page.bin", {}, 200, PAGE),
    ):
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        data = answer.read()
        assert answer.status == status
        assert body is None or data == body
    connection.close()


def test_haproxy(server: Server, tmp_path: Path) -> None:
    with proxy("haproxy", "-db -f {file}", HAPROXY, server, tmp_path) as port:
        assert_pages(port)
        url = f"ws://127.0.0.1:{port}"
        for compression in (False, True):
            with fastwsh.connect(f"{url}/told", compression=compression) as connection:
                assert connection.is_compressed == compression
                connection.send("hello")
                assert connection.recv(DEADLINE_SECONDS) == "hello: HTTP/2 CONNECT"
            assert connection.close_code == 1000
        with pytest.raises(fastwsh.ConnectRefusedError, match="answered 404"):
            fastwsh.connect(f"{url}/nowhere")
        # a client that goes away without a word
        with Client(port) as client:
            client.handshake("/told")
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"x: HTTP/2 CONNECT")
            client.reset()


def test_caddy(server: Server, tmp_path: Path) -> None:
    arguments = "run --adapter caddyfile --config {file}"
    with proxy("caddy", arguments, CADDY, server, tmp_path) as port:
        assert_pages(port)


def test_nginx(server: Server, tmp_path: Path) -> None:
    nginx = find_program("nginx", "nginx")
    told = subprocess.run([nginx, "-v"], check=True, capture_output=True, text=True).stderr
    found = re.search(r"nginx/(\d+)\.(\d+)\.(\d+)", told)
    assert found is not None
    version = "2" if tuple(map(int, found.groups())) >= NGINX_WITH_HTTP2 else "1.1"
    config = NGINX % version
    with proxy("nginx", "-e stderr -p . -c {file}", config, server, tmp_path) as port:
        assert_pages(port)
