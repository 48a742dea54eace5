"""Servers that stop, come back on their port, and refuse connections meanwhile."""

import os
import socket
import threading

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect, unix_connect

import fastwsh
from fastwsh.config_error import ConfigError
from fastwsh.testing import CheckError, WsServer, running_server
from usage import own_descriptors, wait_for_own_descriptors
from wire import DEADLINE_SECONDS


def echo(connection):
    for message in connection:
        connection.send(message)


def said(url, message="hello"):
    """Send a message and return what comes back."""
    with fastwsh.connect(url) as client:
        client.send(message)
        return client.recv(timeout=DEADLINE_SECONDS)


def is_refused(server):
    """Connect, and tell whether the system refuses that."""
    with socket.socket() as client:
        client.settimeout(DEADLINE_SECONDS)
        try:
            client.connect((server.host, server.port))
        except ConnectionRefusedError:
            return True
        # a listener that is being closed resets those that wait in it
        return False


def until_back(server):
    """Connect until there is somebody."""
    deadline = threading.Event()
    timer = threading.Timer(DEADLINE_SECONDS, deadline.set)
    timer.start()
    try:
        while is_refused(server):
            assert not deadline.is_set()
    finally:
        timer.cancel()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_server_starts_again_on_its_port(host):
    with running_server(host=host) as server:
        server.handler("/")(echo)
        port = server.port
        assert said(server.url) == "hello"
        for _ in range(2):
            server.stop()
            if host != "::1":
                assert is_refused(server)
            assert not server.is_running
            server.start()
            assert said(server.url) == "hello"
        assert server.port == port
        assert server.received == ["hello"] * 3
        assert len(server.connections) == 3


def test_nobody_else_gets_the_port_meanwhile():
    with running_server() as server:
        server.stop()
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind((server.host, server.port))


def test_without_a_context_the_port_is_free_after_the_stop():
    server = WsServer()
    server.start()
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((server.host, server.port))
        other.listen()
        with pytest.raises(ConfigError, match=f"cannot listen on port {server.port}"):
            server.start()
    server.start()
    server.handler("/")(echo)
    assert said(server.url) == "hello"
    server.stop()


def test_a_running_server_is_left_alone_by_start():
    with running_server() as server:
        server.handler("/")(echo)
        with fastwsh.connect(server.url) as client:
            server.start()
            client.send("a")
            assert client.recv(timeout=DEADLINE_SECONDS) == "a"


def test_a_refusing_server_keeps_who_is_there():
    with running_server() as server:
        server.handler("/")(echo)
        with connect(server.url) as client:
            server.refuse()
            server.refuse()
            assert is_refused(server)
            client.send("still here")
            assert client.recv(DEADLINE_SECONDS) == "still here"
            server.start()
            assert said(server.url) == "hello"
            client.send("as well")
            assert client.recv(DEADLINE_SECONDS) == "as well"
        server.refuse()
    assert is_refused(server)


def test_a_refusing_server_may_stop_and_start():
    with running_server() as server:
        server.handler("/")(echo)
        server.refuse()
        server.stop()
        assert is_refused(server)
        server.start()
        assert said(server.url) == "hello"


def test_a_client_meets_a_restart():
    with running_server() as server:
        server.handler("/")(echo)
        with connect(server.url) as client:
            client.send("a")
            client.recv(DEADLINE_SECONDS)
            server.restart()
            with pytest.raises(ConnectionClosed) as caught:
                client.recv(DEADLINE_SECONDS)
            assert caught.value.rcvd.code == 1001
        assert said(server.url) == "hello"


def test_a_restart_takes_its_time():
    with running_server() as server:
        server.handler("/")(echo)
        server.restart(after=0.3)
        assert is_refused(server)
        until_back(server)
        assert said(server.url) == "hello"


def test_a_stop_calls_a_return_off():
    with running_server() as server:
        server.restart(after=0.05)
        server.stop()
        assert server._return is None
        assert is_refused(server)
        server.restart(after=3600)
        server.start()
        server.handler("/")(echo)
        assert said(server.url) == "hello"


@pytest.mark.parametrize("after", [-1, "1", float("nan"), True])
def test_a_restart_is_not_before_the_stop(after):
    with running_server() as server:
        with pytest.raises((TypeError, ValueError)):
            server.restart(after=after)
        assert server.is_running


def test_scripts_go_on_after_a_restart():
    with running_server() as server:
        server.connection(1).expect("hello").reply("world").expect("never comes")
        server.connection(2).expect("again").reply("back")
        with connect(server.url) as client:
            client.send("hello")
            assert client.recv(DEADLINE_SECONDS) == "world"
            server.restart()
        assert said(server.url, "again") == "back"
    server.check()


def test_a_script_that_a_stop_interrupts_is_a_failure():
    with running_server() as server:
        server.expect("hello")
        with connect(server.url):
            server.wait_for_connection()
            server.stop()
        server.start()
        with pytest.raises(CheckError, match="but the connection of / is over: the server stops"):
            server.check()


def test_faults_stay():
    with running_server() as server:
        server.reject(503)
        server.restart()
        with pytest.raises(InvalidStatus, match="503"):
            connect(server.url)
        server.clear()
        server.hang()
        server.restart()
        with pytest.raises(TimeoutError):
            connect(server.url, open_timeout=0.2)


def test_files_and_coroutine_functions_are_served_again(tmp_path):
    (tmp_path / "hi_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request):\n    pass\n\n"
        "def web_socket_transfer_data(request):\n    request.ws_stream.send_message('hi')\n"
    )
    with running_server(tmp_path) as server:

        @server.handler("/async")
        async def greet(connection):
            await connection.send("hi")

        for _ in range(3):
            for path in ("/hi", "/async"):
                with fastwsh.connect(server.url_for(path)) as client:
                    assert client.recv(timeout=DEADLINE_SECONDS) == "hi"
            server.restart()


def test_the_log_goes_on():
    with running_server() as server:
        server.restart()
    assert sum("Listening on" in line for line in server.log) == 2


def test_nothing_is_left_of_restarts():
    def serve() -> None:
        with running_server() as server:
            server.handler("/")(echo)
            for end in (server.stop, server.refuse, server.restart, server.refuse):
                assert said(server.url) == "hello"
                end()
                server.start()
            server.restart(after=3600)

    serve()
    before = own_descriptors()
    for _ in range(3):
        serve()
    wait_for_own_descriptors(before)


def test_a_unix_socket_is_listened_on(tmp_path):
    path = tmp_path / "ws.sock"
    with running_server(uds=path) as server:
        server.handler("/chat")(echo)
        assert server.uds == str(path)
        assert server.port == 0
        assert server.url_for("/chat") == f"ws+unix://{path}:/chat"
        assert said(server.url_for("chat")) == "hello"
        with unix_connect(server.uds, "ws://localhost/chat") as client:
            client.send("x")
            assert client.recv(DEADLINE_SECONDS) == "x"
        server.refuse()
        with pytest.raises(fastwsh.ConnectError):
            said(server.url_for("chat"))
        assert path.exists()
        server.start()
        assert said(server.url_for("chat")) == "hello"
        server.restart()
        assert said(server.url_for("chat")) == "hello"
    assert not path.exists()


def test_a_unix_socket_that_cannot_be_had_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot listen on"):
        WsServer(uds=tmp_path / "nowhere" / "ws.sock")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="the file exists and is no socket"):
        WsServer(uds=os.fspath(tmp_path / "file"))


@pytest.mark.parametrize("port", [-1, 65536, "80", None, True])
def test_a_port_that_there_is_not_is_refused(port):
    with pytest.raises((TypeError, ValueError), match="port="):
        WsServer(port=port)


@pytest.mark.parametrize("name", ["handlers", "host", "tls"])
def test_an_argument_of_another_type_is_named(name):
    with pytest.raises(TypeError, match=rf"{name}=5; give .+"):
        WsServer(**{name: 5})
