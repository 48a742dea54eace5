"""How asyncio connections of the client end where the server leaves something, or does not end."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

import fastwsh
from client_support import Peer, serving
from fastwsh.client import AsyncClientConnection, aio, connect_async
from wire import CLOSE, CONTINUATION, DEADLINE_SECONDS, PING, TEXT, encode_frame

BYE = encode_frame(CLOSE, (4001).to_bytes(2) + b"bye", mask=None)
LEFT = encode_frame(TEXT, b"left", mask=None)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch):
    """Let the client wait for the end of TCP longer than the tests do."""
    monkeypatch.setattr(aio, "END_SECONDS", 10 * DEADLINE_SECONDS)


def talk(url: str, work: Callable[[AsyncClientConnection], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            await work(await connect_async(url))

    asyncio.run(main())


@pytest.mark.parametrize(
    ("behind", "sentence"),
    [
        (BYE + LEFT, "the peer closed the connection with 4001"),
        (BYE + BYE, "the peer closed the connection with 4001"),
        (
            encode_frame(PING, b"p", fin=False, mask=None)
            + encode_frame(CONTINUATION, b"left", mask=None),
            "we closed the connection with 1002.*fragmented",
        ),
        (encode_frame(TEXT, b"masked"), "we closed the connection with 1002.*Mask bit"),
        (encode_frame(TEXT, b"\xff", mask=None) + LEFT, "we closed the connection with 1007"),
    ],
)
@pytest.mark.parametrize("timeout", [None, DEADLINE_SECONDS])
def test_what_the_server_left_does_not_hide_its_end(
    behind: bytes, sentence: str, timeout: float | None
):
    closed = []

    def script(peer: Peer) -> None:
        peer.answer(behind=behind)
        peer.socket.shutdown(socket.SHUT_WR)
        closed.append(peer.read_frame().opcode)
        # no reset: the client has read everything
        assert peer.socket.recv(1) == b""

    async def receive(client: AsyncClientConnection) -> None:
        with pytest.raises(fastwsh.ConnectionClosed, match=sentence):
            await client.recv(timeout)

    with serving(script) as url:
        talk(url, receive)
    assert closed == [CLOSE]


def test_the_end_of_the_time_is_none_after_a_close_frame():
    def script(peer: Peer) -> None:
        peer.answer(behind=BYE)
        assert peer.read_frame().close_code == 4001
        assert peer.read_to_end() == b""

    async def receive(client: AsyncClientConnection) -> None:
        with pytest.raises(fastwsh.ConnectionClosed, match="with 4001") as caught:
            await client.recv(timeout=0.1)
        assert caught.value.reason == "bye"

    with serving(script) as url:
        talk(url, receive)


def test_the_cause_is_kept_when_the_time_is_over():
    def script(peer: Peer) -> None:
        peer.answer(behind=encode_frame(TEXT, b"\xff", mask=None))
        assert peer.read_frame().close_code == 1007
        assert peer.read_to_end() == b""

    async def receive(client: AsyncClientConnection) -> None:
        for _ in range(2):
            with pytest.raises(fastwsh.ConnectionClosed, match="invalid start byte"):
                await client.recv(timeout=0.1)
        assert client.close_code == 1006

    with serving(script) as url:
        talk(url, receive)


def test_a_pong_that_cannot_come_is_no_matter_of_time():
    def script(peer: Peer) -> None:
        peer.answer(behind=BYE)
        while peer.read_frame().opcode != CLOSE:
            pass
        assert peer.read_to_end() == b""

    async def wait(client: AsyncClientConnection) -> None:
        with pytest.raises(fastwsh.ConnectionClosed, match="with 4001"):
            await client.wait_pong(await client.ping(), timeout=0.1)

    with serving(script) as url:
        talk(url, wait)
