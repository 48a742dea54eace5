"""A request and its stream live as long as a handler keeps them, and no longer."""

import pytest

from async_support import SHARED
from conftest import ALL_WAYS, StartServer, WriteHandler
from wire import TEXT, Frame

# What a handler may keep; each is asked afterwards for the things that it leads to.
KEPT = {
    "request": ("request", "kept.ws_resource, kept.ws_stream, kept.connection"),
    "its stream": ("request.ws_stream", "kept.send_message, kept.receive_message"),
    "a method of its stream": ("request.ws_stream.send_message", "kept.__self__"),
    "a function that uses it": ("lambda: request", "kept().ws_resource, kept().ws_stream"),
    "its attributes": ("vars(request)", "kept['ws_resource'], kept['connection']"),
}

CYCLES = "import gc, weakref\ngc.disable()\n"


@ALL_WAYS
class TestKept:
    @pytest.mark.parametrize("what", KEPT)
    def test_what_is_kept_stays_as_it_was(
        self,
        start_server: StartServer,
        write_handler: WriteHandler,
        what: str,
    ):
        kept, uses = KEPT[what]
        write_handler("keeps", SHARED + module(f"shared['kept'] = {kept}"))
        asks = f"kept = shared['kept']\n{uses}\nrequest.ws_stream.send_message('it is there')"
        write_handler("asks", f"{SHARED}{module(asks)}")
        server = start_server("-w", "handlers")
        with server.connect() as client:
            client.handshake("/keeps")
            client.send_close()
            client.read_to_end()
        with server.connect() as client:
            client.handshake("/asks")
            assert client.read_frame() == Frame(TEXT, b"it is there")

    def test_what_is_not_kept_is_freed_at_once(
        self, start_server: StartServer, write_handler: WriteHandler
    ):
        lines = "shared['last'] = [weakref.ref(one) for one in (request, request.ws_stream)]"
        write_handler("leaves", f"{CYCLES}{SHARED}{module(lines)}")
        asks = "request.ws_stream.send_message(repr([ref() for ref in shared['last']]))"
        write_handler("asks", f"{SHARED}{module(asks)}")
        server = start_server("-w", "handlers")
        with server.connect() as client:
            client.handshake("/leaves")
            client.send_close()
            client.read_to_end()
        with server.connect() as client:
            client.handshake("/asks")
            assert client.read_frame() == Frame(TEXT, b"[None, None]")


def module(lines: str) -> str:
    """A handler that does this, and then receives until its client closes."""
    lines += "\nwhile request.ws_stream.receive_message() is not None:\n    pass"
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return (
        "def web_socket_do_extra_handshake(request):\n    pass\n\n"
        f"def web_socket_transfer_data(request):\n{indented}"
    )
