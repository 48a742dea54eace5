"""The test server: handlers in the test, what it records, what it reports, and its life."""

import asyncio
import inspect
import logging
import socket
import threading

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from fastwsh.config_error import ConfigError
from fastwsh.testing import (
    CheckError,
    Disconnected,
    WaitTimeoutError,
    WsServer,
    running_server,
)
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Client, Frame


@pytest.fixture
def server():
    with running_server() as server:
        yield server


def echo(connection):
    for message in connection:
        connection.send(message)


def exchange(server, path, message):
    with connect(server.url_for(path)) as client:
        client.send(message)
        return client.recv(DEADLINE_SECONDS)


def test_a_function_serves_a_path(server):
    server.handler("/echo")(echo)
    assert exchange(server, "/echo", "text") == "text"
    assert exchange(server, "echo?query=1", b"\x00") == b"\x00"


def test_a_path_without_a_handler_is_not_found(server):
    with pytest.raises(InvalidStatus) as caught:
        connect(server.url_for("/nowhere"))
    assert caught.value.response.status_code == 404


def test_no_file_is_served_unless_asked_for(server, tmp_path):
    with Client(server.port) as client:
        client.send(b"GET /pyproject.toml HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_response().status == 404
    (tmp_path / "page.txt").write_text("page")
    with running_server(document_root=tmp_path) as other, Client(other.port) as client:
        client.send(b"GET /page.txt HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_response().status == 200


def test_the_url_names_the_place(server):
    assert server.url == f"ws://127.0.0.1:{server.port}/"
    assert server.url_for("a/b?c") == f"ws://127.0.0.1:{server.port}/a/b?c"


def test_a_connection_shows_the_handshake(server):
    @server.handler("/hello", subprotocols=["b", "a"])
    def hello(connection):
        connection.send(connection.headers["x-test"])
        assert connection.recv() == "go on"

    url = server.url_for("/hello?q=1")
    with connect(url, additional_headers={"X-Test": "yes"}, subprotocols=["a", "b"]) as client:
        assert client.recv(DEADLINE_SECONDS) == "yes"
        assert client.subprotocol == "a"
        connection = server.wait_for_connection()
        assert connection.path == "/hello"
        assert connection.resource == "/hello?q=1"
        assert connection.subprotocol == "a"
        assert connection.is_open
        client.send("go on")
    server.stop()
    assert not connection.is_open
    assert connection.received == ["go on"]
    assert connection.sent == ["yes"]


def test_a_subprotocol_that_is_not_spoken_is_refused(server):
    server.handler("/", subprotocols=["a"])(echo)
    with pytest.raises(InvalidStatus) as caught:
        connect(server.url, subprotocols=["b"])
    assert caught.value.response.status_code == 400


def test_the_close_of_the_client_is_recorded(server):
    server.handler("/")(echo)
    with connect(server.url) as client:
        connection = server.wait_for_connection()
        assert connection.close_code is None
        client.close(4001, "enough")
    assert connection.close_code == 4001
    assert connection.close_reason == "enough"


def test_a_handler_closes_with_a_code_and_a_reason(server):
    server.handler("/")(lambda connection: connection.close(4002, "no"))
    with connect(server.url) as client, pytest.raises(ConnectionClosed) as caught:
        client.recv(DEADLINE_SECONDS)
    assert caught.value.rcvd.code == 4002
    assert caught.value.rcvd.reason == "no"


def test_receiving_has_a_timeout_and_loses_nothing(server):
    timed_out = threading.Event()

    @server.handler("/")
    def patient(connection):
        with pytest.raises(WaitTimeoutError, match=r"nothing came at / within 0\.01 s"):
            connection.recv(timeout=0.01)
        timed_out.set()
        connection.send(connection.recv(DEADLINE_SECONDS))
        connection.send(connection.recv())

    with connect(server.url) as client:
        assert timed_out.wait(DEADLINE_SECONDS)
        for message in ("first", "second"):
            client.send(message)
            assert client.recv(DEADLINE_SECONDS) == message


def test_a_handler_may_close_while_a_receive_waits(server):
    @server.handler("/")
    def impatient(connection):
        with pytest.raises(WaitTimeoutError):
            connection.recv(timeout=0.01)
        connection.close(4000)

    with connect(server.url) as client, pytest.raises(ConnectionClosed) as caught:
        client.recv(DEADLINE_SECONDS)
    assert caught.value.rcvd.code == 4000


def test_messages_of_all_connections_are_recorded(server):
    server.handler("/a")(echo)
    server.handler("/b")(echo)
    exchange(server, "/a", "one")
    exchange(server, "/b", b"two")
    assert server.received == ["one", b"two"]
    assert [one.path for one in server.connections] == ["/a", "/b"]
    assert server.attempts == 2


def test_waiting_for_a_message_finds_it(server):
    server.handler("/")(echo)
    client = threading.Thread(target=exchange, args=(server, "/", '{"a": 1}'))
    client.start()
    assert server.wait_for_message(json={"a": 1}) == '{"a": 1}'
    assert server.wait_for_message(lambda message: "a" in message, path="/") == '{"a": 1}'
    client.join()


def test_waiting_in_vain_says_what_came(server):
    server.handler("/")(echo)
    exchange(server, "/", "hallo")
    with pytest.raises(WaitTimeoutError) as caught:
        server.wait_for_message("hello", timeout=0.01)
    assert str(caught.value) == "'hello' did not come within 0.01 s; received: 'hallo'"
    with pytest.raises(TimeoutError, match=r"1 connection of 2 opened within 0\.01 s"):
        server.wait_for_connection(2, timeout=0.01)


def test_an_exception_in_a_handler_is_told_with_its_place():
    server = WsServer()
    with server:

        @server.handler("/chat")
        def wrong(connection):
            raise LookupError("no such room")

        with connect(server.url_for("/chat")) as client, pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    with pytest.raises(CheckError) as caught:
        server.check()
    text = str(caught.value)
    assert text.startswith("the handler of /chat raised LookupError: no such room\n")
    assert 'raise LookupError("no such room")' in text
    assert "dispatcher.py" not in text
    assert isinstance(caught.value.__cause__, LookupError)


def test_an_expected_error_can_be_taken(server):
    @server.handler("/")
    def wrong(connection):
        raise ValueError

    with connect(server.url) as client, pytest.raises(ConnectionClosed):
        client.recv(DEADLINE_SECONDS)
    server.stop()
    (failure,) = server.take_errors()
    assert failure.path == "/"
    assert isinstance(failure.exception, ValueError)


def test_an_error_says_what_was_raised(server):
    @server.handler("/")
    async def wrong(connection):
        raise ExceptionGroup("both", [LookupError("room", 7), ValueError("seat")])

    with connect(server.url) as client, pytest.raises(ConnectionClosed):
        client.recv(DEADLINE_SECONDS)
    server.stop()
    (failure,) = server.take_errors()
    assert [error.args for error in failure.exception.exceptions] == [("room", 7), ("seat",)]


def test_a_client_that_is_gone_is_no_error(server):
    ended = threading.Event()

    @server.handler("/")
    def talks(connection):
        try:
            with pytest.raises(Disconnected, match="without a close frame"):
                connection.recv()
            while True:
                connection.send("are you there?")
        finally:
            ended.set()

    with Client(server.port) as client:
        client.handshake("/")
        client.reset()
    assert ended.wait(DEADLINE_SECONDS)


def test_sending_after_the_close_of_the_client_is_no_error(server):
    @server.handler("/")
    def talks(connection):
        for _ in connection:
            pass
        connection.send("too late")

    with connect(server.url):
        server.wait_for_connection()
    server.stop()
    assert server.take_errors() == []


def test_a_client_that_breaks_the_protocol_is_an_error(server):
    server.handler("/")(echo)
    with Client(server.port) as client:
        client.handshake("/")
        client.send_frame(3)
        assert client.read_frame().opcode == CLOSE
    server.stop()
    (failure,) = server.take_errors()
    assert "UnsupportedFrame" in failure.text or "InvalidFrame" in failure.text


def test_a_limit_of_the_server_is_no_error():
    with running_server(max_message_bytes=4) as server:
        server.handler("/")(echo)
        with connect(server.url) as client:
            client.send("12345")
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(DEADLINE_SECONDS)
    assert caught.value.rcvd.code == 1009


def test_a_handler_that_does_not_end_is_an_error(monkeypatch):
    monkeypatch.setattr("fastwsh.testing.server_life.HANDLER_SECONDS", 0.01)
    end = threading.Event()
    server = WsServer()
    server.start()
    server.handler("/")(lambda connection: end.wait(DEADLINE_SECONDS))
    with Client(server.port) as client:
        client.handshake("/")
        server.wait_for_connection()
        server.stop()
        with pytest.raises(CheckError, match=r"the handler of / has not ended 0\.01 s after"):
            server.check()
        end.set()


def test_running_server_decorates_a_function():
    @running_server()
    def work(what: str) -> str:
        return what

    assert [work("once"), work("again")] == ["once", "again"]


def test_running_server_decorates_a_coroutine_function(tmp_path):
    @running_server(uds=tmp_path / "socket")
    async def work(what: str) -> str:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "socket"))
        return what

    assert inspect.iscoroutinefunction(work)
    assert [asyncio.run(work("once")), asyncio.run(work("again"))] == ["once", "again"]


def test_stopping_says_good_bye(server):
    server.handler("/")(echo)
    with Client(server.port) as client:
        client.handshake("/")
        server.wait_for_connection()
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        assert client.read_frame() == Frame(CLOSE, (1001).to_bytes(2))
        client.send_close(1001)
        stopping.join(DEADLINE_SECONDS)
    with pytest.raises(ConnectionRefusedError):
        Client(server.port)


def test_clearing_forgets_everything(server):
    server.handler("/")(echo)
    server.reject(503, path="/other")
    with Client(server.port) as client:
        client.handshake("/")
        client.send_frame(TEXT, b"x")
        client.read_frame()
        server.clear()
        assert client.read_to_end() == b""
    assert (server.received, server.connections, server.attempts, server.log) == ([], [], 0, [])
    for path in ("/", "/other"):
        with pytest.raises(InvalidStatus, match="404"):
            connect(server.url_for(path))


def test_the_log_is_of_this_server_only(server):
    with running_server() as other:
        other.handler("/other")(lambda connection: logging.getLogger("fastwsh").info("from other"))
        with connect(other.url_for("/other")) as client, pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)
    assert any("from other" in line for line in other.log)
    assert not any("from other" in line for line in server.log)
    assert any(f"Listening on 127.0.0.1:{server.port}" in line for line in server.log)
    assert logging.getLogger("pywebsocket3").level == logging.NOTSET


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"max_mesage_bytes": 1}, TypeError, "did you mean max_message_bytes"),
        ({"bind": "127.0.0.1:1"}, TypeError, "no option of a test server"),
        ({"max_message_bytes": -1}, ValueError, "max_message_bytes=-1"),
        ({"strict_compat": "yes"}, ValueError, "True or False"),
        ({"concurrency": "loop"}, ValueError, "one of auto, threads, hub"),
        ({"host": "203.0.113.1"}, ConfigError, "cannot listen on port 0 of '203.0.113.1'"),
        ({"handlers": "/does/not/exist"}, ConfigError, "neither a folder nor a handler file"),
    ],
)
def test_what_cannot_be_used_is_named(options, error, text):
    with pytest.raises(error, match=text):
        WsServer(**options)


def test_the_port_can_be_chosen(server):
    with pytest.raises(ConfigError, match=f"cannot listen on port {server.port}"):
        WsServer(port=server.port)


def test_options_have_all_their_names(tmp_path):
    with running_server(ping_interval=0.5, deflate_level=9, backlog=5) as server:
        options = server._server.websocket_server_options
    assert (options.ping_interval, options.deflate_level) == (0.5, 9)
    assert options.request_queue_size == 5


def test_the_environment_has_no_say(monkeypatch):
    monkeypatch.setenv("FASTWSH_MAX_MESSAGE_BYTES", "1")
    with running_server() as server:
        server.handler("/")(echo)
        assert exchange(server, "/", "longer") == "longer"
