"""What handlers set up before the first connection, and put back after the last."""

import signal
import threading
from pathlib import Path

import pytest

import fastwsh
from conftest import ALL_WAYS, run_fastwsh
from fastwsh.config_error import ConfigError
from fastwsh.pywebsocket import standalone
from fastwsh.pywebsocket.websocket_server import WebSocketServer
from fastwsh.testing import running_server

FUNCTIONS = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request):
    request.ws_stream.send_message(str(request.app.state.number))
    request.ws_stream.receive_message()
"""

COUNTING = """
def web_socket_startup(app):
    app.state.number = getattr(app.state, "number", 0) + 1
    print("up", app.state.number, flush=True)

def web_socket_shutdown(app):
    print("down", app.state.number, flush=True)
"""

ASYNC_COUNTING = COUNTING.replace("def web", "async def web").replace(
    "    print", "    await asyncio.sleep(0)\n    print"
)


@pytest.fixture(params=["functions", "coroutine functions"])
def counting(request: pytest.FixtureRequest) -> str:
    if request.param == "functions":
        return COUNTING
    return f"import asyncio\n{ASYNC_COUNTING}"


@ALL_WAYS
def test_runs_once_before_the_first_connection(start_server, write_handler, counting):
    write_handler("a", counting + FUNCTIONS)
    server = start_server("-w", "handlers")
    server.out.wait_for("^up 1$")
    for _ in range(3):
        with server.connect() as client:
            client.handshake("/a")
            assert client.read_frame().payload == b"1"
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert [line for line in server.out.text().splitlines() if line[:2] in ("up", "do")] == [
        "up 1",
        "down 1",
    ]


def test_handlers_share_the_state_and_end_in_the_other_order(start_server, write_handler):
    for name in ("a", "b/c", "d"):
        write_handler(
            name,
            f"def web_socket_startup(app):\n"
            f"    app.state.{name[-1]} = 1\n    print('up', {name!r})\n"
            f"def web_socket_shutdown(app):\n    print('down', {name!r}, sorted(vars(app.state)))\n"
            f"{FUNCTIONS}",
        )
    server = start_server("-w", "handlers")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [line for line in server.out.text().splitlines() if line.startswith(("up", "down"))]
    assert lines == [
        *(f"up {name}" for name in ("a", "b/c", "d")),
        *(f"down {name} ['a', 'c', 'd']" for name in ("d", "b/c", "a")),
    ]


def test_alias_is_the_same_handler(start_server, write_handler, tmp_path):
    write_handler("a", COUNTING + FUNCTIONS)
    (tmp_path / "aliases").write_text("/one /a\n/two /a\n")
    server = start_server("-w", "handlers", "-m", "aliases")
    with server.connect() as client:
        client.handshake("/two")
        assert client.read_frame().payload == b"1"


def test_shutdown_comes_after_the_last_handler(start_server, write_handler):
    write_handler(
        "a",
        COUNTING + "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request):\n"
        "    try:\n        request.ws_stream.send_message('x')\n"
        "        request.ws_stream.receive_message()\n"
        "    finally:\n        print('handler ends', flush=True)\n",
    )
    server = start_server("-w", "handlers", "--shutdown-timeout", "0.1")
    with server.connect() as client:
        client.handshake("/a")
        client.read_frame()
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    lines = server.out.text().splitlines()
    assert lines.index("handler ends") < lines.index("down 1")


@pytest.mark.parametrize("kind", ["", "async "])
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("1/0", "ZeroDivisionError: division by zero (b_wsh.py:2)"),
        ("raise SystemExit(3)", "SystemExit: 3 (b_wsh.py:2)"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines (b_wsh.py:2)"),
        ("open('/no/such/file')", "FileNotFoundError: [Errno 2] No such file or directory"),
        ("app.state.missing", "AttributeError: app.state has no 'missing'; set it in"),
    ],
)
def test_failure_ends_the_start_with_one_sentence(
    tmp_path, write_handler, handler_root, kind, statement, reason
):
    write_handler("a", COUNTING + FUNCTIONS)
    write_handler("b", f"{kind}def web_socket_startup(app):\n    {statement}\n{FUNCTIONS}")
    write_handler("c", COUNTING + FUNCTIONS)
    done = run_fastwsh("-H", "127.0.0.1", "-p", "0", "-w", "handlers", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["up 1", "down 1"]
    assert done.stderr.splitlines()[-1].startswith(
        f"fastwsh: web_socket_startup of {handler_root / 'b_wsh.py'} failed: {reason}"
    )
    assert "Traceback" not in done.stderr
    assert "is ignored" not in done.stderr


@pytest.mark.parametrize("name", ["web_socket_startup", "web_socket_shutdown"])
@pytest.mark.parametrize(
    ("definition", "reason"),
    [
        ("def {name}(): pass", "is called with the app alone"),
        ("def {name}(app, more): pass", "is called with the app alone"),
        ("{name} = 5", "is not callable"),
    ],
)
def test_check_finds_what_cannot_be_called(tmp_path, write_handler, name, definition, reason):
    write_handler("a", definition.format(name=name) + FUNCTIONS)
    done = run_fastwsh("--check", "-w", "handlers", cwd=tmp_path)
    assert done.returncode == 1
    assert f"{name} {reason}" in done.stdout


def test_check_starts_nothing(tmp_path, write_handler):
    write_handler("a", COUNTING + FUNCTIONS)
    done = run_fastwsh("--check", "-w", "handlers", cwd=tmp_path)
    assert (done.returncode, "up" in done.stdout.split()) == (0, False)


def test_failing_shutdown_is_logged_and_the_others_run(start_server, write_handler):
    write_handler("a", COUNTING + FUNCTIONS)
    write_handler("b", f"def web_socket_shutdown(app):\n    1/0\n{FUNCTIONS}")
    server = start_server("-w", "handlers")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "down 1" in server.out.text()
    server.log.wait_for(r"web_socket_shutdown of .*b_wsh.py failed: ZeroDivisionError")


def test_shutdown_has_the_time_to_clean_up(start_server, write_handler):
    write_handler(
        "a", "import time\ndef web_socket_shutdown(app):\n    time.sleep(60)\n" + FUNCTIONS
    )
    arguments = ["--shutdown-timeout", "0", "--cleanup-timeout", "0.1"]
    server = start_server("-w", "handlers", *arguments)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0


def test_handler_that_uses_the_state_has_threads(start_server, write_handler):
    write_handler("a", COUNTING + FUNCTIONS)
    server = start_server("-w", "handlers", log_level="debug")
    server.log.wait_for(r"Handler of /a runs in threads: it uses app")


def test_handler_may_have_an_app_of_its_own(start_server, write_handler):
    write_handler(
        "a",
        "def web_socket_do_extra_handshake(request):\n    request.app = 'mine'\n"
        "def web_socket_transfer_data(request):\n    request.ws_stream.send_message(request.app)\n",
    )
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake("/a")
        assert client.read_frame().payload == b"mine"


def test_reload_shuts_the_former_version_down(start_server, write_handler):
    source = "def web_socket_startup(app):\n    print('up', {0})\n    app.state.number = {0}\n"
    source += "def web_socket_shutdown(app): print('down', {0})\n"
    path = write_handler("a", source.format(1) + FUNCTIONS)
    server = start_server("-w", "handlers", "--reload")
    path.write_text(source.format(22) + FUNCTIONS)
    server.log.wait_for("Reloaded /a")
    with server.connect() as client:
        client.handshake("/a")
        assert client.read_frame().payload == b"22"
    # one that cannot start
    path.write_text("def web_socket_startup(app): 1/0\n" + FUNCTIONS)
    server.log.wait_for("Cannot load .*a_wsh.py: web_socket_startup .* failed: Zero.*from before")
    with server.connect() as client:
        client.handshake("/a")
        assert client.read_frame().payload == b"22"
    # a new one, and one that goes
    other = write_handler("b", f"import asyncio\n{ASYNC_COUNTING}{FUNCTIONS}")
    server.log.wait_for("New handler /b")
    other.unlink()
    server.log.wait_for("Handler of /b is gone")
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = [line for line in server.out.text().splitlines() if line.startswith(("up", "down"))]
    assert lines == [
        *("up 1", "down 1", "up 22", "down 22", "up 22"),
        *("up 23", "down 23", "down 22"),
    ]


def make_server(handlers: Path) -> WebSocketServer:
    arguments = ["-H", "127.0.0.1", "-p", "0", "-w", str(handlers)]
    return WebSocketServer(standalone._parse_args_and_config(arguments)[0])


def test_embedded_server_runs_it(handler_root, write_handler, capsys):
    write_handler("a", COUNTING + FUNCTIONS)
    server = make_server(handler_root)
    assert capsys.readouterr().out == ""
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with fastwsh.connect(f"ws://127.0.0.1:{server._sockets[0][0].getsockname()[1]}/a") as client:
        assert client.recv() == "1"
    server.shutdown()
    thread.join()
    server.server_close()
    assert capsys.readouterr().out.splitlines() == ["up 1", "down 1"]


def test_embedded_server_raises_what_fails(handler_root, write_handler):
    write_handler("a", f"def web_socket_startup(app): 1/0\n{FUNCTIONS}")
    server = make_server(handler_root)
    with pytest.raises(ConfigError, match=r"web_socket_startup of .* failed: ZeroDivisionError"):
        server.serve_forever()
    server.serve_forever()  # returns at once
    server.server_close()


def test_server_that_never_serves_runs_nothing(handler_root, write_handler, capsys):
    write_handler("a", COUNTING + FUNCTIONS)
    server = make_server(handler_root)
    server.stop(0)
    server.server_close()
    assert capsys.readouterr().out == ""


@ALL_WAYS
def test_test_servers_run_it(handler_root, write_handler, counting, capsys, concurrency):
    write_handler("a", counting + FUNCTIONS)
    for _ in range(2):
        with running_server(handler_root) as server:
            for _ in range(2):
                with fastwsh.connect(server.url_for("/a")) as client:
                    assert client.recv() == "1"
        assert capsys.readouterr().out.splitlines() == ["up 1", "down 1"]


def test_test_server_tells_what_fails(handler_root, write_handler):
    write_handler("a", f"async def web_socket_startup(app): 1/0\n{FUNCTIONS}")
    with (
        pytest.raises(ConfigError, match=r"test server cannot start: web_socket_startup of .*Zero"),
        running_server(handler_root),
    ):
        pass


def test_state_names_what_is_missing():
    from fastwsh.running.lifespan import App

    state = App().state
    state.one = 1
    assert (state.one, hasattr(state, "two"), getattr(state, "two", 3)) == (1, False, 3)
    with pytest.raises(AttributeError, match=r"app.state has no 'two'; set it in"):
        _ = state.two
