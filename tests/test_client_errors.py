"""Why there is no connection: each reason is one sentence, with the remedy."""

import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import fastwsh
from client_support import Peer, accept_value, refused_with, serving
from conftest import StartServer
from fastwsh.client import connect_async, connect_sync
from wire import DEADLINE_SECONDS


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("localhost:80", "must begin with ws://"),
        ("http://localhost/", "use ws:// in place of http://"),
        ("ws://localhost/#part", "fragment"),
        ("ws://localhost:port/", "port"),
        ("ws://me%ff:secret@localhost/", "percent-encoded UTF-8"),
        ("ws://me%3A:secret@localhost/", "colon"),
        ("ws://me:secret@/", "no host"),
        ("ws://localhost/a b", "percent-encode"),
        ("ws://::1:80/", "stands in brackets"),
    ],
)
def test_bad_url(url: str, says: str):
    with pytest.raises(fastwsh.ConnectArgumentError, match=says) as caught:
        fastwsh.connect(url)
    assert isinstance(caught.value, ValueError)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("A b", "c", "token"),
        ("A", "b\r\nC: d", "control characters"),
        ("Sec-WebSocket-Key", "x", "sets it itself"),
    ],
)
def test_bad_header(name: str, value: str, says: str):
    with pytest.raises(fastwsh.ConnectArgumentError, match=says):
        fastwsh.connect("ws://127.0.0.1:1/", headers={name: value})


def test_bad_subprotocol():
    with pytest.raises(fastwsh.ConnectArgumentError, match='"a b"'):
        fastwsh.connect("ws://127.0.0.1:1/", subprotocols=["a b"])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"open_timeout": 0}, "open_timeout is 0; give a number above 0"),
        ({"close_timeout": float("nan")}, "close_timeout is nan"),
        ({"max_message_bytes": -1}, "max_message_bytes is -1"),
        ({"headers": {"A": 1}}, "headers has .'A', 1."),
        ({"headers": ["ab"]}, "headers has 'ab'"),
        ({"subprotocols": [1]}, "subprotocols has 1"),
        ({"subprotocols": "ab"}, r"write \['ab'\]"),
        ({"subprotocols": 1}, "subprotocols is 1; give a sequence of str"),
        ({"headers": 1}, "headers is 1; give a mapping, or pairs, of str"),
        ({"open_timeout": "3"}, "open_timeout is '3'; give a number above 0"),
        ({"max_message_bytes": 1.5}, "max_message_bytes is 1.5; give a whole number above 0"),
        ({"compression": None}, "compression is None; give True or False"),
        ({"verify": "no"}, "verify is 'no'; give True or False"),
        ({"origin": 1}, "origin is 1; give a str or None"),
        ({"server_hostname": 1}, "server_hostname is 1; give a str or None"),
        ({"ca_file": 1}, "ca_file is 1; give the path of a PEM file or None"),
        ({"open_timeout": 10**400}, "open_timeout is 1000"),
        ({"max_message_bytes": 1 << 70}, "max_message_bytes is 1180591620717411303424; give"),
        ({"header": {}}, r"'header' is no option of connect; did you mean headers\?"),
        ({"extra_headers": {}}, r"did you mean headers\?"),
        ({"additional_headers": {}}, "'additional_headers' is no option of connect; use headers"),
        ({"ssl": None}, "'ssl' is no option of connect; use ca_file, verify, certificate and"),
        ({"ping_interval": 20}, r"call ping\(\) and wait_pong\(\)"),
        ({"max_queue": 1, "origin": None}, "'max_queue' is no option of connect; there are sub"),
    ],
)
def test_argument_that_makes_no_sense(options: dict[str, object], says: str):
    with pytest.raises((TypeError, ValueError), match=says):
        fastwsh.connect("ws://127.0.0.1:1/", **options)


@pytest.mark.parametrize("connect", [connect_sync, connect_async])
@pytest.mark.parametrize("url", [5, None, b"ws://127.0.0.1:1/", Path("x")])
def test_url_is_text(connect: Callable[[object], object], url: object):
    with pytest.raises(TypeError, match=r"url=.*; give a str such as 'ws://localhost:9998/'"):
        connect(url)


@pytest.mark.parametrize("close", ["close", "start_closing"])
def test_close_code_is_a_number(close: str):
    with serving(lambda peer: (peer.answer(), peer.read_to_end())[0]) as url:
        client = fastwsh.connect(url)
        with pytest.raises(TypeError, match="close code '1000'; give a number from 1000 to 4999"):
            getattr(client, close)("1000")
        client.disconnect()


@pytest.mark.parametrize("name", ["ca_file", "origin", "proxy", "server_hostname"])
def test_text_with_a_lone_surrogate(name: str):
    with pytest.raises(fastwsh.ConnectArgumentError, match=r"cannot use .*\\ud800"):
        fastwsh.connect("ws://127.0.0.1:1/", **{name: "http://\ud800/"})


@pytest.mark.parametrize(
    "options", [{"headers": {"A": "\ud800"}}, {"subprotocols": ["\ud800"]}, {"origin": "\udcff"}]
)
def test_part_of_the_request_with_a_lone_surrogate(options: dict[str, object]):
    with pytest.raises(fastwsh.ConnectArgumentError, match="it has a lone surrogate"):
        fastwsh.connect("ws://127.0.0.1:1/", **options)


def test_url_with_a_lone_surrogate():
    with pytest.raises(fastwsh.ConnectArgumentError, match="may have printable ASCII only"):
        fastwsh.connect("ws://127.0.0.1:1/\ud800")


@pytest.mark.parametrize("limit", [1e18, 1e300])
def test_time_limit_that_is_too_long_to_express(limit: float):
    with serving(Peer.answer) as url:
        fastwsh.connect(url, open_timeout=limit, close_timeout=limit).disconnect()


def test_path_in_bytes(tmp_path: Path):
    class Bytes:
        def __fspath__(self) -> bytes:
            return bytes(tmp_path / "none.pem")

    with pytest.raises(fastwsh.ConnectArgumentError, match=r"none\.pem"):
        fastwsh.connect("wss://127.0.0.1:1/", ca_file=Bytes())


def test_unknown_host():
    with pytest.raises(fastwsh.ConnectError, match=r"unknown host nowhere\.invalid: .*; check"):
        fastwsh.connect("ws://nowhere.invalid/")


def test_refused_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(fastwsh.ConnectError, match=f"127.0.0.1:{port} refused .* running") as info:
        fastwsh.connect(f"ws://127.0.0.1:{port}/")
    assert isinstance(info.value, ConnectionError)


def test_missing_unix_socket(tmp_path: Path):
    with pytest.raises(fastwsh.ConnectError, match=r"none\.sock: No such file"):
        fastwsh.connect(f"ws+unix://{tmp_path}/none.sock")


def test_server_that_does_not_answer():
    released = threading.Event()

    def script(peer: Peer) -> None:
        peer.read_request()
        assert released.wait(DEADLINE_SECONDS)

    with serving(script) as url:
        began = time.monotonic()
        with pytest.raises(fastwsh.ConnectTimeoutError, match=r"answer the opening .* 200ms"):
            fastwsh.connect(url, open_timeout=0.2)
        assert time.monotonic() - began < DEADLINE_SECONDS
        released.set()


@pytest.mark.parametrize(
    ("status", "headers", "says"),
    [
        ("401 Unauthorized", [], "401 Unauthorized .* credentials"),
        ("403 Forbidden", [], "403 Forbidden"),
        ("404 Not Found", [], "404 Not Found .* check the path"),
        ("302 Found", ["Location: /there"], "302 Found .* points to /there"),
        ("503 Service Unavailable", [], "503 Service Unavailable"),
    ],
)
def test_other_status(status: str, headers: list[str], says: str):
    body = b"x" * 5000

    def script(peer: Peer) -> None:
        peer.read_request()
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
        peer.send("\r\n".join(lines).encode() + body)

    error = refused_with(script)
    assert isinstance(error, fastwsh.ConnectRefusedError)
    assert error.status == int(status.partition(" ")[0])
    assert ("content-length", "5000") in error.headers
    assert error.body == body[:4096]
    assert re.search(says, str(error))


def test_our_server_without_a_handler(start_server: StartServer):
    server = start_server()
    with pytest.raises(fastwsh.ConnectRefusedError, match="404") as caught:
        fastwsh.connect(server.url("/nothing"))
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([("Upgrade", "h2c")], "Upgrade: websocket"),
        ([("Connection", "close")], "Connection: upgrade"),
        ([("Sec-WebSocket-Accept", accept_value("other"))], "Sec-WebSocket-Accept"),
        ([("Connection", "a, upgrade"), ("Sec-WebSocket-Accept", "x")], "Sec-WebSocket-Accept"),
        ([("Sec-WebSocket-Protocol", "unasked")], "[Ss]ub[Pp]rotocol"),
    ],
)
def test_bad_answer(headers: list[tuple[str, str]], says: str):
    error = refused_with(lambda peer: peer.answer(headers))
    assert re.search(says, str(error))


@pytest.mark.parametrize("second", [None, "x"])
def test_two_accepts_are_no_accept(second: str | None):
    def script(peer: Peer) -> None:
        peer.read_request()
        accept = accept_value(peer.request.header("Sec-WebSocket-Key") or "")
        head = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade"]
        head += [f"Sec-WebSocket-Accept: {value}" for value in (accept, second or accept)]
        peer.send("\r\n".join([*head, "", ""]).encode())

    assert "Sec-WebSocket-Accept" in str(refused_with(script))


def test_two_subprotocols_are_no_choice():
    both = [("Sec-WebSocket-Protocol", "a"), ("Sec-WebSocket-Protocol", "b")]
    error = refused_with(lambda peer: peer.answer(both), subprotocols=["a", "b"])
    assert "not offered, or several" in str(error)


def test_a_subprotocol_without_an_offer_is_no_choice():
    error = refused_with(lambda peer: peer.answer([("Sec-WebSocket-Protocol", "a")]))
    assert str(error).endswith("it chose a subprotocol that was not offered, or several")


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        (b"", "sent nothing"),
        (b"HTTP/1.1 101 Swi", "has no end"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", 'it does not speak HTTP, and began with "SSH-2.0-OpenSSH'),
        (b"HTTP/1.1 101 \x1b\r\n\r\n", "its head is malformed: invalid response status"),
        (b"SSH-2.0-Open", 'it does not speak HTTP, and began with "SSH-2.0-Open"'),
        (b"220 \xe9 " + b"a" * 1000, 'and began with "220 \\xe9 aaaa'),
        (b"SSH", 'and began with "SSH"'),
        (b"\r\nHT", "has no end"),
        (b"\x15\x03\x03\x00\x02\x02\x46", "use wss://"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 70_000, "longer than 65536 bytes"),
        (b"HTTP/1.0 101 Switching Protocols\r\n\r\n", "no acceptable"),
        (b"HTTP/1.1 101 Switching Protocols\r\n" + b"A: b\r\n" * 200 + b"\r\n", "no acceptable"),
    ],
)
def test_what_is_no_answer(sent: bytes, says: str):
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(sent)

    assert says in str(refused_with(script))


def test_a_server_that_speaks_something_else_and_waits():
    def script(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"SSH-2.0-OpenSSH_9.2\r\n")
        peer.read_to_end()

    error = refused_with(script, open_timeout=None)
    assert 'it does not speak HTTP, and began with "SSH-2.0-OpenSSH_9.2"' in str(error)
