"""Handlers that misbehave: each ends its own connection and nothing else."""

from collections.abc import Callable

import pytest

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import COLLECT, assert_answers, nothing_stays
from wire import TEXT

pytestmark = ALL_WAYS

# What a handler does, and what the log says.
FAULTS = {
    "raises": ("raise ValueError('oops')", "ValueError: .*oops"),
    "raises what is no Exception": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "exits": ("import sys\nsys.exit(3)", None),
    "raises GeneratorExit": ("raise GeneratorExit", "GeneratorExit"),
    "recurses for ever": (
        "def descend():\n    return descend() + 1\ndescend()",
        "RecursionError",
    ),
    "returns at once": ("pass", None),
    "closes twice": (
        "request.ws_stream.close_connection()\nrequest.ws_stream.close_connection()",
        None,
    ),
    "sends after its close": (
        "s = request.ws_stream\ns.close_connection(wait_response=False)\ns.send_message('x')",
        None,
    ),
    "receives after the client's close": (
        "request.ws_stream.receive_message()\nrequest.ws_stream.receive_message()",
        None,
    ),
    "sends what is no message": ("request.ws_stream.send_message(17)", "Error"),
    "raises an error that cannot be shown": (
        "class Bad(Exception):\n    def __str__(self):\n        raise RuntimeError\nraise Bad",
        "Bad",
    ),
    "breaks the request": ("vars(request).clear()\nraise ValueError('gone')", None),
    "replaces its stream": ("request.ws_stream = None", None),
    "deletes its connection": ("del request.connection\nrequest.ws_stream.receive_message()", None),
    "ends the thread's interpreter state": ("import threading\nthreading._active.clear()", None),
    "leaves garbage in a circle": (
        "circle = [request, request.ws_stream]\ncircle.append(circle)\nrequest.circle = circle",
        None,
    ),
}


Serve = Callable[[str, str], Server]


@pytest.fixture
def serve(start_server: StartServer, write_handler: WriteHandler) -> Serve:
    """Serve a handler of this name beside good ones."""

    def serve(name: str, body: str) -> Server:
        for each, lines in {"echo": ECHO, "collect": COLLECT, name: body}.items():
            write_handler(each, lines)
        return start_server("-w", "handlers", "--close-timeout", "0.5")

    return serve


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_its_own_connection_alone(serve: Serve, fault: str) -> None:
    lines, said = FAULTS[fault]
    server = serve("faulty", lines)
    with nothing_stays(server):
        for _ in range(5):
            with server.connect() as client:
                client.handshake("/faulty")
                client.send_close()
                client.read_to_end()
    if said:
        server.log.wait_for(said)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_extra_handshake_refuses(serve: Serve, fault: str) -> None:
    lines, _ = FAULTS[fault]
    body = "".join(f"    {line}\n" for line in lines.splitlines())
    server = serve(
        "faulty",
        f"def web_socket_do_extra_handshake(request):\n{body}\n"
        "def web_socket_transfer_data(request):\n    pass\n",
    )
    with nothing_stays(server):
        for _ in range(5):
            with server.connect() as client:
                client.send_request("/faulty")
                client.send_close()
                client.read_to_end()


@pytest.mark.blocks
def test_threads_that_outlive_the_connection_are_told(serve: Serve) -> None:
    server = serve(
        "spawns",
        "import threading, time\n"
        "stream = request.ws_stream\n"
        "def send():\n"
        "    try:\n"
        "        while True:\n"
        "            stream.send_message('x')\n"
        "            time.sleep(0.001)\n"
        "    except Exception as error:\n"
        "        print('sender', type(error).__name__, flush=True)\n"
        "def receive():\n"
        "    try:\n"
        "        while stream.receive_message() is not None:\n"
        "            pass\n"
        "        print('receiver', None, flush=True)\n"
        "    except Exception as error:\n"
        "        print('receiver', type(error).__name__, flush=True)\n"
        "threading.Thread(target=send).start()\n"
        "threading.Thread(target=receive).start()\n"
        "time.sleep(0.05)\n",
    )
    with nothing_stays(server):
        for _ in range(5):
            with server.connect() as client:
                client.handshake("/spawns")
                client.send_frame(TEXT, b"x")
                client.read_to_end()
    for who in ("sender", "receiver"):
        server.out.wait_for(who)
    said = [line.split()[1] for line in server.out.lines]
    assert set(said) <= {
        *("BadOperationException", "ConnectionTerminatedException", "BrokenPipeError", "None"),
        *("ConnectionResetError", "OSError"),
    }


def test_a_hundred_faulty_handlers_at_once_do_not_disturb_a_good_one(serve: Serve) -> None:
    server = serve("faulty", "request.ws_stream.receive_message()\nraise ValueError('oops')")
    with nothing_stays(server), server.connect() as good:
        good.handshake("/echo")
        bad = [server.connect() for _ in range(100)]
        for client in bad:
            client.handshake("/faulty")
        for number, client in enumerate(bad):
            client.send_frame(TEXT, b"now")
            good.send_frame(TEXT, b"%d" % number)
            assert good.read_frame().payload == b"%d" % number
        for client in bad:
            assert client.read_to_end() == b""
            client.close()
        assert_answers(server)
        good.send_close()
        assert good.read_frame().close_code == 1000
