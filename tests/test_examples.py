"""The handlers in `examples`, each driven by the `websockets` client."""

import hashlib
import json
import time
from datetime import datetime
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection
from websockets.typing import Origin, Subprotocol

from conftest import Server, StartServer
from example_client import (
    EXAMPLES,
    connect,
    receive,
    receive_close,
    receive_json,
)
from waiting import wait_until
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Client


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server of the example handlers."""
    return start_server("-w", EXAMPLES)


def test_every_example_loads(server: Server) -> None:
    for handler in EXAMPLES.glob("*_wsh.py"):
        name = handler.name.removesuffix("_wsh.py")
        headers = {"origin": Origin(server.url(scheme="http"))}
        with connect(server, f"/{name}", **headers):
            pass
    server.kill()
    assert "source loading" not in server.log.text()


class TestEcho:
    @pytest.mark.parametrize(
        "message", ["", "Grüße, 世界 👋", b"", bytes(range(256)), "x" * 200_000]
    )
    def test_returns_each_kind_of_message(self, server: Server, message: str | bytes) -> None:
        with connect(server, "/echo") as client:
            client.send(message)
            assert receive(client) == message

    def test_takes_the_first_subprotocol_offered(self, server: Server) -> None:
        offer = [Subprotocol("chat.v2"), Subprotocol("chat.v1")]
        with connect(server, "/echo", subprotocols=offer) as client:
            assert client.subprotocol == "chat.v2"


class TestClose:
    @pytest.mark.parametrize(
        ("order", "close"),
        [
            ("4001 see you tomorrow", (4001, "see you tomorrow")),
            ("1001", (1001, "")),
            ("3000 Grüße", (3000, "Grüße")),
            ("", (1005, "")),
        ],
    )
    def test_closes_as_told(self, server: Server, order: str, close: tuple[int, str]) -> None:
        with connect(server, "/close") as client:
            client.send(order)
            assert receive_close(client) == close

    @pytest.mark.parametrize(
        ("order", "complaint"),
        [
            ("goodbye", "'goodbye' is not a number"),
            ("1005", "Close code 1005 may not be sent"),
            ("2999 x", "Close code 2999 may not be sent"),
            ("4001 " + "x" * 124, "The reason is longer than 123 bytes"),
            (b"4001", "That was a binary message"),
        ],
    )
    def test_explains_a_bad_order(self, server: Server, order: str | bytes, complaint: str) -> None:
        with connect(server, "/close") as client:
            client.send(order)
            answer = receive(client)
            assert isinstance(answer, str)
            assert answer.startswith(complaint)
            client.send("4001 now right")
            assert receive_close(client) == (4001, "now right")

    def test_answers_the_clients_close_with_the_same(self, server: Server) -> None:
        with connect(server, "/close") as client:
            client.close(4321, "bye")
            assert (client.close_code, client.close_reason) == (4321, "bye")

    def test_answers_a_close_without_code_with_the_same(self, server: Server) -> None:
        with server.connect() as client:
            client.handshake("/close")
            client.send_close(None)
            frame = client.read_frame()
            assert (frame.opcode, frame.payload) == (CLOSE, b"")


class TestClock:
    def test_sends_the_time_at_once_and_then_each_second(self, server: Server) -> None:
        with connect(server, "/clock") as client:
            times = [datetime.fromisoformat(str(receive(client))) for _ in range(3)]
        first, second, third = times
        assert abs(first.timestamp() - time.time()) < DEADLINE_SECONDS
        assert first.utcoffset() is not None
        assert first <= second < third
        # Full seconds, give or take what a loaded machine needs to wake a thread.
        assert 0.5 < (third - second).total_seconds() < DEADLINE_SECONDS

    def test_answers_the_close_with_1000(self, server: Server) -> None:
        with connect(server, "/clock") as client:
            receive(client)
            client.close()
            assert client.close_code == 1000

    def test_ignores_what_the_client_says(self, server: Server) -> None:
        with connect(server, "/clock") as client:
            client.send("what time is it?")
            client.send(b"\x00")
            for _ in range(2):
                datetime.fromisoformat(str(receive(client)))

    def test_stops_when_the_client_leaves(self, server: Server) -> None:
        threads = Path(f"/proc/{server.process.pid}/task")
        if not threads.is_dir():
            pytest.skip("counting a process's threads needs Linux's /proc")
        before = len(list(threads.iterdir()))
        clients = [server.connect() for _ in range(30)]
        for client in clients:
            client.handshake("/clock")
            assert client.read_frame().opcode == TEXT
        assert len(list(threads.iterdir())) >= before + len(clients)
        for client, leave in zip(clients, cycle([Client.send_close, Client.close, Client.reset])):
            leave(client)
        # A few threads may be the server's own, started as they were needed.
        wait_until(lambda: len(list(threads.iterdir())) < before + 8, "clocks tick on for nobody")
        for client in clients:
            client.close()


class TestOriginCheck:
    def test_accepts_pages_of_the_same_host(self, server: Server) -> None:
        origin = f"http://127.0.0.1:{server.port}"
        with connect(server, "/origin_check", origin=origin) as client:
            assert receive(client) == f"Welcome, page from {origin}"
            client.send("hello")
            assert receive(client) == "hello"

    def test_compares_hosts_without_regard_to_case(self, server: Server) -> None:
        with server.connect() as client:
            host = ("Host", f"LocalHost:{server.port}")
            origin = ("Origin", f"http://localhost:{server.port}")
            client.handshake("/origin_check", [host, origin])

    def test_refuses_a_strangers_name_that_leads_here(self, server: Server) -> None:
        stranger = f"evil.example:{server.port}"
        headers = [("Host", stranger), ("Origin", f"http://{stranger}")]
        with server.connect() as client:
            client.send_request("/origin_check", headers)
            assert client.read_response().status == 403

    def test_accepts_configured_names(self, start_server: StartServer) -> None:
        server = start_server("-w", EXAMPLES, env={"OWN_NAMES": "chat.example ::1"})
        for name in ("chat.example", "[::1]"):
            with server.connect() as client:
                headers = [("Host", f"{name}:8080"), ("Origin", f"http://{name}:8080")]
                client.handshake("/origin_check", headers)

    def test_accepts_configured_origins(self, start_server: StartServer) -> None:
        allowed = {"ALLOWED_ORIGINS": "https://www.example.com http://example.org:8080"}
        server = start_server("-w", EXAMPLES, env=allowed)
        for origin in ("https://www.example.com", "http://example.org:8080"):
            with connect(server, "/origin_check", origin=origin) as client:
                assert receive(client) == f"Welcome, page from {origin}"
        with server.connect() as client:
            client.send_request("/origin_check", [("Origin", "http://www.example.com")])
            assert client.read_response().status == 403

    @pytest.mark.parametrize(
        "origin",
        [
            "http://evil.example",
            "http://127.0.0.1",
            "http://127.0.0.1.evil.example",
            "http://user@127.0.0.1:{port}",
            "ftp://127.0.0.1:{port}",
            "http://[",
            "null",
            None,
        ],
    )
    def test_refuses_others_with_403(self, server: Server, origin: str | None) -> None:
        headers = [("Origin", origin.format(port=server.port))] if origin else []
        with server.connect() as client:
            client.send_request("/origin_check", headers)
            assert client.read_response().status == 403


class TestCookie:
    def visit(
        self, server: Server, path: str = "/cookie", cookie: str | None = None
    ) -> tuple[str | bytes, str]:
        """Return the message, and the Set-Cookie header, of a visit with this Cookie header."""
        headers = {"Cookie": cookie} if cookie else {}
        with connect(server, path, additional_headers=headers) as client:
            assert client.response is not None
            return receive(client), client.response.headers["Set-Cookie"]

    def test_counts_from_visit_to_visit(self, server: Server) -> None:
        message, cookie = self.visit(server)
        assert message == "Visit number 1"
        assert cookie.startswith("fastwsh_visits=1; ")
        assert "HttpOnly" in cookie
        message, cookie = self.visit(server, cookie="theme=dark; " + cookie.split(";")[0])
        assert message == "Visit number 2"
        assert cookie.startswith("fastwsh_visits=2; ")

    def test_forgets(self, server: Server) -> None:
        message, cookie = self.visit(server, "/cookie?forget", "fastwsh_visits=7")
        assert message == "Forgotten"
        assert "Max-Age=0" in cookie

    @pytest.mark.parametrize("value", ["", "x", "-3", "9" * 5000, '"', "\\"])
    def test_starts_again_at_a_cookie_that_makes_no_sense(self, server: Server, value: str) -> None:
        message, _ = self.visit(server, cookie=f"fastwsh_visits={value}")
        assert message == "Visit number 1"


class TestUpload:
    def upload(self, client: ClientConnection, content: bytes, piece_bytes: int) -> list[Any]:
        """Upload a file; return all that the server says about it."""
        client.send(json.dumps({"name": "a file.bin", "size": len(content)}))
        for start in range(0, len(content), piece_bytes):
            client.send(content[start : start + piece_bytes])
        answers = [receive_json(client)]
        while "sha256" not in answers[-1]:
            answers.append(receive_json(client))
        return answers

    def test_reports_progress_and_the_hash(self, server: Server) -> None:
        content = bytes(range(256)) * 40_000
        with connect(server, "/upload") as client:
            answers = self.upload(client, content, 256 * 1024)
        received = [answer["received"] for answer in answers]
        assert received == sorted(set(received))
        assert received[0] == 0
        assert len(received) > 10
        assert {answer["size"] for answer in answers} == {len(content)}
        assert answers[-1] == {
            "received": len(content),
            "size": len(content),
            "name": "a file.bin",
            "sha256": hashlib.sha256(content).hexdigest(),
        }

    def test_takes_one_file_after_another(self, server: Server) -> None:
        with connect(server, "/upload") as client:
            for content in (b"first", b"", b"third" * 1000):
                answer = self.upload(client, content, 100)[-1]
                assert answer["sha256"] == hashlib.sha256(content).hexdigest()

    def test_tiny_pieces_do_not_bring_a_flood_of_reports(self, server: Server) -> None:
        content = b"x" * 3000
        with connect(server, "/upload") as client:
            assert len(self.upload(client, content, 1)) <= 102

    @pytest.mark.parametrize(
        ("messages", "close"),
        [
            ([b"bytes first"], (1003, "announce the file before its bytes")),
            (["not JSON"], (1008, "announce name and size as JSON")),
            (['{"name": "x"}'], (1008, "announce name and size as JSON")),
            (['{"name": "x", "size": "1"}'], (1008, "name must be a text, size a number")),
            (['{"name": "x", "size": true}'], (1008, "name must be a text, size a number")),
            (['{"name": "x", "size": -1}'], (1008, "name must be a text, size a number")),
            ([f'{{"name": "x", "size": {1 << 50}}}'], (1009, "files may have 4294967296 bytes")),
            (['{"name": "x", "size": 3}', "text"], (1003, "a file comes in binary messages")),
            (['{"name": "x", "size": 3}', b"four"], (1008, "more bytes than announced")),
        ],
    )
    def test_refuses_what_is_against_the_protocol(
        self, server: Server, messages: list[str | bytes], close: tuple[int, str]
    ) -> None:
        with connect(server, "/upload") as client:
            for message in messages:
                client.send(message)
            if len(messages) > 1:
                assert receive_json(client)["received"] == 0
            assert receive_close(client) == close

    def test_bears_a_client_that_leaves_half_way(self, server: Server) -> None:
        with connect(server, "/upload") as client:
            client.send('{"name": "x", "size": 100}')
            client.send(b"half" * 10)
            client.close(4000, "cancelled")
            assert client.close_code == 1000
        with connect(server, "/upload") as client:
            assert self.upload(client, b"whole", 5)[-1]["received"] == 5
