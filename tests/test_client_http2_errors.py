"""Servers of HTTP/2 that open no WebSocket, or end it in their own way: what users are told."""

import asyncio
import gc
import socket
import threading
import time
from collections.abc import Callable

import h2.errors
import pytest

import fastwsh
from client_support import Peer, refused, serving
from http2_peer import Http2Peer, serving_http2
from usage import own_descriptors, wait_for_own_descriptors
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Frame, encode_frame

CANCEL = h2.errors.ErrorCodes.CANCEL


def wait_end(peer: Http2Peer) -> None:
    """Wait until the client has gone."""
    peer.wait(lambda: peer.has_goodbye)


def test_no_extended_connect():
    with serving_http2(wait_end, websockets=False) as url:
        error = refused(url)
    assert "opens no WebSockets over HTTP/2: its SETTINGS do not have ENABLE_CONNECT_P" in str(
        error
    )


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("REFUSED_STREAM", "it reset the stream with REFUSED_STREAM"),
        ("INTERNAL_ERROR", "it reset the stream with INTERNAL_ERROR"),
        ("HTTP_1_1_REQUIRED", "it wants HTTP/1.1 for this path (HTTP_1_1_REQUIRED); connect over"),
    ],
)
def test_a_reset_in_place_of_an_answer(code: str, says: str):
    def script(peer: Http2Peer) -> None:
        peer.read_request()
        peer.reset(h2.errors.ErrorCodes[code])
        wait_end(peer)

    with serving_http2(script) as url:
        assert says in str(refused(url))


@pytest.mark.parametrize("code", ["NO_ERROR", "ENHANCE_YOUR_CALM"])
def test_goaway_in_place_of_an_answer(code: str):
    def script(peer: Http2Peer) -> None:
        peer.read_request()
        peer.h2.close_connection(h2.errors.ErrorCodes[code], last_stream_id=0)
        peer.flush()

    with serving_http2(script) as url:
        assert f"it sent GOAWAY with {code}" in str(refused(url))


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "it speaks HTTP/1; connect"),
        (b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 1000, "it speaks HTTP/1; connect over HTTP/1.1"),
        (b"", "it ended the connection without an answer; connect over HTTP/1.1"),
        (b"\x15\x03\x01\x00\x02\x02\x28", "it speaks TLS; use wss:// there"),
        (b"SSH-2.0-OpenSSH_9.2\r\n" * 10, "its answer is not HTTP/2; connect over HTTP/1.1"),
    ],
)
def test_a_server_of_something_else(answer: bytes, says: str):
    def script(peer: Peer) -> None:
        peer.read(24)
        peer.send(answer)

    with serving(script) as url:
        assert says in str(refused(url))


def test_a_server_that_says_nothing():
    for step, websockets in (("begin HTTP/2", None), ("answer the opening handshake", True)):
        done = threading.Event()

        def script(_: object, done: threading.Event = done) -> None:
            done.wait(DEADLINE_SECONDS)

        serves = serving(script) if websockets is None else serving_http2(reading(done))
        with serves as url:
            error = refused(url, open_timeout=0.3)
            done.set()
        assert isinstance(error, fastwsh.ConnectTimeoutError)
        assert f"did not {step} within 300ms" in str(error)


def reading(done: threading.Event) -> Callable[[Http2Peer], None]:
    def script(peer: Http2Peer) -> None:
        peer.read_request()
        done.wait(DEADLINE_SECONDS)

    return script


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([("sec-websocket-protocol", "x")], "it chose a subprotocol that was not offered"),
        ([("sec-websocket-extensions", "x-other")], "x-other"),
    ],
)
def test_answers_that_break_a_rule(headers: list[tuple[str, str]], says: str):
    def script(peer: Http2Peer) -> None:
        peer.answer(200, *headers)
        wait_end(peer)

    with serving_http2(script) as url:
        error = refused(url)
    assert "answered no acceptable WebSocket handshake" in str(error)
    assert says in str(error)


def test_a_refusal_with_a_body_that_does_not_end():
    def script(peer: Http2Peer) -> None:
        peer.answer(401, ("x-a", "b"))
        peer.send(b"who are you?")
        wait_end(peer)

    with serving_http2(script) as url:
        error = refused(url)
    assert isinstance(error, fastwsh.ConnectRefusedError)
    assert (error.status, error.body) == (401, b"who are you?")
    assert "it wants credentials" in str(error)


def test_the_closing_handshake_ends_stream_and_connection():
    def script(peer: Http2Peer) -> None:
        peer.answer()
        peer.close(3001)
        assert peer.reset_code is None

    with serving_http2(script) as url:
        with fastwsh.connect(url, http_version=2) as connection:
            pass
        assert connection.close_code == 3001


def test_a_server_that_resets_the_stream():
    def script(peer: Http2Peer) -> None:
        peer.answer()
        peer.send_frame(TEXT, b"last")
        peer.reset(CANCEL)
        wait_end(peer)

    with serving_http2(script) as url, fastwsh.connect(url, http_version=2) as connection:
        # what came before the reset may be lost with it
        with pytest.raises(fastwsh.ConnectionClosed, match="lost"):  # noqa: PT012
            connection.recv(DEADLINE_SECONDS)
            connection.recv(DEADLINE_SECONDS)
        assert connection.close_code == 1006


def test_a_server_that_ends_the_connection():
    def script(peer: Http2Peer) -> None:
        peer.answer()
        peer.send_frame(TEXT, b"last")
        peer.socket.shutdown(socket.SHUT_WR)
        while peer.socket.recv(65536):
            pass

    with serving_http2(script) as url, fastwsh.connect(url, http_version=2) as connection:
        assert connection.recv(DEADLINE_SECONDS) == "last"
        with pytest.raises(fastwsh.ConnectionClosed) as caught:
            connection.recv(DEADLINE_SECONDS)
        assert caught.value.code == 1006


def test_frames_behind_the_answer_and_goaway_do_not_matter():
    def script(peer: Http2Peer) -> None:
        peer.answer()
        peer.send_frame(TEXT, b"at once")
        # GOAWAY lets streams go on that it includes (RFC 9113 6.8); `h2` would end them
        peer.socket.sendall(bytes.fromhex("0000080700 00000000 00000001 00000000"))
        assert peer.read_frame() == Frame(TEXT, b"still here")
        assert peer.read_frame().opcode == CLOSE
        peer.send(encode_frame(CLOSE, (1000).to_bytes(2), mask=None), end=True)
        peer.wait(lambda: peer.has_ended)

    options = {"http_version": 2, "compression": False}
    with serving_http2(script) as url, fastwsh.connect(url, **options) as connection:
        assert connection.recv(DEADLINE_SECONDS) == "at once"
        connection.send("still here")


def test_disconnect_ends_the_stream_behind_what_was_sent():
    def script(peer: Http2Peer) -> None:
        peer.answer()
        assert peer.read_frame() == Frame(TEXT, b"last")
        peer.wait(lambda: peer.has_ended)
        wait_end(peer)

    with serving_http2(script) as url:
        connection = fastwsh.connect(url, http_version=2, compression=False)
        connection.send("last")
        connection.disconnect()


def test_a_program_that_does_not_receive_closes_the_window():
    sent = 0
    filled = threading.Event()

    def script(peer: Http2Peer) -> None:
        nonlocal sent
        peer.answer()
        frame = encode_frame(TEXT, b"x" * 16_000, mask=None)
        until = time.monotonic() + 1
        while time.monotonic() < until:
            if peer.h2.local_flow_control_window(peer.stream) >= len(frame):
                peer.send(frame)
                sent += 1
                until = time.monotonic() + 1
            else:
                peer.socket.settimeout(0.1)
                try:
                    peer.h2.receive_data(peer.socket.recv(65536))
                except TimeoutError:
                    continue
        filled.set()
        peer.close()

    with serving_http2(script) as url, fastwsh.connect(url, http_version=2) as connection:
        assert filled.wait(DEADLINE_SECONDS)
        assert sent * 16_000 < 4 << 20
        for _ in range(sent):
            assert len(connection.recv(DEADLINE_SECONDS)) == 16_000


def test_cancelled_and_closed_connections_leave_nothing():
    async def give_up(url: str) -> None:
        opening = asyncio.ensure_future(fastwsh.connect(url, http_version=2).__aenter__())
        await asyncio.sleep(0.2)
        opening.cancel()
        await asyncio.gather(opening, return_exceptions=True)

    def talk() -> None:
        with serving_http2(lambda peer: (peer.answer(), peer.close())) as url:
            fastwsh.connect(url, http_version=2).close()
        with serving_http2(lambda peer: (peer.read_request(), wait_end(peer))) as url:
            asyncio.run(give_up(url))

    talk()
    gc.collect()
    before = own_descriptors()
    for _ in range(5):
        talk()
    wait_for_own_descriptors(before)


def test_a_port_where_nobody_listens():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert "is the server running" in str(refused(f"ws://127.0.0.1:{port}/"))
