"""A request and its stream live as long as a handler keeps them, and no longer."""

import pytest

from async_support import SHARED
from conftest import ALL_WAYS, StartServer, WriteHandler
from wire import TEXT, Frame, encode_frame

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


# What pywebsocket raises for a call on a kept request: its file and its socket are closed.
CLOSED_FILE = "ValueError None"
CLOSED_SOCKET = "OSError 9"
CALLS = {
    "request.ws_stream.receive_message()": CLOSED_FILE,
    "request.connection.read(1)": CLOSED_FILE,
    "request.connection.read(0)": CLOSED_FILE,
    "request._request_handler.rfile.read(1)": CLOSED_FILE,
    "request._request_handler.wfile.flush()": CLOSED_FILE,
    "request.ws_stream.send_message('x')": CLOSED_SOCKET,
    "request.ws_stream.send_ping(b'x')": CLOSED_SOCKET,
    "request.connection.write(b'x')": CLOSED_SOCKET,
    "request._request_handler.connection.getpeername()": CLOSED_SOCKET,
    "request._request_handler.connection.settimeout(1)": CLOSED_SOCKET,
}


@ALL_WAYS
def test_a_connection_whose_handler_has_ended_is_closed_for_those_that_kept_it(
    start_server: StartServer, write_handler: WriteHandler, concurrency: str
):
    # in an event loop the others are refused, because they might wait
    calls = [call for call in CALLS if concurrency != "loop" or "ws_stream." in call]
    leaves = (
        "from mod_pywebsocket.handshake import AbortedByUserException\n"
        + SHARED
        + module(
            "shared['kept'] = request\n"
            "request.ws_stream.receive_message()\n"
            "raise AbortedByUserException('enough')"
        )
    )
    write_handler("leaves", leaves)
    lines = ["own, request, told = request, shared['kept'], []"]
    for call in calls:
        lines += [
            *("try:", f"    {call}", "    told.append('nothing')"),
            "except (ValueError, OSError) as error:",
            "    kind = 'ValueError' if isinstance(error, ValueError) else 'OSError'",
            "    told.append(f'{kind} {getattr(error, \"errno\", None)}')",
        ]
    lines += [
        "handler = request._request_handler",
        "told.append((handler.rfile.closed, handler.wfile.closed, handler.connection.fileno()))",
        "request = own",
        "request.ws_stream.send_message(repr(told))",
    ]
    write_handler("asks", SHARED + module("\n".join(lines)))
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake("/leaves")
        client.send(encode_frame(TEXT, b"read") + encode_frame(TEXT, b"unread"))
        client.read_to_end()
    with server.connect() as client:
        client.handshake("/asks")
        told = [*(CALLS[call] for call in calls), (True, True, -1)]
        assert client.read_frame() == Frame(TEXT, repr(told).encode())


def module(lines: str) -> str:
    """A handler that does this, and then receives until its client closes."""
    lines += "\nwhile request.ws_stream.receive_message() is not None:\n    pass"
    indented = "".join(f"    {line}\n" for line in lines.splitlines())
    return (
        "def web_socket_do_extra_handshake(request):\n    pass\n\n"
        f"def web_socket_transfer_data(request):\n{indented}"
    )
