"""What operators and authors of tests see of HTTP/3: logs, metrics, every way to ask for it."""

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from aioquic.quic.recovery import QuicPacketRecovery

from conftest import StartServer, WriteHandler, run_fastwsh
from echo_handlers import ECHO
from fastwsh.testing import make_tls_files, running_server
from http3_support import Http3Client, write_certificate
from pytest_plugin_support import run
from streams_support import echo_and_close
from wire import DEADLINE_SECONDS, TEXT, Frame

__all__ = ["run"]

TLS = "--ssl-certfile=tls.pem"


@pytest.fixture(autouse=True)
def files(tmp_path: Path, write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)
    write_certificate(tmp_path / "tls.pem")


def test_both_other_versions_are_served_as_well(start_server: StartServer):
    server = start_server("-w", "handlers", "--http2", "--http3", TLS)
    with Http3Client(server) as client:
        echo_and_close(client)
    context = unchecked_context()
    context.set_alpn_protocols(["h2"])
    with server.connect() as plain:
        wrapped = context.wrap_socket(plain.socket)
        assert wrapped.selected_alpn_protocol() == "h2"
        wrapped.close()


def unchecked_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def test_certificates_are_reloaded(start_server: StartServer, tmp_path: Path):
    server = start_server("-w", "handlers", "--http3", TLS)
    files = make_tls_files(tmp_path, "localhost")
    chain = Path(files.certificate).read_bytes() + Path(files.private_key).read_bytes()
    with Http3Client(server) as open_before:
        (tmp_path / "tls.pem").write_bytes(chain)
        server.send_signal(signal.SIGHUP)
        server.log.wait_for("Certificates reloaded")
        with Http3Client(server) as client:
            echo_and_close(client)
            new = client.quic.tls._peer_certificate
            assert new != open_before.quic.tls._peer_certificate
        echo_and_close(open_before)


@pytest.mark.parametrize("retry", [True, False])
def test_address_validation(start_server: StartServer, retry: bool):
    server = start_server("-w", "handlers", "--http3", TLS, *(["--http3-retry"] if retry else []))
    with Http3Client(server) as client:
        echo_and_close(client)
        # what the client sends back
        assert bool(client.quic._peer_token) == retry


def test_ipv6(start_server: StartServer):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    server = start_server("-w", "handlers", "--http3", TLS, listen=("-H", "::1", "-p", "0"))
    with Http3Client(server, host="::1") as client:
        echo_and_close(client)


def test_a_process_that_a_handler_forks_has_no_part_in_it(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler(
        "leaves",
        """\
import logging, os, signal
web_socket_concurrency = "threads"
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    child = os.fork()
    if not child:
        signal.pause()
        os._exit(0)
    request.ws_stream.send_message(str(child))
    try:
        request.ws_stream.receive_message()
    finally:
        logging.getLogger("t").warning("the client has gone")
""",
    )
    server = start_server("-w", "handlers", "--http3", TLS)
    with Http3Client(server) as client:
        child = int(client.websocket("/leaves").read_frame().payload)
    try:
        server.log.wait_for("the client has gone")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
        with socket.socket(type=socket.SOCK_DGRAM) as other:
            other.bind(("127.0.0.1", server.port))
    finally:
        # it would keep the pipes open
        os.kill(child, signal.SIGKILL)


@pytest.mark.parametrize(
    ("args", "sentence"),
    [
        ((), "HTTP/3 needs TLS; add --tls, --private-key and --certificate"),
        (
            (TLS, "--tls-client-auth", "--tls-client-ca=tls.pem"),
            "HTTP/3 cannot ask for client certificates; leave out --http3 or --tls-client-auth",
        ),
        ((TLS, "--uds", "s"), "HTTP/3 needs an address to listen on; add --port or --bind"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, args: tuple[str, ...], sentence: str):
    place = () if "--uds" in args else ("-p", "0")
    done = run_fastwsh("--http3", *place, *args, cwd=tmp_path)
    assert done.returncode == 1
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_port_is_taken(tmp_path: Path):
    with socket.socket(type=socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        done = run_fastwsh(
            *("-H", "127.0.0.1", "-p", "0", "--http3", TLS, "--http3-port", str(port)),
            cwd=tmp_path,
        )
    assert done.returncode == 1
    assert f"cannot use UDP port {port} of 127.0.0.1 for HTTP/3" in done.stderr


@pytest.mark.parametrize("missing", ["aioquic", "h2"])
def test_packages_that_are_not_installed(tmp_path: Path, missing: str):
    # a module that cannot be imported hides the one that is installed
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / f"{missing}.py").write_text("raise ImportError")
    env = {"PYTHONPATH": str(tmp_path / "hidden")}
    done = run_fastwsh("-p", "0", "--http3", TLS, cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert (
        f"HTTP/3 needs the package {missing}, which is not installed; install it with: "
        "pip install 'fastwsh[http3]'" in done.stderr
    )
    assert "Traceback" not in done.stderr


def test_versions_of_aioquic_that_are_not_known_are_refused(tmp_path: Path):
    program = """\
import sys
from aioquic.quic.connection import QuicConnection
del QuicConnection._write_stream_limits
from fastwsh import cli
sys.exit(cli.main(["-p", "0", "--http3", "--ssl-certfile=tls.pem"]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 1
    assert "HTTP/3 does not work with aioquic" in done.stderr


def test_server_for_tests(tmp_path: Path):
    files = make_tls_files(tmp_path)
    with running_server(http3=True, tls=files) as server:

        @server.handler("/told")
        def told(connection):
            connection.send(connection.request.protocol)

        @server.handler("/wait")
        def wait(connection):
            connection.send(connection.recv())
            connection.recv()

        @server.handler("/told/async")
        async def told_async(connection):
            await connection.send(connection.request.protocol)

        with Http3Client(server) as client:
            for path in ("/told", "/told/async"):
                assert client.websocket(path).read_frame() == Frame(TEXT, b"HTTP/3")
            # what is open stays, and nobody else comes in
            kept = client.websocket("/wait")
            server.refuse()
            with Http3Client(server, connects=False) as other:
                for _ in range(5):
                    other.take(0.01)
                kept.send_frame(TEXT, b"x")
                assert kept.read_frame() == Frame(TEXT, b"x")
                assert not other.is_connected
            server.start()
            with Http3Client(server) as other:
                assert other.websocket("/told").read_frame() == Frame(TEXT, b"HTTP/3")
            kept.send_close()
            kept.read_frame()
        # it comes back on the same port
        server.stop()
        server.start()
        with Http3Client(server) as client:
            assert client.websocket("/told").read_frame() == Frame(TEXT, b"HTTP/3")


def test_a_handler_is_told_at_once_that_its_client_has_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    has_ended = threading.Event()
    with running_server(http3=True, tls=make_tls_files(tmp_path)) as server:

        @server.handler("/wait")
        def wait(connection):
            try:
                connection.recv()
            finally:
                has_ended.set()

        with Http3Client(server) as client:
            client.websocket("/wait")
            # after three of which both ends forget the connection (RFC 9000 10.2)
            monkeypatch.setattr(QuicPacketRecovery, "get_probe_timeout", lambda *_, **__: 600.0)
        assert has_ended.wait(DEADLINE_SECONDS)


def test_fixtures_for_tests(run):
    result = run("""
import socket

@pytest.mark.wsserver(http2=True, http3=True)
def test_both(wss_server):
    # a packet of an unknown version is answered with those that are known (RFC 9000 6)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.settimeout(30)
        packet = b"\\xc0\\x0a\\x0a\\x0a\\x0a\\x08abcdefgh\\x08ABCDEFGH".ljust(1200, b"\\0")
        client.sendto(packet, (wss_server.host, wss_server.port))
        answer = client.recv(2000)
    assert answer[1:5] == bytes(4)
    assert bytes((0, 0, 0, 1)) in answer[5:]
""")
    result.assert_outcomes(passed=1)
