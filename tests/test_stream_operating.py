"""What operators see of HTTP/2 and HTTP/3: the access log, metrics, every way to ask for it."""

import json
import signal
from pathlib import Path

import pytest

from conftest import StartServer, WriteHandler
from echo_handlers import ECHO
from http3_support import Http3Client
from metrics_support import Metrics
from streams_support import OVER_BOTH, Over, echo_and_close, over

pytestmark = OVER_BOTH

__all__ = ["over"]  # the fixture


@pytest.fixture(autouse=True)
def handler(write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)


def test_access_log(start_server: StartServer, tmp_path: Path, over: Over):
    server = start_server(
        *("-w", "handlers", *over.options, "--access-log=a.log", "--log-format=json")
    )
    number = over.version.removeprefix("HTTP/")
    with over.connect(server) as client:
        echo_and_close(client)
        assert client.wait_end(client.connect("/none")).status == 404
        assert client.wait_end(client.connect("/echo", version="8")).status == 400
    with over.connect_old(server) as old:
        old.handshake("/echo")
        old.send_close()
        assert old.read_frame().close_code == 1000
    server.send_signal(signal.SIGTERM)
    server.wait()
    entries = [json.loads(line) for line in (tmp_path / "a.log").read_text().splitlines()]
    told = {(e["resource"], e["status"], e["http_version"], e["close_received"]) for e in entries}
    assert told == {
        ("/echo", 200, number, 1000),
        ("/none", 404, number, None),
        ("/echo", 400, number, None),
        ("/echo", 101, "1.1", 1000),
    }
    (opened,) = [entry for entry in entries if entry["status"] == 200]
    assert opened["peer"].startswith("127.0.0.1")
    # the masked message and the masked close frame
    assert (opened["messages_received"], opened["bytes_received"]) == (1, 2 + 4 + 5 + 2 + 4 + 2)
    assert opened["opened"] is not None


def test_metrics(start_server: StartServer, over: Over):
    server = start_server("-w", "handlers", *over.options, "--metrics-port", "0")
    metrics = Metrics(server)
    number = over.version.removeprefix("HTTP/")
    with over.connect(server) as client:
        websocket = client.websocket("/echo")
        metrics.wait_for("http_connections", 1, version=number)
        for other in {"1.1", "2", "3"} - {number}:
            assert metrics.value("http_connections", version=other) == 0
        assert metrics.value("connections_accepted_total") == 1
        websocket.send_close()
        websocket.read_frame()
        websocket.send(b"", end=True)
        assert client.wait_end(client.connect("/none")).status == 404
        metrics.wait_for("handshakes_total", 1, result="accepted", status="200")
        metrics.wait_for("handshakes_total", 1, result="no_handler", status="")
        metrics.wait_for("closes_total", 1, code="1000", initiator="client")
    metrics.wait_for("http_connections", 0, version=number)


@pytest.mark.parametrize("way", ["command line", "environment", "file"])
def test_every_way_to_ask_for_it(start_server: StartServer, tmp_path: Path, over: Over, way: str):
    option, *more = over.options
    name = option.removeprefix("--")
    (tmp_path / "server.ini").write_text(f"[pywebsocket]\n{name} = 1\nmax-{name}-streams = 7\n")
    args = {
        "command line": (option,),
        "environment": (),
        "file": ("--config", "server.ini"),
    }
    env = {f"FASTWSH_{name.upper()}": "1"} if way == "environment" else {}
    server = start_server("-w", "handlers", *args[way], *more, env=env)
    with over.connect(server) as client:
        echo_and_close(client)
        wanted = 7 if way == "file" else 256
        if isinstance(client, Http3Client):
            # one for each stream that has ended
            assert client.quic._remote_max_streams_bidi in {wanted, wanted + 1}
        else:
            assert client.h2.remote_settings.max_concurrent_streams == wanted
