"""A thousand connections at once, each with a blocked handler thread, and what they leave."""

from collections.abc import Callable
from contextlib import ExitStack

from conftest import Server, StartServer, WriteHandler
from usage import Usage, allow_descriptors, wait_for_usage
from wire import TEXT, Client, Frame

CONNECTIONS = 1000
# What allocators keep for good after a peak: memory that is only partly free.
MEMORY_KEPT_KIB = 32 * 1024
# Less than 4 KiB per connection: nothing of a connection stays.
MEMORY_ADDED_KIB = 4 * 1024

# Every handler waits until the last has come: `CROWD` says how many there must be.
HANDLER = """\
import os
import threading

crowd = threading.Condition()
here = 0

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    global here
    name = request.ws_stream.receive_message()
    with crowd:
        here += 1
        crowd.notify_all()
        crowd.wait_for(lambda: here >= int(os.environ["CROWD"]))
    request.ws_stream.send_message("hello " + name)
    request.ws_stream.receive_message()
"""


# Leaves no garbage to the interpreter's own timing.
COLLECTOR = """\
import gc
gc.collect()
request.ws_stream.send_message("collected")
"""


def visit(server: Server, names: range, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Connect as each of the names; all say who they are, are greeted, and leave."""
    *others, last = names
    with ExitStack() as stack:
        clients: dict[int, Client] = {}
        for name in names:
            clients[name] = stack.enter_context(server.connect())
            clients[name].handshake("/crowd")
        for name in others:
            clients[name].send_frame(TEXT, str(name).encode())
        meanwhile()
        clients[last].send_frame(TEXT, str(last).encode())
        for name, client in clients.items():
            assert client.read_frame() == Frame(TEXT, f"hello {name}".encode())
        for client in clients.values():
            client.send_close()
        for client in clients.values():
            assert client.read_frame().close_code == 1000
            assert client.read_to_end() == b""


def wait_until_gone(server: Server, idle: Usage, memory_kib: int) -> Usage:
    """Wait until the server holds no more than before, and no more memory than this."""
    with server.connect() as client:
        client.handshake("/collect")
        assert client.read_frame().payload == b"collected"
    return wait_for_usage(
        server,
        # The server may have started a thread of its own for work that came first.
        lambda usage: (
            usage.threads <= idle.threads + 1
            and usage.descriptors <= idle.descriptors + 1
            and usage.memory_kib <= memory_kib
        ),
    )


def test_a_thousand_blocked_handlers_all_answer_and_leave_nothing_behind(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    allow_descriptors(CONNECTIONS)
    write_handler("crowd", HANDLER)
    write_handler("collect", COLLECTOR)
    server = start_server("-w", "handlers", env={"CROWD": str(CONNECTIONS)})
    idle = Usage.of(server)

    def all_but_one_are_blocked() -> None:
        blocked = wait_for_usage(server, lambda usage: usage.threads >= CONNECTIONS)
        assert blocked.descriptors >= idle.descriptors + CONNECTIONS

    visit(server, range(CONNECTIONS), all_but_one_are_blocked)
    first = wait_until_gone(server, idle, idle.memory_kib + MEMORY_KEPT_KIB)
    # The handlers of a second crowd find the condition met.
    visit(server, range(CONNECTIONS))
    wait_until_gone(server, idle, first.memory_kib + MEMORY_ADDED_KIB)
