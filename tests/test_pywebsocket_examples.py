"""pywebsocket3's own example handlers, from its source package, driven by the `websockets` client.

Every test runs against fastwsh, over HTTP/1.1, 2 and 3, and, where it runs, against pywebsocket3,
and expects the same of all.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidMessage
from websockets.sync.client import ClientConnection
from websockets.typing import Origin

from conftest import Server, StartServer, clean_environment, starting_servers
from example_client import connect, receive
from pywebsocket_reference import SERVERS, serve_examples
from wire import DEADLINE_SECONDS

HANDLERS = {
    "abort",
    "abort_handshake",
    "bench",
    "benchmark_helper",
    "close",
    "cookie",
    "echo",
    "echo_noext",
    "hsts",
    "internal_error",
    "origin_check",
}
ABNORMAL = (1006, "")
"""TCP closes without a close frame."""


@pytest.fixture
def fastwsh(start_server: StartServer, pywebsocket3_source: Path) -> Server:
    return start_server("-w", pywebsocket3_source / "example")


@pytest.fixture(scope="module")
def pywebsocket3(pywebsocket3_source: Path) -> Iterator[Server]:
    with serve_examples(pywebsocket3_source) as server:
        yield server


@pytest.fixture
def http2(pywebsocket3_source: Path, tmp_path: Path) -> Iterator[Server]:
    """fastwsh, whose clients speak over streams of HTTP/2."""
    with starting_servers(tmp_path, "http2") as start:
        yield start("-w", pywebsocket3_source / "example")


@pytest.fixture(scope="module")
def http3(pywebsocket3_source: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same over HTTP/3; its server takes longer to start, and is the same for all tests."""
    with starting_servers(tmp_path_factory.mktemp("http3"), "http3") as start:
        yield start("-w", pywebsocket3_source / "example")


@pytest.fixture(params=[*SERVERS, "http2", "http3"])
def server(request: pytest.FixtureRequest) -> Server:
    """A server of the example handlers."""
    return request.getfixturevalue(request.param)


def closing(client: ClientConnection) -> tuple[int, str]:
    """Wait for the end; return the server's close code, 1006 for none, and its reason."""
    with pytest.raises(ConnectionClosed) as info:
        client.recv(DEADLINE_SECONDS)
    received = info.value.rcvd
    return (received.code, received.reason) if received else ABNORMAL


def close(client: ClientConnection, code: int, reason: str = "") -> tuple[int, str]:
    """Close from the client's side; return what the server answers."""
    client.close(code, reason)
    received = client.protocol.close_rcvd
    return (received.code, received.reason) if received else ABNORMAL


def header(client: ClientConnection, name: str) -> str | None:
    assert client.response is not None
    return client.response.headers.get(name)


def refusal(server: Server, path: str, *headers: tuple[str, str]) -> int:
    """Return the status of a refused opening handshake.

    The `websockets` client cannot: pywebsocket3 refuses in HTTP/1.0, which it does not take.
    """
    with server.connect() as client:
        client.send_request(path, headers)
        return client.read_response().status


def test_there_are_eleven(pywebsocket3_source: Path) -> None:
    handlers = (pywebsocket3_source / "example").glob("*_wsh.py")
    assert {path.name.removesuffix("_wsh.py") for path in handlers} == HANDLERS


def test_all_load(fastwsh: Server) -> None:
    # The server has logged every failure to load before it listens.
    assert not [line for line in fastwsh.log.lines if "Warning in source loading" in line]


def test_check_finds_all(pywebsocket3_source: Path) -> None:
    folder = pywebsocket3_source / "example"
    done = subprocess.run(
        [sys.executable, "-m", "fastwsh", "--check", "-w", folder],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    )
    *found, summary = done.stdout.splitlines()
    assert sorted(found) == sorted(f"/{name} -> {folder / name}_wsh.py" for name in HANDLERS)
    assert summary == "11 loaded, 0 failed"


class TestEcho:
    @pytest.mark.parametrize("compression", ["deflate", None])
    @pytest.mark.parametrize("path", ["/echo", "/echo_noext", "/echo?query"])
    def test_echoes_messages_of_every_kind(
        self, server: Server, path: str, compression: str | None
    ) -> None:
        with connect(server, path, compression=compression) as client:
            for message in ["", "Grüße, 世界 👋", b"", bytes(range(256)), "x" * 200_000]:
                client.send(message)
                assert receive(client) == message
            client.send(["frag", "men", "ted"])
            assert receive(client) == "fragmented"
            assert close(client, 3001, "done") == (1000, "")

    @pytest.mark.parametrize(
        ("path", "offer", "answer"),
        [
            ("/echo", "deflate", "permessage-deflate"),
            ("/echo", None, None),
            ("/echo_noext", "deflate", None),
        ],
    )
    def test_accepts_the_extension_unless_the_handler_does_not(
        self, server: Server, path: str, offer: str | None, answer: str | None
    ) -> None:
        with connect(server, path, compression=offer) as client:
            assert header(client, "Sec-WebSocket-Extensions") == answer

    @pytest.mark.parametrize("path", ["/echo", "/echo_noext"])
    def test_goodbye_ends_the_connection(self, server: Server, path: str) -> None:
        with connect(server, path) as client:
            client.send("Goodbye")
            assert receive(client) == "Goodbye"
            assert closing(client) == (1000, "")

    def test_answers_pings_while_it_receives(self, server: Server) -> None:
        with connect(server, "/echo") as client:
            assert client.ping(b"are you there").wait(DEADLINE_SECONDS)

    def test_a_subprotocol_nobody_chose_is_refused(self, server: Server) -> None:
        assert refusal(server, "/echo", ("Sec-WebSocket-Protocol", "chat")) == 400

    def test_many_messages_come_back_in_order(self, server: Server) -> None:
        messages = [f"{number} {'y' * number}" for number in range(500)]
        with connect(server, "/echo") as client:
            for message in messages:
                client.send(message)
            assert [receive(client) for _ in messages] == messages


class TestAborts:
    def test_abort_in_the_handshake_closes_without_an_answer(self, server: Server) -> None:
        with pytest.raises(InvalidMessage), connect(server, "/abort_handshake"):
            pass
        server.log.wait_for(r"Aborted: Aborted in web_socket_do_extra_handshake")

    def test_abort_closes_without_a_close_frame(self, server: Server) -> None:
        with connect(server, "/abort") as client:
            assert closing(client) == ABNORMAL
        server.log.wait_for(r"Aborted: Aborted in web_socket_transfer_data")

    def test_bad_operation_closes_with_1011(self, server: Server) -> None:
        with connect(server, "/internal_error") as client:
            assert closing(client) == (1011, "")


class TestBench:
    def test_sends_as_often_as_it_was_told(self, server: Server) -> None:
        with connect(server, "/bench") as client:
            client.send("0.001 5 tick")
            assert [receive(client) for _ in range(5)] == ["tick"] * 5
            assert closing(client) == (1000, "")

    def test_a_handler_error_closes_without_a_close_frame(self, server: Server) -> None:
        with connect(server, "/bench") as client:
            client.send("nonsense")
            assert closing(client) == ABNORMAL
        text = "web_socket_transfer_data raised exception for /bench: Bad parameter format"
        server.log.wait_for(f"^ *ValueError: {text}")


class TestBenchmarkHelper:
    def test_sends_and_receives_payloads(self, server: Server) -> None:
        with connect(server, "/benchmark_helper") as client:
            assert header(client, "Sec-WebSocket-Extensions") is None
            for size in (0, 125, 126, 65_535, 65_536, 1_000_000):
                client.send(f"receive {size}")
                assert receive(client) == b"a" * size
                client.send("send 1")
                client.send(b"a" * size)
                assert receive(client) == str(size)
            assert close(client, 1000) == (1000, "")

    def test_a_payload_that_is_not_as_agreed_is_an_error(self, server: Server) -> None:
        with connect(server, "/benchmark_helper") as client:
            client.send("send 1")
            client.send(b"b")
            assert closing(client) == ABNORMAL


class TestClose:
    @pytest.mark.parametrize(
        ("command", "seen"),
        [
            ("1000 ", (1000, "")),
            ("3000 in UTF-8: äöü", (3000, "in UTF-8: äöü")),
            ("4999 " + "r" * 123, (4999, "r" * 123)),
            ("1001 going", (1001, "going")),
        ],
    )
    def test_closes_as_it_was_told(
        self, server: Server, command: str, seen: tuple[int, str]
    ) -> None:
        with connect(server, "/close") as client:
            client.send(command)
            assert closing(client) == seen

    @pytest.mark.parametrize(
        "command", ["1005 x", "1006 x", "999 x", "5000 x", "1000 " + 124 * "r"]
    )
    def test_what_may_not_be_sent_is_1011(self, server: Server, command: str) -> None:
        with connect(server, "/close") as client:
            client.send(command)
            assert closing(client) == (1011, "")

    @pytest.mark.parametrize(("code", "reason"), [(1000, ""), (3123, "echo me"), (1001, "page")])
    def test_echoes_the_code_and_reason(self, server: Server, code: int, reason: str) -> None:
        with connect(server, "/close") as client:
            assert close(client, code, reason) == (code, reason)

    def test_echoes_an_empty_close_frame(self, server: Server) -> None:
        with server.connect() as client:
            client.handshake("/close")
            client.send_close(None)
            assert client.read_frame().payload == b""
            assert client.read_to_end() == b""


class TestHeaders:
    @pytest.mark.parametrize(
        ("path", "cookies"),
        [
            ("/cookie", []),
            ("/cookie?set", ["foo=bar; Max-Age=86400"]),
            ("/cookie?set_httponly", ["httpOnlyFoo=bar; Max-Age=86400; httpOnly"]),
            ("/cookie?clear", ["foo=0; Max-Age=0", "httpOnlyFoo=0; Max-Age=0"]),
        ],
    )
    def test_cookies(self, server: Server, path: str, cookies: list[str]) -> None:
        with connect(server, path) as client:
            assert client.response is not None
            assert client.response.headers.get_all("Set-Cookie") == cookies
            assert closing(client) == (1000, "")

    def test_strict_transport_security(self, server: Server) -> None:
        with connect(server, "/hsts") as client:
            assert header(client, "Strict-Transport-Security") == "max-age=86400"
            assert receive(client) == "Hello"
            assert closing(client) == (1000, "")


class TestOriginCheck:
    @pytest.mark.parametrize("origin", [None, "http://example.com.evil"])
    def test_refuses_other_origins(self, server: Server, origin: str | None) -> None:
        headers = [("Origin", origin)] if origin else []
        assert refusal(server, "/origin_check", *headers) == 403
        server.log.wait_for(f"Handshake failed for error: .*Unacceptable origin: {origin!r}")

    def test_accepts_one_origin_and_fails_to_write_a_str(self, server: Server) -> None:
        with connect(server, "/origin_check", origin=Origin("http://example.com")) as client:
            assert closing(client) == ABNORMAL
        text = "web_socket_transfer_data raised exception for /origin_check: "
        server.log.wait_for(f"^ *TypeError: {text}")
