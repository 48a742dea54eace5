"""HTTP/2 over TLS, and the clients of others."""

import json
import signal
import subprocess
from pathlib import Path

import pytest
import trustme

from conftest import Server, StartServer, WriteHandler, find_program
from http2_support import Http2Client
from tls_support import authority, trusting
from wire import DEADLINE_SECONDS, TEXT, Client, Frame

__all__ = ["authority"]


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
