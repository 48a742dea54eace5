"""The garbage collector may run at any allocation, and is not needed for what has ended."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

from conftest import ALL_WAYS, BOTH_WAYS, StartServer, WriteHandler
from echo_handlers import ECHO
from wire import CLOSE, TEXT, Frame

PROGRAM = """
import gc
from types import SimpleNamespace
from fastwsh.pywebsocket.stream import Stream, StreamOptions


class Derived(Stream):
    pass


gc.set_threshold(1)
kept = []
for number in range(3000):
    for cls in (Stream, Derived):
        request = SimpleNamespace(number=number)
        request.ws_stream = cls(request, StreamOptions())
        # kept, so that no dict can be used again and each is allocated anew
        kept.append(request)
print("survived")
"""


def test_a_collection_while_a_stream_is_made_does_no_harm() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr


# Each allocation of those that make the next connection has its turn to start a collection. None of
# its dicts is one that was freed before, for which nothing is allocated.
COLLECTS_OFTEN = """\
import gc, time
gc.set_threshold(time.monotonic_ns() % 20 + 1)
request.kept = [{} for _ in range(100)]
"""
ECHO_LINES = """\
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(message)
"""


@ALL_WAYS
def test_a_collection_while_a_connection_is_made_does_no_harm(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    write_handler("echo", COLLECTS_OFTEN + ECHO_LINES)
    server = start_server("-w", "handlers")
    with ExitStack() as stack:
        for _ in range(400):
            client = stack.enter_context(server.connect())
            client.handshake()
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"x")


WITHOUT_COLLECTOR = """
import gc, sys, threading, time
sys.path.insert(0, sys.argv[1])
from fastwsh.options import parse_args_and_config
from fastwsh.running.request import Request
from fastwsh.server import WebSocketServer
from wire import DEADLINE_SECONDS, Client

arguments = ["-H", "127.0.0.1", "-p", "0", "-w", "handlers", "--concurrency", sys.argv[2]]
server = WebSocketServer(parse_args_and_config(arguments)[0])
threading.Thread(target=server.serve_forever, daemon=True).start()
gc.disable()
for _ in range(10):
    with Client(server.server_port) as client:
        client.handshake()
        client.send_frame(1, b"x")
        assert client.read_frame().payload == b"x"
        client.send_close()
        client.read_to_end()
deadline = time.monotonic() + DEADLINE_SECONDS
while (left := sum(type(found) is Request for found in gc.get_objects())) > 0:
    assert time.monotonic() < deadline, left
    time.sleep(0.02)
server.stop(0)
print("freed")
"""


@ALL_WAYS
def test_a_connection_that_has_ended_is_freed_without_a_collection(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str
) -> None:
    write_handler("echo", ECHO)
    place = concurrency.replace("loop", "auto")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COLLECTOR, str(Path(__file__).parent), place],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "freed"), done.stderr


# A collection that this starts runs a finalizer, which looks at the connection as well.
LOOKING = """
import gc

class Garbage:
    def __init__(self, connection):
        self.itself, self.connection = self, connection

    def __del__(self):
        self.connection.method

def web_socket_do_extra_handshake(request):
    connection = request.connection
    names = [name for name in dir(connection) if name.startswith("get_")]
    looks = [getattr(connection, name) for name in names]
    for name in ("headers", "protocol", "remote_addr", "request_line", "resource"):
        looks.append(lambda name=name: getattr(connection, name))
    before = gc.get_threshold()
    gc.set_threshold(1)
    # kept, so that each object needs memory of its own
    kept = []
    for look in looks:
        for number in range(200):
            Garbage(connection)
            # the collector counts to two
            if number % 2:
                kept.append([])
            kept.append(look())
    gc.set_threshold(*before)

def web_socket_transfer_data(request):
    pass
"""


@BOTH_WAYS
def test_a_finalizer_may_look_at_the_connection_while_the_handler_does(
    write_handler: WriteHandler, start_server: StartServer, concurrency: str
) -> None:
    write_handler("looking", LOOKING)
    server = start_server("-w", "handlers")
    with server.connect() as client:
        assert client.handshake("/looking").status == 101
        assert client.read_frame().opcode == CLOSE
