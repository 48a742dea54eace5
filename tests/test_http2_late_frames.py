"""Many errors and frames that nobody wants any more: the connection's other streams last.

`h2` counts both for as long as a connection lives, and takes them for an attack in the end.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hyperframe.frame import DataFrame

from cgi_support import Programs, programs
from conftest import ALL_WAYS, StartServer, WriteHandler
from echo_handlers import ECHO, ECHO_MODULE
from http2_support import Http2Client
from stream_tunnel import HttpStream
from wire import BINARY, TEXT, Frame, encode_frame

__all__ = ["programs"]  # the fixture

MORE_THAN_A_BROWSERS = 200


@contextmanager
def lasts(client: Http2Client) -> Iterator[None]:
    """A WebSocket that was open before still works at the end."""
    websocket = client.websocket("/echo")
    yield
    websocket.send_frame(TEXT, b"x")
    assert websocket.read_frame() == Frame(TEXT, b"x")


@ALL_WAYS
def test_messages_for_handlers_that_have_ended(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    write_handler("fails", "request.ws_stream.receive_message()\nraise ValueError")
    server = start_server("-w", "handlers", "--http2")
    frame = encode_frame(BINARY, b"x")
    with Http2Client(server) as client, lasts(client):
        websockets = [client.websocket("/fails") for _ in range(100)]
        for _ in range(3):
            for websocket in websockets:
                data = DataFrame(websocket.stream, frame).serialize()
                client.socket.sendall(data * 1500)
        for websocket in websockets:
            websocket.wait_end()


def test_bodies_of_requests_that_are_refused(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--http2")
    with Http2Client(server) as client, lasts(client):
        for _ in range(MORE_THAN_A_BROWSERS):
            stream = client.open_stream([*post(client, "/none"), ("content-length", "100000")])
            data = DataFrame(stream, bytes(10)).serialize() * 100
            client.socket.sendall(data)
            assert client.wait_end(stream).status == 501
            # as if it had left before the answer came
            client.socket.sendall(data)


def post(client: Http2Client, path: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", client.scheme),
        (":authority", client.authority),
        (":path", path),
    ]


def test_a_body_in_very_small_frames(programs: Programs, tmp_path: Path):
    gate = programs.root / "gate"
    programs.add(
        "cgi-bin/late",
        f"until test -e {gate}; do sleep 0.01; done\n"
        "printf 'Content-Type: text/plain\\n\\n'\nwc -c\n",
    )
    (programs.root / "echo_wsh.py").write_text(ECHO_MODULE)
    server = programs.serve("--http2")
    size = 100_000  # less than the window
    with Http2Client(server) as client:
        with lasts(client):
            head = [*post(client, "/cgi-bin/late"), ("content-length", str(size))]
            stream = client.open_stream(head)
            client.socket.sendall(DataFrame(stream, b"x").serialize() * size)
            client.socket.sendall(DataFrame(stream, flags=["END_STREAM"]).serialize())
        gate.write_text("")
        assert int(client.wait_end(stream).data) == size


def test_requests_that_a_browser_cancels(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
):
    gate = tmp_path / "gate"
    write_handler("echo", ECHO)
    write_handler(
        "slow",
        f"""\
import os, time
def web_socket_do_extra_handshake(request):
    while not os.path.exists({str(gate)!r}):
        time.sleep(0.01)
def web_socket_transfer_data(request):
    pass
""",
    )
    server = start_server("-w", "handlers", "--http2", "--concurrency", "threads")
    with Http2Client(server) as client, lasts(client):
        for _ in range(3):
            streams = [client.connect("/slow") for _ in range(MORE_THAN_A_BROWSERS)]
            for stream in streams:
                client.reset(stream)
        gate.write_text("")


def test_more_requests_at_once_than_are_allowed(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--http2", "--max-http2-streams", "10")
    with Http2Client(server) as client:
        # before the client knows how many that are
        for _ in range(MORE_THAN_A_BROWSERS):
            stream = client.h2.get_next_available_stream_id()
            client.streams[stream] = HttpStream()
            head = [(":method", "GET"), *post(client, "/none")[1:]]
            client.h2.send_headers(stream, head, end_stream=True)
        client.flush()
        for stream in list(client.streams):
            client.wait_end(stream)
        with lasts(client):
            pass


def test_malformed_requests(start_server: StartServer, write_handler: WriteHandler):
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", "--http2")
    with Http2Client(server, checks=False) as client, lasts(client):
        for _ in range(MORE_THAN_A_BROWSERS):
            head = [(":method", "GET"), *post(client, "/none")[1:], ("connection", "close")]
            malformed = client.open_stream(head, end_stream=True)
            assert client.wait_end(malformed).reset_code == 1
            assert client.fetch("/none").status == 404
