"""`--reload`: what connections, old and new, see of a handler that changes."""

import signal
from pathlib import Path

import pytest

from conftest import Server, StartServer, WriteHandler
from hub_support import thread_names
from wire import TEXT, Client

OPTIONS = "-w", "handlers", "--reload"

BOTH_KINDS = pytest.mark.parametrize("concurrency", ["threads", "hub", "loop"])

ANSWERS = """\
VERSION = {version!r}

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while request.ws_stream.receive_message() is not None:
        request.ws_stream.send_message(VERSION)

def web_socket_passive_closing_handshake(request):
    return 1000, VERSION
"""


@pytest.fixture
def write(write_handler: WriteHandler):
    """Write a handler that answers every message, and a close frame, with its version."""

    def write(version: str, name: str = "echo") -> Path:
        return write_handler(name, ANSWERS.format(version=version))

    return write


def ask(client: Client) -> bytes:
    client.send_frame(TEXT, b"?")
    frame = client.read_frame()
    assert frame.opcode == TEXT
    return frame.payload


def ask_anew(server: Server, path: str = "/echo") -> bytes:
    with server.connect() as client:
        client.handshake(path)
        return ask(client)


def status(server: Server, path: str) -> int:
    with server.connect() as client:
        client.send_request(path)
        return client.read_response().status


@BOTH_KINDS
def test_open_connections_go_on_and_new_ones_get_the_new_version(start_server: StartServer, write):
    write("old")
    write("other", "other")
    server = start_server(*OPTIONS)
    with server.connect() as old, server.connect() as other:
        old.handshake("/echo")
        other.handshake("/other")
        write("newer")
        server.log.wait_for("Reloaded /echo$")
        assert ask_anew(server) == b"newer"
        assert ask(old) == b"old"
        assert ask(other) == b"other"
        old.send_close(1000)
        close = old.read_frame()
        assert (close.close_code, close.payload[2:]) == (1000, b"old")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "Reloaded /other" not in server.log.text()


def test_a_handler_that_was_deleted_is_a_404_and_its_connections_go_on(
    start_server: StartServer, write
):
    path = write("old")
    server = start_server(*OPTIONS)
    with server.connect() as old:
        old.handshake("/echo")
        path.unlink()
        server.log.wait_for("Handler of /echo is gone$")
        assert status(server, "/echo") == 404
        assert ask(old) == b"old"


def test_a_new_handler_and_its_alias_are_served(start_server: StartServer, write, tmp_path: Path):
    (tmp_path / "map").write_text("/alias /new\n", encoding="utf-8")
    write("old")
    server = start_server(*OPTIONS, "-m", "map")
    assert status(server, "/alias") == 404
    write("new", "new")
    server.log.wait_for("New handler /new$")
    assert ask_anew(server, "/new") == b"new"
    assert ask_anew(server, "/alias") == b"new"


def test_a_broken_edit_is_said_and_the_version_from_before_goes_on(
    start_server: StartServer, write
):
    path = write("old")
    server = start_server(*OPTIONS)
    path.write_text("def web_socket_transfer_data(request:\n", encoding="utf-8")
    line = server.log.wait_for(r"\[WARNING\].*Cannot load (.*); the version from before goes on$")
    assert line[1].startswith(f"{path.resolve()}: SyntaxError: ")
    assert line[1].endswith("(echo_wsh.py:1)")
    assert ask_anew(server) == b"old"


@pytest.mark.parametrize("concurrency", ["auto"])
def test_where_the_new_version_runs_is_decided_anew(start_server: StartServer, write):
    path = write("in the hub")
    hub = path.read_text(encoding="utf-8")
    server = start_server(*OPTIONS)
    with server.connect() as in_hub:
        in_hub.handshake("/echo")
        assert "fastwsh-handler" not in thread_names(server)

        path.write_text("import threading\n" + hub.replace("in the hub", "thread"), "utf-8")
        server.log.wait_for("Reloaded /echo$")
        with server.connect() as in_thread:
            in_thread.handshake("/echo")
            assert ask(in_thread) == b"thread"
            assert thread_names(server).count("fastwsh-handler") == 1

        text = hub.replace("def web_socket_transfer", "async def web_socket_transfer")
        for call in ("receive_message", "send_message"):
            text = text.replace(f"request.ws_stream.{call}", f"await request.ws_stream.{call}")
        path.write_text(text.replace("in the hub", "in a loop"), "utf-8")
        (path.parent / "next_wsh.py").write_text(hub, "utf-8")
        server.log.wait_for("New handler /next$")
        assert ask_anew(server) == b"in a loop"
        assert ask(in_hub) == b"in the hub"


@pytest.mark.parametrize("concurrency", ["auto"])
def test_the_first_handler_for_the_hub_may_come_later(start_server: StartServer, write):
    path = write("x")
    text = path.read_text(encoding="utf-8")
    path.write_text("import threading\n" + text, "utf-8")
    server = start_server(*OPTIONS)
    path.write_text(text, "utf-8")
    server.log.wait_for("Reloaded /echo$")
    with server.connect() as client:
        client.handshake("/echo")
        assert ask(client) == b"x"
        assert "fastwsh-handler" not in thread_names(server)


def test_without_the_option_nothing_is_looked_at(
    start_server: StartServer, write_handler: WriteHandler
):
    names = "' '.join(thread.name for thread in threading.enumerate())"
    write_handler("threads", f"import threading\nrequest.ws_stream.send_message({names})")
    for options, watches in (OPTIONS, True), (OPTIONS[:2], False):
        with start_server(*options).connect() as client:
            client.handshake("/threads")
            assert (b"fastwsh-reload" in client.read_frame().payload) is watches


def test_a_handler_that_is_loaded_for_ever_does_not_keep_the_process_alive(
    start_server: StartServer, write
):
    path = write("old")
    server = start_server(*OPTIONS)
    path.write_text(
        "import sys, time\nprint('loading', file=sys.stderr, flush=True)\ntime.sleep(3600)\n",
        encoding="utf-8",
    )
    server.log.wait_for("^loading$")
    assert ask_anew(server) == b"old"
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
