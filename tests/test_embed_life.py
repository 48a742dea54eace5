"""Programs that end without stopping their server, or fork before they serve."""

import os
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from conftest import Server, WriteHandler
from embed_support import DROPIN, ECHO_HANDLER, assert_echoes, running
from fastwsh.process import exits
from wire import DEADLINE_SECONDS, TEXT

MAKES_SERVER = """
import os, sys, threading
from pywebsocket3 import standalone

options, _ = standalone._parse_args_and_config(
    ["-H", "127.0.0.1", "-p", "0", "-w", "handlers", *sys.argv[1:]]
)
server = standalone.WebSocketServer(options)
port = server._sockets[0][0].getsockname()[1]
"""

LEAVES_DAEMON = f"""{MAKES_SERVER}
leave = threading.Event()
threading.Thread(target=server.serve_forever, daemon=True).start()
print("port", port, flush=True)
leave.wait()
"""

# The workers end with the parent: then nobody has the other end of the pipe.
FORKS_WORKERS = f"""{MAKES_SERVER}
ours, theirs = os.pipe()
for _ in range(2):
    if os.fork() == 0:
        os.close(theirs)
        threading.Thread(target=lambda: os._exit(len(os.read(ours, 1))), daemon=True).start()
        server.serve_forever()
        os._exit(1)
print("port", port, flush=True)
threading.Event().wait()
"""

BEGINS_AT_EXIT = f"""{MAKES_SERVER}
import atexit

def begin():
    try:
        server.serve_forever()
    except Exception as error:
        print(type(error).__name__, error, flush=True)

atexit.register(begin)
"""

CLOSES_SERVERS = f"""{MAKES_SERVER}
import gc

def open_descriptors():
    return len(os.listdir("/proc/self/fd"))

def serve_once(server):
    is_listening = threading.Event()
    server._listen_listeners.append(is_listening.set)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    is_listening.wait()
    server.shutdown()
    server.server_close()
    thread.join()

gc.disable()
serve_once(server)
before = open_descriptors()
servers = [standalone.WebSocketServer(options) for _ in range(3)]
for server in servers:
    serve_once(server)
print("left", open_descriptors() - before, flush=True)
"""


def wait_until_listening(server: Server) -> None:
    server.port = int(server.out.wait_for(r"port (\d+)").group(1))


def run(folder: Path, program: str, *arguments: str) -> AbstractContextManager[Server]:
    path = folder / "program.py"
    path.write_text(program, encoding="utf-8")
    # that of this checkout, also if another is installed
    modules = os.pathsep.join([str(DROPIN), str(DROPIN.parents[1])])
    return running(path, *arguments, cwd=folder, PYTHONPATH=modules)


BUSY = {
    "pushes": ("threads", "time.sleep(0.01)\n    request.ws_stream.send_message('x')"),
    "pushes in the hub": ("hub", "time.sleep(0.01)\n    request.ws_stream.send_message('x')"),
    "heeds nothing": ("threads", "time.sleep(0.001)"),
    "heeds nothing in the hub": ("hub", "time.sleep(0.001)"),
    "computes in the hub": ("hub", "pass"),
    "catches everything in the hub": (
        "hub",
        """try:
        time.sleep(0.001)
    except BaseException:
        pass""",
    ),
    "catches everything": (
        "threads",
        """try:
        request.ws_stream.send_message('x')
    except Exception:
        time.sleep(0.001)""",
    ),
}

# A call of the first greenlet would return to where the second one was before.
SWITCHES = """\
import greenlet, time
def web_socket_do_extra_handshake(request):
    pass
def busy(other):
    while True:
        time.sleep(0.001)
        other.switch()
def deeper(levels, other):
    if levels:
        return list(map(deeper, [levels - 1], [other]))
    while True:
        other.switch(greenlet.getcurrent())
{define} web_socket_transfer_data(request):
    {wait} request.ws_stream.send_message("begun")
    deeper(8, greenlet.greenlet(busy))
"""


@pytest.mark.parametrize("what", BUSY)
def test_a_program_ends_with_its_own_status_while_a_handler_is_busy(
    tmp_path: Path, write_handler: WriteHandler, what: str
):
    concurrency, work = BUSY[what]
    lines = f"import time\nrequest.ws_stream.send_message('begun')\nwhile True:\n    {work}"
    write_handler("busy", lines)
    write_handler("leave", "import __main__\n__main__.leave.set()")
    with run(tmp_path, LEAVES_DAEMON, "--concurrency", concurrency) as server:
        wait_until_listening(server)
        with server.connect() as busy, server.connect() as leaving:
            busy.handshake("/busy")
            assert busy.read_frame().opcode == TEXT
            leaving.handshake("/leave")
            assert server.wait() == 0


@pytest.mark.parametrize(
    ("define", "wait"), [("def", "_ ="), ("async def", "await")], ids=["threads", "coroutine"]
)
def test_a_program_ends_while_a_handler_switches_greenlets(
    tmp_path: Path, write_handler: WriteHandler, define: str, wait: str
):
    write_handler("switches", SWITCHES.format(define=define, wait=wait))
    write_handler("leave", "import __main__\n__main__.leave.set()")
    with run(tmp_path, LEAVES_DAEMON, "--concurrency", "auto") as server:
        wait_until_listening(server)
        with server.connect() as busy, server.connect() as leaving:
            busy.handshake("/switches")
            assert busy.read_frame().opcode == TEXT
            leaving.handshake("/leave")
            assert server.wait() == 0


def test_workers_serve_what_their_parent_has_opened(tmp_path: Path, write_handler: WriteHandler):
    write_handler("echo", ECHO_HANDLER)
    write_handler("process", "import os\nrequest.ws_stream.send_message(str(os.getpid()))")
    with run(tmp_path, FORKS_WORKERS) as server:
        wait_until_listening(server)
        # a handler's end is not that of its process
        for _ in range(4):
            assert_echoes(server.port)
        with server.connect() as client:
            client.handshake("/process")
            assert int(client.read_frame().payload) != server.process.pid


class Ending:
    """A server as the end of the program sees it; it is its own native server."""

    def __init__(self) -> None:
        self._core = self
        self._stopped = threading.Event()
        self.waits: list[float] = []

    def close(self) -> None:
        pass

    def wait_closed(self, seconds: float) -> bool:
        self.waits.append(seconds)
        return False

    def wait_handlers(self, seconds: float) -> None:
        self.waits.append(seconds)


def test_handlers_of_a_server_that_was_stopped_get_no_more_time(monkeypatch: pytest.MonkeyPatch):
    stopped, runs = Ending(), Ending()
    stopped._stopped.set()
    monkeypatch.setattr(exits, "_servers", {stopped, runs})
    exits._end_all()
    assert stopped.waits == []
    assert runs.waits == [0, exits._EXIT_SECONDS]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc/self/fd")
def test_closed_servers_have_no_descriptors(tmp_path: Path, write_handler: WriteHandler):
    write_handler("wait", "request.ws_stream.receive_message()")
    with run(tmp_path, CLOSES_SERVERS) as server:
        assert server.out.wait_for(r"left (-?\d+)").group(1) == "0"
        assert server.process.wait(DEADLINE_SECONDS) == 0


def test_event_loop_that_begins_at_exit_is_refused(tmp_path: Path, write_handler: WriteHandler):
    write_handler(
        "coroutine",
        "async def web_socket_do_extra_handshake(request):\n    pass\n\n"
        "async def web_socket_transfer_data(request):\n    pass\n",
    )
    with run(tmp_path, BEGINS_AT_EXIT) as server:
        server.out.wait_for("ConfigError The event loop for coroutine handlers cannot start while")
        assert server.process.wait(DEADLINE_SECONDS) == 0
