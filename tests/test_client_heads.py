"""The heads of the opening handshake: credentials, interim answers, old answers, who sees them."""

import asyncio

import pytest

import fastwsh
from client_support import Peer, refused_with, serving
from wire import CLOSE, TEXT, encode_frame

# The example of RFC 7617 2.
BASIC = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n"


def close(peer: Peer) -> None:
    """Do the closing handshake that the client begins."""
    assert peer.read_frame().opcode == CLOSE
    peer.send_frame(CLOSE, (1000).to_bytes(2), mask=None)


@pytest.mark.parametrize(
    ("userinfo", "value"),
    [
        ("Aladdin:open%20sesame@", BASIC),
        ("me@", "Basic bWU6"),
        # RFC 7617 2.1
        ("test:123%C2%A3@", "Basic dGVzdDoxMjPCow=="),
        ("a%40b:c:d@", "Basic YUBiOmM6ZA=="),
        ("", None),
        ("@", None),
    ],
)
def test_user_name_and_password_in_the_url(userinfo: str, value: str | None):
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.request.header("Authorization") == value
        assert "@" not in (peer.request.header("Host") or "")
        close(peer)

    with serving(script) as url, fastwsh.connect(url.replace("//", f"//{userinfo}")):
        pass


def test_a_header_is_stronger_than_the_url():
    def script(peer: Peer) -> None:
        peer.answer()
        assert peer.request.header("Authorization") == "Bearer x"
        close(peer)

    with serving(script) as url:
        named = url.replace("//", "//me:secret@")
        with fastwsh.connect(named, headers={"authorization": "Bearer x"}):
            pass


@pytest.mark.parametrize(
    ("userinfo", "says"),
    [
        ("", "it wants credentials: write USER:PASSWORD@ before the host"),
        ("me:secret@", "it does not accept these credentials"),
    ],
)
def test_credentials_that_are_missing_or_wrong(userinfo: str, says: str):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")

    with serving(script) as url, pytest.raises(fastwsh.ConnectRefusedError, match=says) as caught:
        fastwsh.connect(url.replace("//", f"//{userinfo}"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "interim",
    [
        EARLY_HINTS,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"HTTP/1.1 102 Processing\r\n\r\n" * 3,
        b"HTTP/1.1 100\n\n" + EARLY_HINTS * 20,
        b"HTTP/1.1 199 Whatever\r\n\r\n",
    ],
)
@pytest.mark.parametrize("pieces", [None, 5])
def test_interim_answers_are_read_past(interim: bytes, pieces: int | None):
    def script(peer: Peer) -> None:
        for start in range(0, len(interim), pieces or len(interim)):
            peer.send(interim[start : start + (pieces or len(interim))])
        peer.answer(behind=encode_frame(TEXT, b"hello", mask=None), pieces=pieces)
        close(peer)

    with serving(script) as url, fastwsh.connect(url) as client:
        assert client.recv() == "hello"
        assert ("link", "</style.css>; rel=preload") not in client.response_headers


def test_interim_answers_are_read_past_in_an_event_loop():
    def script(peer: Peer) -> None:
        peer.send(EARLY_HINTS)
        peer.answer()
        close(peer)

    async def talk(url: str) -> None:
        async with fastwsh.connect(url):
            pass

    with serving(script) as url:
        asyncio.run(talk(url))


def test_interim_answers_before_a_refusal():
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EARLY_HINTS + b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone")

    error = refused_with(script)
    assert isinstance(error, fastwsh.ConnectRefusedError)
    assert (error.status, error.body) == (404, b"gone")


def test_interim_answers_without_end():
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EARLY_HINTS * 2000)

    assert "longer than 65536 bytes" in str(refused_with(script))


def test_nothing_behind_an_interim_answer():
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(EARLY_HINTS)

    assert "ended the connection" in str(refused_with(script))


@pytest.mark.parametrize(
    ("head", "status", "says"),
    [
        ("HTTP/1.0 403 Forbidden", 403, "403 Forbidden"),
        ("HTTP/1.0 404 NOT FOUND", 404, "404 Not Found .* check the path"),
        ("HTTP/1.0 200 OK", 200, "200 OK"),
        ("HTTP/1.0 503 Busy\r\nRetry-After: 3", 503, "503 Service Unavailable"),
        ("HTTP/1.1 599 Not today", 599, "599 Not today"),
        ("HTTP/1.1 404 x\r\n" + "A: b\r\n" * 200 + "C: d", 404, "404 Not Found"),
    ],
)
def test_refusals_of_old_and_odd_servers(head: str, status: int, says: str):
    def script(peer: Peer) -> None:
        peer.read_request()
        # As HTTP/1.0 has it: the body ends with the connection.
        peer.send(f"{head}\r\nServer: old\r\n\r\nbody".encode())

    with serving(script) as url, pytest.raises(fastwsh.ConnectRefusedError, match=says) as caught:
        fastwsh.connect(url)
    assert (caught.value.status, caught.value.body) == (status, b"body")
    assert ("server", "old") in caught.value.headers


@pytest.mark.parametrize(
    ("head", "body", "expects_tls"),
    [
        ("400 Bad Request", "<h1>400</h1>The plain HTTP request was sent to HTTPS port", True),
        ("400 Bad Request", "Client sent an HTTP request to an HTTPS server.\n", True),
        ("400 Bad Request", "This combination of host and port requires TLS.", True),
        ("426 Upgrade Required\r\nUpgrade: TLS/1.0, HTTP/1.1", "", True),
        ("400 Bad Request", "see https://example.org/", False),
        ("400 Bad Request", "TLS certificate missing", False),
        ("403 Forbidden", "<a href='https://example.org/'>HTTPS</a> TLS", False),
        ("404 Not Found", "The plain HTTP request was sent to HTTPS port", False),
        ("200 OK", "<!-- https --> battles and titles", False),
        ("503 Service Unavailable", "TLS handshake with the origin failed", False),
        ("426 Upgrade Required\r\nUpgrade: websocket", "https", False),
        ("301 Moved\r\nLocation: https://example.org/", "https", False),
    ],
)
def test_expects_tls_where_it_does(head: str, body: str, *, expects_tls: bool):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(f"HTTP/1.1 {head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    assert ("expects TLS" in str(refused_with(script))) is expects_tls


def test_heads_are_shown_to_who_wants_to_see_them():
    def script(peer: Peer) -> None:
        peer.send(EARLY_HINTS)
        peer.answer([("X-A", "ü")], behind=encode_frame(TEXT, b"hello", mask=None))
        close(peer)

    heads: list[tuple[str, bytes]] = []

    def on_head(mark: str, head: bytes) -> None:
        heads.append((mark, head))

    with serving(script) as url, fastwsh.connect(url, on_head=on_head) as client:
        assert client.recv() == "hello"
    (sent, request), (first, interim), (second, answer) = heads
    assert sent + first + second == "><<"
    assert request.startswith(b"GET / HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\n")
    assert interim == EARLY_HINTS
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert b"\r\nX-A: \xfc\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("answer", [b"HTTP/1.0 404 x\r\n\r\n", b"SSH-2.0-x", b""])
def test_heads_are_shown_when_there_is_no_connection(answer: bytes):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(answer)

    heads: list[tuple[str, bytes]] = []

    def on_head(mark: str, head: bytes) -> None:
        heads.append((mark, head))

    async def attempt(url: str) -> None:
        await fastwsh.connect(url, on_head=on_head)

    with serving(script) as url, pytest.raises(fastwsh.ConnectError):
        asyncio.run(attempt(url))
    assert [mark for mark, _ in heads] == ([">", "<"] if answer else [">"])
    assert b"".join(head for mark, head in heads if mark == "<") == answer


def test_on_head_must_be_callable():
    with pytest.raises(TypeError, match="on_head is 1, which cannot be called"):
        fastwsh.connect("ws://127.0.0.1:1/", on_head=1)
