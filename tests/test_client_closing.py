"""How connections of the client end: closing handshakes, rules that a peer breaks, losses."""

import pickle
import threading
import time

import pytest

import fastwsh
from client_support import Peer, serving
from fastwsh.client import ClientConnection
from wire import BINARY, CLOSE, DEADLINE_SECONDS, PING, TEXT, encode_frame


def connect(url: str, **options: object) -> ClientConnection:
    return fastwsh.connect(url, **options)


@pytest.mark.parametrize("code", [1000, 1001])
def test_iteration_ends_when_the_peer_closes_well(code: int):
    def script(peer: Peer) -> None:
        peer.answer()
        peer.send_frame(TEXT, b"a", mask=None)
        peer.send_frame(CLOSE, code.to_bytes(2) + b"bye", mask=None)
        assert peer.read_frame().close_code == code

    with serving(script) as url, connect(url) as client:
        assert list(client) == ["a"]
        assert (client.close_code, client.close_reason) == (code, "bye")
        with pytest.raises(fastwsh.ConnectionClosed, match=rf"closed .* with {code} \(bye\)"):
            client.send("too late")


def test_other_close_codes_are_raised():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(CLOSE, (4001).to_bytes(2) + b"no", mask=None))
        assert peer.read_frame().close_code == 4001

    with (
        serving(script) as url,
        connect(url) as client,
        pytest.raises(fastwsh.ConnectionClosed) as caught,
    ):
        list(client)
    closed = caught.value
    assert (closed.code, closed.reason) == (4001, "no")
    assert (closed.received_code, closed.sent_code) == (4001, 4001)
    assert str(pickle.loads(pickle.dumps(closed))) == str(closed)


def test_close_frame_without_a_code_is_1005():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(CLOSE, b"", mask=None))
        assert peer.read_frame().payload == b""

    with (
        serving(script) as url,
        connect(url) as client,
        pytest.raises(fastwsh.ConnectionClosed) as caught,
    ):
        client.recv(DEADLINE_SECONDS)
    assert caught.value.code == 1005


def test_lost_connection_is_1006():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"partial", mask=None)[:5])

    with (
        serving(script) as url,
        connect(url) as client,
        pytest.raises(fastwsh.ConnectionClosed, match="lost") as caught,
    ):
        client.recv(DEADLINE_SECONDS)
    assert (caught.value.code, caught.value.received_code, caught.value.sent_code) == (
        1006,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        (encode_frame(TEXT, b"masked"), 1002, "[Mm]ask"),
        (encode_frame(TEXT, b"\xff", mask=None), 1007, "utf-8"),
        (encode_frame(0x3, b"", mask=None), 1002, "Opcode 3"),
        (encode_frame(TEXT, b"x", rsv=2, mask=None), 1002, "rsv"),
        (encode_frame(BINARY, bytes(2000), mask=None), 1009, "message of more than 1000 bytes$"),
    ],
)
def test_peer_that_breaks_a_rule_is_told_so(sent: bytes, code: int, says: str):
    def script(peer: Peer) -> None:
        peer.answer(behind=sent)
        assert peer.read_frame().close_code == code

    with (
        serving(script) as url,
        connect(url, max_message_bytes=1000) as client,
        pytest.raises(fastwsh.ConnectionClosed, match=says) as caught,
    ):
        client.recv(DEADLINE_SECONDS)
    assert caught.value.sent_code == code
    assert caught.value.received_code is None


def test_close_says_code_and_reason_and_drops_what_comes():
    def script(peer: Peer) -> None:
        peer.answer()
        frame = peer.read_frame()
        assert (frame.close_code, frame.payload[2:]) == (3000, "grüß".encode())
        peer.send_frame(TEXT, b"late", mask=None)
        peer.send_frame(CLOSE, frame.payload, mask=None)

    with serving(script) as url:
        client = connect(url)
        client.close(3000, "grüß")
        client.close()
        with pytest.raises(fastwsh.ConnectionClosed) as caught:
            client.recv()
        assert (caught.value.received_code, caught.value.sent_code) == (3000, 3000)


def test_close_gives_up_after_its_timeout():
    released = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        assert released.wait(DEADLINE_SECONDS)

    with serving(script) as url:
        client = connect(url, close_timeout=0.2)
        began = time.monotonic()
        client.close()
        assert time.monotonic() - began < DEADLINE_SECONDS
        assert client.close_code == 1006
        released.set()


def test_close_gives_up_on_a_peer_that_pings_and_does_not_read():
    released = threading.Event()
    full = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        pings = encode_frame(PING, b"a" * 125, mask=None) * 100
        peer.socket.setblocking(False)
        # until nothing more is taken: the client cannot send its pongs either
        while not released.is_set():
            try:
                peer.socket.send(pings)
            except BlockingIOError:
                full.set()
                released.wait(0.01)
            except OSError:
                return

    with serving(script) as url:
        client = connect(url, close_timeout=0.5)
        assert full.wait(DEADLINE_SECONDS)
        began = time.monotonic()
        client.close()
        # The time in which a pong may go out that `recv` has begun is ten seconds.
        assert time.monotonic() - began < 8
        released.set()


def test_exception_in_the_block_closes_with_1011():
    codes = []

    def script(peer: Peer) -> None:
        peer.answer()
        codes.append(peer.read_frame().close_code)

    with serving(script) as url, pytest.raises(KeyError), connect(url, close_timeout=1):
        raise KeyError
    assert codes == [1011]


def send_until_it_fails(client: ClientConnection) -> None:
    while True:
        client.send(bytes(100_000))


def test_send_to_a_peer_that_has_closed_tells_its_code():
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.answer()
        peer.send_frame(TEXT, b"last", mask=None)
        peer.send_frame(CLOSE, (4000).to_bytes(2), mask=None)
        peer.close()
        closed.set()

    with serving(script) as url, connect(url, close_timeout=1) as client:
        assert closed.wait(DEADLINE_SECONDS)
        with pytest.raises(fastwsh.ConnectionClosed):
            send_until_it_fails(client)
        assert client.recv(0) == "last"


def test_close_wakes_a_thread_that_receives():
    outcome: list[BaseException] = []

    def script(peer: Peer) -> None:
        peer.answer()
        peer.read_frame()

    def receive() -> None:
        try:
            client.recv(DEADLINE_SECONDS)
        except fastwsh.ConnectionClosed as error:
            outcome.append(error)

    with serving(script) as url:
        client = connect(url, close_timeout=0.2)
        receiver = threading.Thread(target=receive)
        receiver.start()
        client.close()
        receiver.join(DEADLINE_SECONDS)
        assert len(outcome) == 1
