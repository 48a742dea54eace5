"""Pings of the client that go wrong, and pongs that come with something else."""

import asyncio

import pytest

import fastwsh
from client_support import Peer, serving
from fastwsh.client import Pong
from wire import CLOSE, DEADLINE_SECONDS, PING, PONG, TEXT, encode_frame


@pytest.mark.parametrize("data", [5, True, 1.5, [1, 2]])
def test_data_of_a_ping_is_text_or_bytes(data: object):
    with serving(Peer.answer) as url:
        client = fastwsh.connect(url)
        with pytest.raises(TypeError, match="the data of a ping is str or bytes, not"):
            client.ping(data)
        client.disconnect()


def test_exception_of_a_callback_keeps_no_other_pong_back():
    def script(peer: Peer) -> None:
        peer.answer()
        frames = [peer.read_frame() for _ in range(3)]
        pong = encode_frame(PONG, frames[-1].payload, mask=None)
        peer.send(pong + encode_frame(TEXT, b"a", mask=None))
        assert peer.read_frame().opcode == CLOSE

    def fail(_: Pong) -> None:
        raise LookupError("of the callback")

    told: list[Pong] = []
    with serving(script) as url, fastwsh.connect(url, close_timeout=0.1) as client:
        pongs = [
            client.ping(b"1", on_pong=told.append),
            client.ping(b"2", on_pong=fail),
            client.ping(b"3", on_pong=told.append),
        ]
        with pytest.raises(LookupError, match="of the callback"):
            client.recv(DEADLINE_SECONDS)
        assert all(pong.round_trip is not None for pong in pongs)
        assert told == [pongs[0], pongs[2]]
        assert client.recv(DEADLINE_SECONDS) == "a"


def test_pong_before_a_close_frame_has_arrived():
    def script(peer: Peer) -> None:
        peer.answer()
        pong = encode_frame(PONG, peer.read_frame().payload, mask=None)
        peer.send(pong + encode_frame(CLOSE, (4000).to_bytes(2), mask=None))
        assert peer.read_frame().close_code == 4000

    async def main(url: str) -> None:
        client = await fastwsh.connect(url)
        pong = await client.ping()
        assert await client.wait_pong(pong, DEADLINE_SECONDS) > 0
        with pytest.raises(fastwsh.ConnectionClosed, match="4000"):
            await client.recv()

    with serving(script) as url:
        asyncio.run(main(url))


def test_time_limit_that_is_no_number():
    async def main(url: str) -> None:
        client = await fastwsh.connect(url)
        with pytest.raises(ValueError, match="timeout is not a number"):
            await client.recv(float("nan"))
        with pytest.raises(ValueError, match="timeout is not a number"):
            await client.wait_pong(await client.ping(), float("nan"))
        client.disconnect()

    with serving(Peer.answer) as url:
        asyncio.run(main(url))


OF_ANOTHER = "sent on another connection"


def test_a_pong_of_another_connection_is_refused():
    with (
        serving(pings_are_read) as url,
        serving(pings_are_read) as other_url,
        fastwsh.connect(url) as client,
        fastwsh.connect(other_url) as other,
    ):
        pong = other.ping()
        with pytest.raises(ValueError, match=OF_ANOTHER):
            client.wait_pong(pong, DEADLINE_SECONDS)
        with pytest.raises(TypeError, match="not NoneType"):
            client.wait_pong(None)  # type: ignore[arg-type]


def test_a_pong_of_another_connection_is_refused_in_an_event_loop():
    async def work(url: str, other_url: str) -> None:
        async with fastwsh.connect(url) as client, fastwsh.connect(other_url) as other:
            pong = await other.ping()
            with pytest.raises(ValueError, match=OF_ANOTHER):
                await client.wait_pong(pong, DEADLINE_SECONDS)
            with pytest.raises(TypeError, match="not NoneType"):
                await client.wait_pong(None)  # type: ignore[arg-type]

    with serving(pings_are_read) as url, serving(pings_are_read) as other_url:
        asyncio.run(work(url, other_url))


def pings_are_read(peer: Peer) -> None:
    peer.answer()
    while (frame := peer.read_frame()).opcode != CLOSE:
        assert frame.opcode == PING
    peer.send_frame(CLOSE, frame.payload, mask=None)
