"""What handlers and hooks have to do when the server stops: it is done, within its time."""

import signal

import pytest

from conftest import Server, StartServer, WriteHandler
from wire import DEADLINE_SECONDS

HANDLERS = "-w", "handlers", "--shutdown-timeout", "0.2", "--cleanup-timeout", str(DEADLINE_SECONDS)

HOOK = """\
import atexit
atexit.register(print, "from the hook", flush=True)
"""

SAVES = """\
import time
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    request.ws_stream.send_message("here")
    try:
        while request.ws_stream.receive_message() is not None:
            pass
    finally:
        time.sleep(0.3)
        print("saved", flush=True)
"""

SAVES_ASYNC = """\
import asyncio
async def web_socket_transfer_data(request):
    await request.ws_stream.send_message("here")
    try:
        {work}
    finally:
        await asyncio.sleep(0.3)
        print("saved", flush=True)
"""

SLEEPS = """\
request.ws_stream.send_message("here")
import time
while True:
    time.sleep(3600)
"""


def stop(server: Server, path: str) -> str:
    """Stop a server whose client does not answer the close frame; return what was printed."""
    with server.connect() as client:
        assert client.handshake(path).status == 101
        assert client.read_frame().payload == b"here"
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    return server.out.text()


@pytest.mark.parametrize("concurrency", ["threads", "hub"])
def test_a_handler_whose_client_has_vanished_cleans_up(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("saves", HOOK + SAVES)
    assert stop(start_server(*HANDLERS), "/saves") == "saved\nfrom the hook"


@pytest.mark.parametrize(
    "work", ["await request.ws_stream.receive_message()", "await asyncio.sleep(3600)"]
)
def test_a_coroutine_handler_whose_client_has_vanished_cleans_up(
    start_server: StartServer, write_handler: WriteHandler, work: str
):
    write_handler(
        "saves",
        HOOK
        + "def web_socket_do_extra_handshake(request):\n    pass\n"
        + SAVES_ASYNC.format(work=work),
    )
    assert stop(start_server(*HANDLERS), "/saves") == "saved\nfrom the hook"


def test_hooks_run_although_a_handler_never_ends(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("sleeps", SLEEPS)
    write_handler("hook", HOOK + SAVES)
    server = start_server(*HANDLERS[:-1], "0.5")
    assert stop(server, "/sleeps") == "from the hook"


def test_a_hook_that_never_ends_does_not_keep_the_process(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("sleeps", SLEEPS)
    write_handler(
        "hook", "import atexit, time\natexit.register(time.sleep, 3600)\nprint('loaded')\n" + SAVES
    )
    server = start_server(*HANDLERS[:-1], "0.5")
    assert stop(server, "/sleeps") == "loaded"


def test_work_in_a_pool_is_finished(start_server: StartServer, write_handler: WriteHandler):
    write_handler(
        "pool",
        HOOK
        + "import concurrent.futures, time\n"
        + "pool = concurrent.futures.ThreadPoolExecutor(1)\n"
        + "def work():\n    time.sleep(0.5)\n    print('worked', flush=True)\n"
        + "def web_socket_do_extra_handshake(request):\n    pass\n"
        + "def web_socket_transfer_data(request):\n    pool.submit(work)\n"
        + "    request.ws_stream.send_message('here')\n",
    )
    assert stop(start_server(*HANDLERS), "/pool") == "worked\nfrom the hook"
