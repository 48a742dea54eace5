"""Pings and pongs on the test server, and clients whose peer answers none."""

import asyncio
import contextlib
import threading

import pytest
import websocket
import websockets.asyncio.client
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from fastwsh.testing import Disconnected, WaitTimeoutError, running_server
from fastwsh.testing.frames import Frame
from node_support import run_node
from wire import DEADLINE_SECONDS, PING, PONG, Client
from wire import Frame as WireFrame


def echo(connection):
    for message in connection:
        connection.send(message)


async def echo_async(connection):
    async for message in connection:
        await connection.send(message)


def after_three_pings(connection):
    while sum(frame.opcode == PING for frame in connection.received_frames) < 3:
        with contextlib.suppress(WaitTimeoutError):
            connection.recv(timeout=0.05)
    connection.send("three pings have come")


BOTH = pytest.mark.parametrize("handler", [echo, echo_async])


@BOTH
def test_what_comes_is_recorded_in_its_order(handler):
    with running_server() as server:
        server.handler("/")(handler)
        with Client(server.port) as client:
            client.handshake("/")
            client.send_frame(PING, b"one")
            assert client.read_frame() == WireFrame(PONG, b"one")
            client.send_frame(1, b"text")
            client.send_frame(PONG, b"unasked")
            client.send_frame(2, b"\x00", fin=False)
            client.send_frame(PING, b"")
            client.send_frame(0, b"\x01")
            client.send_frame(8, b"\x0f\xa0bye")
            server.wait_for_messages(2)
            connection = server.wait_for_connection()
            server._recorder.wait_until(lambda: not connection.is_open, DEADLINE_SECONDS)
    assert connection.received_frames == [
        (9, b"one"),
        (1, "text"),
        (10, b"unasked"),
        (9, b""),
        (2, b"\x00\x01"),
        (8, b"\x0f\xa0bye"),
    ]
    assert server.received_frames == connection.received_frames
    assert connection.received_frames[0] == Frame(opcode=9, payload=b"one")


def test_hooks_of_a_handler_are_called_as_ever(tmp_path):
    (tmp_path / "hook_wsh.py").write_text("""
def web_socket_do_extra_handshake(request):
    request.on_ping_handler = lambda request, body: pings.append(body)

def web_socket_transfer_data(request):
    assert request.on_ping_handler
    request.ws_stream.receive_message()
    request.on_pong_handler = lambda request, body: pongs.append(body)
    del request.on_ping_handler
    request.ws_stream.receive_message()
    for body in pings + pongs:
        request.ws_stream.send_message(body, binary=True)

pings, pongs = [], []
""")
    with running_server(tmp_path) as server, Client(server.port) as client:
        client.handshake("/hook")
        client.send_frame(PING, b"hooked")
        client.send_frame(1, b"next")
        server.wait_for_message("next")
        client.send_frame(PING, b"answered")
        client.send_frame(PONG, b"pong")
        client.send_frame(1, b"end")
        frames = [client.read_frame() for _ in range(3)]
        received = server.received_frames
    assert frames == [WireFrame(10, b"answered"), WireFrame(2, b"hooked"), WireFrame(2, b"pong")]
    assert [frame.opcode for frame in received[:5]] == [9, 1, 9, 10, 1]


@BOTH
def test_pings_are_not_answered_if_the_test_says_so(handler):
    with running_server() as server:
        server.handler("/")(handler)
        server.handler("/other")(handler)
        server.no_pong(path="/")
        with Client(server.port) as client, Client(server.port) as other:
            client.handshake("/")
            other.handshake("/other")
            for one in (client, other):
                one.send_frame(PING, b"x")
                one.send_frame(1, b"y")
            assert client.read_frame() == WireFrame(1, b"y")
            assert other.read_frame() == WireFrame(PONG, b"x")
            server.delay_pong(0)
            client.send_frame(PING, b"z")
            assert client.read_frame() == WireFrame(PONG, b"z")
            server.no_pong()
            other.read_frame()
            for one in (client, other):
                one.send_frame(PING, b"x")
                one.send_frame(1, b"y")
                assert one.read_frame() == WireFrame(1, b"y")


def test_nobody_answers_in_place_of_a_busy_handler():
    with running_server(pong_while_busy=True) as server:
        busy = threading.Event()

        @server.handler("/")
        def wait(connection):
            busy.wait(DEADLINE_SECONDS)
            connection.recv()
            connection.send("end")

        server.handler("/other")(wait)
        server.no_pong(path="/")
        with Client(server.port) as client, Client(server.port) as other:
            client.handshake("/")
            other.handshake("/other")
            client.send_frame(PING, b"x")
            other.send_frame(PING, b"y")
            # the server looks at its connections in turn
            for _ in range(2):
                assert other.read_frame() == WireFrame(PONG, b"y")
                other.send_frame(PING, b"y")
            busy.set()
            client.send_frame(1, b"end")
            assert client.read_frame() == WireFrame(1, b"end")
            other.send_frame(1, b"end")


@BOTH
def test_pongs_are_late_by_so_much(handler):
    with running_server() as server:
        server.handler("/")(handler)
        server.delay_pong(0.2)
        with Client(server.port) as client:
            client.handshake("/")
            client.send_frame(PING, b"1")
            client.send_frame(1, b"first")
            client.send_frame(PING, b"2")
            frames = [client.read_frame() for _ in range(3)]
        assert frames[0] == WireFrame(1, b"first")
        assert sorted(frames[1:], key=lambda frame: frame.payload) == [
            WireFrame(PONG, b"1"),
            WireFrame(PONG, b"2"),
        ]


def test_a_server_that_is_made_new_answers_again():
    with running_server() as server:
        server.no_pong()
        server.clear()
        server.handler("/")(echo)
        with Client(server.port) as client:
            client.handshake("/")
            client.send_frame(PING, b"x")
            assert client.read_frame() == WireFrame(PONG, b"x")


@pytest.mark.parametrize("seconds", [-1, "1", None, True])
def test_a_delay_is_seconds(seconds):
    with running_server() as server, pytest.raises((TypeError, ValueError), match="delay_pong"):
        server.delay_pong(seconds)


@pytest.mark.parametrize("is_async", [False, True])
def test_a_round_trip_is_measured_in_the_handler(is_async):
    trips = []

    def measure(connection):
        trips.append(connection.ping(b"mine"))
        trips.append(connection.ping())
        # what came meanwhile is not lost
        connection.send(connection.recv())

    async def measure_async(connection):
        trips.append(await connection.ping("mine"))
        trips.append(await connection.ping())
        await connection.send(await connection.recv())

    with running_server() as server:
        server.handler("/")(measure_async if is_async else measure)
        with Client(server.port) as client:
            client.handshake("/")
            client.send_frame(1, b"early")
            assert client.read_frame() == WireFrame(PING, b"mine")
            client.send_frame(PONG, b"other")
            client.send_frame(PONG, b"mine")
            ping = client.read_frame()
            assert len(ping.payload) == 8
            client.send_frame(PONG, ping.payload)
            assert client.read_frame() == WireFrame(1, b"early")
        assert all(0 <= seconds < DEADLINE_SECONDS for seconds in trips)
        assert len(trips) == 2
        assert server.received_frames[:2] == [(1, "early"), (10, b"other")]


@BOTH
def test_a_round_trip_is_measured_from_the_test(handler):
    with running_server() as server:
        server.handler("/")(handler)
        with connect(server.url):
            connection = server.wait_for_connection()
            if handler is echo:
                assert connection.ping() >= 0
            else:
                assert asyncio.run(connection.ping("x")) >= 0


@pytest.mark.parametrize("is_async", [False, True])
def test_a_client_that_does_not_answer_is_named(is_async):
    told = []

    def measure(connection):
        try:
            connection.ping(timeout=0.05)
        except WaitTimeoutError as error:
            told.append(str(error))
        with pytest.raises(Disconnected):
            connection.ping()

    async def measure_async(connection):
        try:
            await connection.ping(timeout=0.05)
        except WaitTimeoutError as error:
            told.append(str(error))
        with pytest.raises(Disconnected):
            await connection.ping()

    with running_server() as server:
        server.handler("/")(measure_async if is_async else measure)
        with Client(server.port) as client:
            client.handshake("/")
            client.read_frame()
            client.read_frame()
            client.send_frame(8, b"")
            server.wait_for_connection().request  # noqa: B018
    assert told == ["no pong came at / within 0.05 s; it comes only while the handler receives"]


@pytest.mark.parametrize(
    ("body", "error"), [(b"x" * 126, ValueError), ([1], TypeError), (3, TypeError)]
)
def test_a_ping_has_room_for_so_much(body, error):
    with running_server() as server:

        @server.handler("/")
        def measure(connection):
            with pytest.raises(error):
                connection.ping(body)

        with connect(server.url) as client:
            assert list(client) == []


def test_the_keepalive_of_websockets_gives_up():
    async def stay(url):
        async with websockets.asyncio.client.connect(
            url, ping_interval=0.05, ping_timeout=0.1, close_timeout=0.1
        ) as client:
            with pytest.raises(ConnectionClosed) as caught:
                await client.recv()
            return caught.value.sent.code, caught.value.sent.reason

    with running_server() as server:
        server.handler("/")(echo)
        server.no_pong()
        assert asyncio.run(stay(server.url)) == (1011, "keepalive ping timeout")
        assert server.received_frames[0].opcode == PING


def test_the_keepalive_of_websockets_is_content_with_an_answer():
    async def stay(url):
        async with websockets.asyncio.client.connect(
            url, ping_interval=0.02, ping_timeout=DEADLINE_SECONDS
        ) as client:
            assert await client.recv() == "three pings have come"
            return client.latency

    with running_server() as server:
        server.handler("/")(after_three_pings)
        server.delay_pong(0.05)
        assert asyncio.run(stay(server.url)) > 0


def test_the_keepalive_of_websocket_client_gives_up():
    errors = []
    with running_server() as server:
        server.handler("/")(echo)
        server.no_pong()
        client = websocket.WebSocketApp(server.url, on_error=lambda _, error: errors.append(error))
        client.run_forever(ping_interval=1, ping_timeout=0.5)
    assert [str(error) for error in errors] == ["ping/pong timed out"]


# the heartbeat that the package's README shows, from the client's side
HEARTBEAT = """
const client = new WebSocket(process.argv.at(-1));
let isAlive = true;
let timer;
client.on('pong', () => { isAlive = true; console.log('pong'); });
client.on('open', () => {
  timer = setInterval(() => {
    if (!isAlive) return client.terminate();
    isAlive = false;
    client.ping();
  }, 100);
});
client.on('close', (code) => { clearInterval(timer); console.log('closed', code); });
"""


def test_the_heartbeat_of_ws_gives_up(ws_package):
    with running_server() as server:
        server.handler("/")(echo)
        server.no_pong()
        assert run_node(ws_package, HEARTBEAT, server.url) == "closed 1006\n"
        assert server.received_frames[0] == (9, b"")


def test_the_heartbeat_of_ws_is_content_with_an_answer(ws_package):
    with running_server() as server:
        server.handler("/")(after_three_pings)
        out = run_node(ws_package, HEARTBEAT, server.url)
    assert out.startswith("pong\n")
    assert out.endswith("closed 1000\n")
