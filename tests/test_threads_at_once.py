"""Many threads use the same connections at once: nothing is lost, or sent after the close frame."""

import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

import fastwsh
from conftest import BOTH_WAYS
from fastwsh.testing import running_server
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Client

THREADS = 4
MESSAGES = 40
CLIENTS = 4

# All threads of a connection send, ping, publish and subscribe, while its handler receives.
CROWD = f"""\
import threading
from fastwsh import topics

def web_socket_do_extra_handshake(request):
    topics.subscribe(request, "all")
    # some come before the subscriptions begin, some after
    threading.Thread(target=topics.unsubscribe, args=(request, "left")).start()
    topics.subscribe(request, "room")

def web_socket_transfer_data(request):
    stream = request.ws_stream
    own = stream.receive_message()

    def work(name):
        for number in range({MESSAGES}):
            stream.send_message(f"{{own}} {{name}} {{number}}")
            stream.send_message(f"{{own}} {{name}} {{number}}".encode(), binary=True)
            topics.publish("all", f"topic {{own}}-{{name}} {{number}}")
            stream.send_ping(b"")
            topics.subscribe(request, f"room {{name}}")
            topics.unsubscribe(request, f"room {{name}}")
            stream.get_last_received_opcode(), request.connection.get_memorized_lines()

    threads = [threading.Thread(target=work, args=(name,)) for name in range({THREADS})]
    for thread in threads:
        thread.start()
    while (message := stream.receive_message()) != "end":
        stream.send_message(f"{{own}} echo {{message}}")
    for thread in threads:
        thread.join()
    stream.send_message("done")
    stream.receive_message()
"""

# All threads send until the connection is closed, and all close it.
CLOSING = f"""\
import threading
from mod_pywebsocket import msgutil

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    begin = threading.Barrier({THREADS})
    wrong = []

    def work(name):
        begin.wait()
        try:
            for number in range(1000):
                request.ws_stream.send_message("x" * 500)
                if number == 5 + name:
                    request.ws_stream.close_connection(3000 + name, wait_response=False)
        except (msgutil.BadOperationException, msgutil.ConnectionTerminatedException):
            pass
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in range({THREADS})]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise wrong[0]
"""


@pytest.fixture(autouse=True)
def _often() -> Iterator[None]:
    """Let threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@BOTH_WAYS
@pytest.mark.parametrize("compression", [True, False])
def test_threads_send_publish_ping_and_subscribe_on_the_same_connections(
    tmp_path, concurrency: str, compression: bool
) -> None:
    tmp_path.joinpath("crowd_wsh.py").write_text(CROWD, "utf-8")
    with running_server(tmp_path, concurrency=concurrency) as server, ExitStack() as stack:
        clients = [
            stack.enter_context(fastwsh.connect(server.url_for("/crowd"), compression=compression))
            for _ in range(CLIENTS)
        ]
        for name, client in enumerate(clients):
            client.send(f"c{name}")
        for client in clients:
            for number in range(MESSAGES):
                client.send(str(number))
            client.send("end")
        for name, client in enumerate(clients):
            received = []
            while (message := client.recv(DEADLINE_SECONDS)) != "done":
                received.append(message)
            check(f"c{name}", received)
            client.send("bye")


def check(own: str, received: list[str | bytes]) -> None:
    """Every thread's messages arrived once, and in the order of its calls."""
    for name in range(THREADS):
        sent = [f"{own} {name} {number}" for number in range(MESSAGES)]
        assert [m for m in received if str(m).startswith(f"{own} {name} ")] == sent
        assert [m.decode() for m in received if m in {s.encode() for s in sent}] == sent
    echoes = [m for m in received if str(m).startswith(f"{own} echo ")]
    assert echoes == [f"{own} echo {number}" for number in range(MESSAGES)]
    published = [m for m in received if str(m).startswith("topic ")]
    # Those of this connection's threads are complete, since its handler has waited for them. Those
    # of others may have begun before it had subscribed, and go on after it has ended.
    for who, name in itertools.product(range(CLIENTS), range(THREADS)):
        of_one = [m for m in published if m.startswith(f"topic c{who}-{name} ")]
        all_of_one = [f"topic c{who}-{name} {number}" for number in range(MESSAGES)]
        begin = 0 if f"c{who}" == own or not of_one else all_of_one.index(of_one[0])
        assert of_one == all_of_one[begin:][: MESSAGES if f"c{who}" == own else len(of_one)]


@BOTH_WAYS
def test_threads_that_send_and_close_at_once_send_one_close_frame_and_nothing_after_it(
    tmp_path, concurrency: str
) -> None:
    tmp_path.joinpath("closing_wsh.py").write_text(CLOSING, "utf-8")
    with running_server(tmp_path, concurrency=concurrency) as server:
        for _ in range(20):
            with Client(server.port) as client:
                client.handshake("/closing")
                while (frame := client.read_frame()).opcode != CLOSE:
                    assert (frame.opcode, frame.payload) == (TEXT, b"x" * 500)
                assert frame.payload[:2] in {(3000 + name).to_bytes(2) for name in range(THREADS)}
                client.send_close(3000)
                assert client.read_to_end() == b""


@BOTH_WAYS
def test_a_passive_closing_function_that_closes_sends_the_only_close_frame(
    tmp_path, concurrency: str
) -> None:
    tmp_path.joinpath("passive_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request):\n    pass\n"
        "def web_socket_transfer_data(request):\n    request.ws_stream.receive_message()\n"
        "def web_socket_passive_closing_handshake(request):\n"
        "    request.ws_stream.close_connection(3001, wait_response=False)\n"
        "    return 3002, ''\n",
        "utf-8",
    )
    with running_server(tmp_path, concurrency=concurrency) as server, Client(server.port) as client:
        client.handshake("/passive")
        client.send_close(3000)
        assert client.read_to_end() == b"\x88\x02" + (3001).to_bytes(2)
