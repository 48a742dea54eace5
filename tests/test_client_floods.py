"""Peers that send all the time: the client's calls end in time, and signals interrupt them."""

import socket
import threading
from collections.abc import Callable

import pytest

import fastwsh
from client_support import Peer, serving
from interrupt_support import assert_is_interrupted
from wire import CLOSE, CONTINUATION, DEADLINE_SECONDS, PING, PONG, TEXT, encode_frame

MANY = 2000


def flooding(frame: bytes, first: bytes = b"") -> Callable[[Peer], None]:
    """A script that sends one frame again and again, until the client has gone."""

    def script(peer: Peer) -> None:
        peer.answer(behind=first)
        reader = threading.Thread(target=drain, args=(peer.socket,))
        reader.start()
        try:
            while True:
                peer.socket.sendall(frame * MANY)
        except OSError:
            pass
        finally:
            reader.join()

    return script


def drain(connected: socket.socket) -> None:
    """Read until the client has gone."""
    try:
        while connected.recv(65536):
            pass
    except OSError:
        pass


PONGS = flooding(encode_frame(PONG, b"", mask=None))
PINGS = flooding(encode_frame(PING, b"x", mask=None))
FRAGMENTS = flooding(
    encode_frame(CONTINUATION, b"", fin=0, mask=None), encode_frame(TEXT, b"", fin=0, mask=None)
)
MESSAGES = flooding(encode_frame(TEXT, b"x", mask=None))


@pytest.mark.parametrize("script", [PINGS, PONGS, FRAGMENTS], ids=["ping", "pong", "fragment"])
def test_time_limit_of_recv_ends_it(script: Callable[[Peer], None]):
    with serving(script) as url:
        client = fastwsh.connect(url, compression=False)
        with pytest.raises(TimeoutError, match=r"within 0\.1 s"):
            client.recv(0.1)
        client.disconnect()


@pytest.mark.parametrize(
    "script", [PINGS, PONGS, FRAGMENTS, MESSAGES], ids=["ping", "pong", "fragment", "message"]
)
def test_time_limit_of_close_ends_it(script: Callable[[Peer], None]):
    with serving(script) as url:
        client = fastwsh.connect(url, compression=False, close_timeout=0.1)
        client.close()
        assert client.close_code == 1006


def test_what_has_arrived_is_received_behind_control_frames():
    arrived = encode_frame(PONG, b"", mask=None) * MANY + encode_frame(TEXT, b"a", mask=None)

    def script(peer: Peer) -> None:
        peer.answer(behind=arrived + encode_frame(CLOSE, b"", mask=None))
        assert peer.read_frame().opcode == CLOSE

    with serving(script) as url, fastwsh.connect(url, compression=False) as client:
        assert client.recv(DEADLINE_SECONDS) == "a"


INTERRUPTED = """\
import sys, fastwsh
client = fastwsh.connect(sys.argv[1], compression=False)
try:
    print("ready", flush=True)
    client.recv()
except KeyboardInterrupt:
    print("interrupted", flush=True)
client.disconnect()
"""


@pytest.mark.parametrize("script", [PINGS, PONGS, FRAGMENTS], ids=["ping", "pong", "fragment"])
def test_interrupt_ends_recv(script: Callable[[Peer], None]):
    with serving(script) as url:
        assert_is_interrupted(INTERRUPTED, url)
