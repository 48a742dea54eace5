"""Limits and ends of connections of HTTP/2 and HTTP/3."""

import pytest

from conftest import Server, StartServer, WriteHandler
from echo_handlers import ECHO
from stream_tunnel import Tunnel
from streams_support import OVER_BOTH, Over, end_of, over
from waiting import wait_until
from wire import TEXT, Frame

pytestmark = OVER_BOTH

__all__ = ["over"]  # the fixture


@pytest.fixture(autouse=True)
def handler(write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)


def assert_echoes(websocket: Tunnel) -> None:
    websocket.send_frame(TEXT, b"x")
    assert websocket.read_frame() == Frame(TEXT, b"x")


@pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-address"])
def test_websockets_count_as_connections(start_server: StartServer, over: Over, option: str):
    server = start_server("-w", "handlers", *over.options, option, "3")
    with over.connect(server) as client:
        first, _second = client.websocket("/echo"), client.websocket("/echo")
        answer = client.wait_end(client.connect("/echo"))
        assert answer.status == 503
        assert answer.headers is not None
        assert answer.headers["retry-after"] == "1"
        server.log.wait_for(rf"refused: 3 are open .*\({option}\)")
        first.reset()
        wait_until(
            lambda: client.wait_headers(client.connect("/echo")).status != 503,
            "no connection is admitted again",
        )


def test_idle_connections_end_and_those_with_a_websocket_stay(
    start_server: StartServer, over: Over
):
    server = start_server("-w", "handlers", *over.options, "--head-timeout", over.short_time)
    with over.connect(server) as busy:
        websocket = busy.websocket("/echo")
        with over.connect(server) as idle:
            assert idle.fetch("/none").status == 404
            assert end_of(idle) == over.no_error
        assert_echoes(websocket)
        websocket.send_close()
        websocket.send(b"", end=True)
        assert end_of(busy) == over.no_error


def test_an_idle_connection_does_not_delay_the_stop(start_server: StartServer, over: Over):
    server = start_server("-w", "handlers", *over.options, "--shutdown-timeout", "600")
    with over.connect(server) as client, over.connect(server) as silent:
        assert client.fetch("/none").status == 404
        stream = silent.connect("/none")
        silent.wait_end(stream)
        server.process.terminate()
        assert end_of(client) == over.no_error
        assert server.wait() == 0


MALFORMED = (
    [(":method", "CONNECT"), (":protocol", "websocket")],
    [(":method", "GET"), (":protocol", "websocket"), (":path", "/echo")],
    [(":method", "GET"), (":path", "/"), (":path", "/")],
    [(":method", "GET"), (":path", "")],
    [(":method", "GET"), (":path", "*")],
    [(":method", "GET"), (":path", "?query")],
    [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "*")],
    [(":method", "CONNECT"), (":protocol", "websocket"), (":path", "http://localhost/echo")],
    [(":method", "GET"), (":path", "/"), ("connection", "close")],
    [(":method", "GET"), (":path", "/"), (":status", "200")],
    [(":path", "/")],
    [(":method", "CONNECT"), (":protocol", "websocket\r\nhost: other"), (":path", "/echo")],
)


def test_malformed_requests_are_errors_of_their_stream(start_server: StartServer, over: Over):
    server: Server = start_server("-w", "handlers", *over.options)
    with over.connect_unchecked(server) as client:
        echo = client.websocket("/echo")
        for headers in MALFORMED:
            first = [(":authority", "localhost"), (":scheme", over.scheme)]
            stream = client.open_stream([*first, *headers])
            assert client.wait_end(stream).reset_code == over.malformed, headers
            assert_echoes(echo)
