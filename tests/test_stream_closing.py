"""How a WebSocket over HTTP/2 and HTTP/3 ends: by a close, by an exception, or with its stream."""

import pytest

from conftest import ALL_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from streams_support import OVER_BOTH, Over, StreamClient, client, over, server
from wire import CLOSE, TEXT, Frame

pytestmark = [ALL_WAYS, OVER_BOTH]
__all__ = ["client", "over", "server"]


@pytest.mark.parametrize(("sent", "seen"), [(4321, 4321), (None, 1005)])
def test_handler_sees_the_close_code(
    start_server: StartServer, write_handler: WriteHandler, sent: int | None, seen: int, over: Over
):
    write_handler(
        "code",
        """\
import logging
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    request.ws_stream.receive_message()
def web_socket_passive_closing_handshake(request):
    logging.getLogger("t").warning("closed with %s", request.ws_close_code)
    return 3210, "bye"
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        websocket = client.websocket("/code")
        websocket.send_frame(CLOSE, b"" if sent is None else sent.to_bytes(2))
        assert websocket.read_frame() == Frame(CLOSE, (3210).to_bytes(2) + b"bye")
        server.log.wait_for(f"closed with {seen}")
        assert websocket.wait_end().has_ended


def test_server_closes_first(start_server: StartServer, write_handler: WriteHandler, over: Over):
    write_handler("bye", 'request.ws_stream.close_connection(4001, "bye")')
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        websocket = client.websocket("/bye")
        assert websocket.read_frame() == Frame(CLOSE, (4001).to_bytes(2) + b"bye")
        websocket.send_close(4001)
        websocket.send(b"", end=True)
        end = websocket.wait_end()
        assert (end.has_ended, end.reset_code) == (True, None)


def test_exception_resets_the_stream_behind_what_was_sent(
    start_server: StartServer, write_handler: WriteHandler, over: Over
):
    write_handler("fail", 'request.ws_stream.send_message("last")\nraise RuntimeError("oops")')
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        other = client.websocket("/echo")
        websocket = client.websocket("/fail")
        assert websocket.read_frame() == Frame(TEXT, b"last")
        end = websocket.wait_end()
        assert (end.has_ended, end.reset_code) == (False, over.cancelled)
        server.log.wait_for("oops")
        other.send_frame(TEXT, b"x")
        assert other.read_frame() == Frame(TEXT, b"x")


@pytest.mark.blocks
def test_reset_resets_the_stream(
    start_server: StartServer, write_handler: WriteHandler, over: Over
):
    write_handler("reset", "request.connection.reset()")
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        end = client.websocket("/reset").wait_end()
        assert (end.has_ended, end.reset_code) == (False, over.cancelled)
    assert "Traceback" not in "\n".join(server.log.lines)


@pytest.mark.blocks
def test_half_close_ends_our_direction_alone(
    start_server: StartServer, write_handler: WriteHandler, over: Over
):
    write_handler(
        "half",
        """\
import logging
request.connection.half_close()
logging.getLogger("t").warning("then came %s", request.ws_stream.receive_message())
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        websocket = client.websocket("/half")
        end = websocket.wait_end()
        assert (end.has_ended, end.reset_code) == (True, None)
        websocket.send_frame(TEXT, b"more")
        server.log.wait_for("then came more")


@pytest.mark.parametrize(
    "after",
    ["", "    from pywebsocket3 import handshake\n    raise handshake.AbortedByUserException('x')"],
)
def test_answer_of_the_handlers_own_resets_the_stream(
    start_server: StartServer, write_handler: WriteHandler, after: str, over: Over
):
    write_handler(
        "own",
        f"""\
def web_socket_do_extra_handshake(request):
    request.connection.write(b"HTTP/1.1 101 Switching Protocols\\r\\n\\r\\n")
{after}
def web_socket_transfer_data(request):
    raise RuntimeError("never")
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        end = client.wait_end(client.connect("/own"))
        assert (end.headers, end.reset_code) == (None, over.cancelled)
        server.log.wait_for(
            "Handler of /own: bytes before the server's answer.*over HTTP/[23]: stream reset"
        )
        assert client.fetch("/none").status == 404
    assert "never" not in "\n".join(server.log.lines)
    assert len([line for line in server.log.lines if "/own" in line]) == 1


def test_header_that_cannot_be_sent_resets_the_stream(
    start_server: StartServer, write_handler: WriteHandler, over: Over
):
    write_handler(
        "header",
        """\
def web_socket_do_extra_handshake(request):
    request.extra_headers.append(("a b", "c"))
def web_socket_transfer_data(request):
    raise RuntimeError("never")
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        assert client.wait_end(client.connect("/header")).reset_code == over.cancelled
        server.log.wait_for('Handler of /header: header "a b".*HTTP/[23]')


def test_end_of_the_client_reaches_the_handler(
    start_server: StartServer, write_handler: WriteHandler, over: Over
):
    write_handler(
        "wait",
        """\
import logging
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    try:
        request.ws_stream.receive_message()
    finally:
        logging.getLogger("t").warning("over %s", request.uri)
""",
    )
    server = start_server("-w", "handlers", *over.options)
    with over.connect(server) as client:
        client.websocket("/wait?reset").reset()
        server.log.wait_for(r"over /wait\?reset")
        client.websocket("/wait?end").send(b"", end=True)
        server.log.wait_for(r"over /wait\?end")
        client.websocket("/wait?gone")
    server.log.wait_for(r"over /wait\?gone")


def test_stop_is_told_to_each_websocket_and_to_the_connection(
    server: Server, client: StreamClient, over: Over
):
    websockets = [client.websocket("/echo") for _ in range(3)]
    server.process.terminate()
    for websocket in websockets:
        assert websocket.read_frame().close_code == 1001
        websocket.send_close(1001)
        websocket.send(b"", end=True)
    client.wait_closed()
    # no error; the next stream would not have been answered
    assert client.goaway == (0 if over.version == "HTTP/2" else 12)
    assert server.wait() == 0
