"""Handlers of files on the test server: recorded, and unable to tell."""

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fastwsh.config_error import ConfigError
from fastwsh.testing import CheckError, WsServer, running_server
from wire import DEADLINE_SECONDS, Client


def exchange(server, path, message, **options):
    with connect(server.url_for(path), **options) as client:
        client.send(message)
        return client.recv(DEADLINE_SECONDS)


@pytest.mark.parametrize("concurrency", ["threads", "hub"])
def test_what_a_handler_does_is_recorded(write_handler, handler_root, concurrency):
    write_handler("echo", "request.ws_stream.send_message(request.ws_stream.receive_message())")
    with running_server(handler_root, concurrency=concurrency) as server:
        assert exchange(server, "/echo?x", "hello") == "hello"
        assert server.wait_for_message() == "hello"
        connection = server.wait_for_connection()
        assert connection.sent == ["hello"]
        assert connection.path == "/echo"


def test_a_handler_sees_what_it_always_sees(write_handler, handler_root):
    write_handler(
        "see",
        "from pywebsocket3 import msgutil, stream\n"
        "assert isinstance(request.ws_stream, stream.Stream)\n"
        "assert msgutil.receive_message(request) == 'hello'\n"
        "msgutil.send_message(request, repr(sorted(vars(request))))",
    )
    with running_server(handler_root, deflate_level=9) as server:
        seen = exchange(server, "/see", "hello")
        assert "ws_stream" in seen
        assert "_recorded" not in seen
        assert server.received == ["hello"]


def test_messages_are_compressed_as_ever(write_handler, handler_root):
    write_handler("echo", "request.ws_stream.send_message(request.ws_stream.receive_message())")
    with running_server(handler_root) as server:
        text = "compress me " * 1000
        assert exchange(server, "/echo", text, compression="deflate") == text


def test_fragments_and_pings_pass_as_ever(write_handler, handler_root):
    write_handler(
        "pieces",
        "request.ws_stream.send_message('a', end=False)\n"
        "request.ws_stream.send_message('b')\n"
        "request.ws_stream.send_ping(b'p')\n"
        "assert request.ws_stream.receive_message() == 'c'",
    )
    with running_server(handler_root) as server, connect(server.url_for("/pieces")) as client:
        assert client.recv(DEADLINE_SECONDS) == "ab"
        client.send("c")
        with pytest.raises(ConnectionClosed):
            client.recv(DEADLINE_SECONDS)


def test_an_exception_is_told_with_its_place(write_handler, handler_root):
    write_handler("wrong", "request.ws_stream.receive_message()\nraise LookupError('here')")
    server = WsServer(handler_root)
    with server, pytest.raises(ConnectionClosed):
        exchange(server, "/wrong", "x")
    with pytest.raises(CheckError) as caught:
        server.check()
    text = str(caught.value)
    assert text.startswith("the handler of /wrong raised LookupError: here\n")
    assert "wrong_wsh.py" in text
    assert "dispatcher.py" not in text


@pytest.mark.parametrize(
    "body",
    [
        "from pywebsocket3 import handshake\nraise handshake.AbortedByUserException('enough')",
        "import sys\nsys.exit()",
        "while request.ws_stream.receive_message() is not None: pass",
        "while True: request.ws_stream.receive_message()",
    ],
)
def test_an_end_is_no_error(write_handler, handler_root, body):
    write_handler("ends", body)
    with running_server(handler_root) as server, Client(server.port) as client:
        client.handshake("/ends")
        client.send_close()


def test_a_refusal_is_no_error(write_handler, handler_root):
    write_handler(
        "refuses",
        "def web_socket_do_extra_handshake(request):\n    raise ValueError\n"
        "def web_socket_transfer_data(request):\n    pass\n",
    )
    with running_server(handler_root) as server, Client(server.port) as client:
        client.send_request("/refuses")
        assert client.read_response().status == 403


def test_folders_and_files_can_be_named(write_handler, handler_root, tmp_path):
    echo = "request.ws_stream.send_message(request.ws_stream.receive_message())"
    write_handler("one", echo)
    file = write_handler("two", echo)
    other = tmp_path / "other" / "inner"
    other.mkdir(parents=True)
    file.rename(other / "two_wsh.py")
    with running_server([handler_root / "one_wsh.py", str(tmp_path / "other")]) as server:
        assert exchange(server, "/one", "1") == "1"
        assert exchange(server, "/inner/two", "2") == "2"


def test_a_function_takes_the_place_of_a_file_until_it_is_cleared(write_handler, handler_root):
    write_handler("who", "request.ws_stream.send_message('file')")
    with running_server(handler_root) as server:
        server.handler("/who")(lambda connection: connection.send("function"))
        for answer in ("function", "file"):
            with connect(server.url_for("/who")) as client:
                assert client.recv(DEADLINE_SECONDS) == answer
            server.clear()


def test_a_handler_that_cannot_be_loaded_is_named(write_handler, handler_root):
    write_handler("broken", "def web_socket_x(): (")
    with pytest.raises(ConfigError, match=r"cannot be loaded: .*broken_wsh.py: SyntaxError"):
        running_server(handler_root).__enter__()


def test_a_file_that_is_no_handler_is_named(tmp_path):
    file = tmp_path / "handler.py"
    file.write_text("")
    with pytest.raises(ConfigError, match=r"a file whose name ends in _wsh\.py"):
        running_server(file).__enter__()
