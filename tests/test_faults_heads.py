"""Clients that never get so far as a WebSocket connection: slow ones, broken ones, scanners."""

import contextlib
import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from conftest import BOTH_WAYS, Server, StartServer, WriteHandler
from echo_handlers import ECHO
from faults_support import COLLECT, assert_answers, nothing_stays
from usage import allow_descriptors, wait_for_usage
from wire import KEY, TEXT, Client, encode_frame

SLOW_CLIENTS = 2000

REQUEST = (
    "GET /echo HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n\r\n"
).encode()

# What scanners and mistaken programs send: name, bytes, and what the log says if anything.
SCANS = {
    "nothing": (b"", None),
    "a line end": (b"\r\n", None),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500), "does not speak TLS"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "Invalid HTTP version"),
    "SSH": (b"SSH-2.0-OpenSSH_9.6\r\n", "Bad request"),
    "SMTP": (b"EHLO example.org\r\n", "Bad request"),
    "zeros": (bytes(70_000), "Request-URI Too Long"),
    "a broken proxy line": (b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", "Bad request"),
}


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    write_handler("collect", COLLECT)
    return start_server("-w", "handlers", "--head-timeout", "2")


def test_thousands_of_slow_heads_hold_nobody_up_and_end_in_time(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    allow_descriptors(SLOW_CLIENTS)
    write_handler("echo", ECHO)
    write_handler("collect", COLLECT)
    server = start_server("-w", "handlers", "--head-timeout", "10")
    with nothing_stays(server), ExitStack() as stack:
        slow: list[Client] = []
        while len(slow) < SLOW_CLIENTS:
            # fewer at once than the backlog holds: what overflows it comes a second later
            slow += [stack.enter_context(server.connect()) for _ in range(100)]
            connected = len(slow)
            wait_for_usage(server, lambda usage, least=connected: usage.descriptors >= least)
        # a byte at a time
        for byte in (REQUEST[at : at + 1] for at in range(3)):
            for client in slow:
                # on a slow machine its time is over
                with contextlib.suppress(OSError):
                    client.send(byte)
            assert_answers(server)
        for client in slow:
            assert client.read_to_end() == b""


@BOTH_WAYS
@pytest.mark.parametrize("end", ["reset", "orderly"])
def test_clients_that_break_off_after_any_number_of_bytes_leave_nothing(
    server: Server, end: str
) -> None:
    frames = [encode_frame(TEXT, b"x" * size) for size in (5, 200)]
    stream = REQUEST + b"".join(frames) + b"\x88\x82\0\0\0\0\x03\xe8"
    with nothing_stays(server):
        for length in range(len(stream) + 1):
            client = server.connect()
            client.send(stream[:length])
            if length > len(REQUEST):
                # the connection is open, or about to be
                client.read_response()
            if end == "reset":
                client.reset()
            else:
                client.close()


@pytest.mark.parametrize("name", SCANS)
def test_a_scanner_costs_one_line_at_most(server: Server, name: str) -> None:
    sent, said = SCANS[name]
    with nothing_stays(server):
        for end in (Client.close, Client.reset):
            client = server.connect()
            client.send(sent)
            end(client)
    if said:
        server.log.wait_for(said)
    log = "\n".join(server.log.lines)
    assert "Traceback" not in log
    assert len(re.findall("code 4|code 5", log)) <= 2


class TestTls:
    @pytest.fixture
    def server(
        self, start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
    ) -> Server:
        write_handler("echo", ECHO)
        leaf = trustme.CA().issue_cert("127.0.0.1")
        leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
        return start_server(
            *("-w", "handlers", "--ssl-certfile", "both.pem", "--head-timeout", "0.5")
        )

    def test_plain_text_is_told_so(self, server: Server) -> None:
        with server.connect() as client:
            client.send(REQUEST)
            response = client.read_response()
            assert response.status_line == ("HTTP/1.1 400 This port speaks TLS; use https: or wss:")
        server.log.wait_for("This port speaks TLS; use https: or wss:")
        assert not [line for line in server.log.lines if "Traceback" in line]

    @pytest.mark.parametrize(
        "sent", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01", b"\x16\x03\x01\x00\x05hello", bytes(99)]
    )
    def test_what_is_no_handshake_ends_in_time(self, server: Server, sent: bytes) -> None:
        with server.connect() as client:
            client.send(sent)
            # perhaps an alert
            client.read_to_end()
        with server.connect() as client:
            client.send(sent)
            client.reset()
        assert not [line for line in server.log.lines if "Traceback" in line]


def test_unread_requests_behind_a_refusal_do_not_swallow_it(server: Server) -> None:
    """A peer that goes on sending must get the answer, and not a reset."""
    with server.connect() as client:
        client.send(b"BAD\r\n\r\n" + bytes(100_000))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_response().status == 400


def test_a_refused_request_is_judged_once(server: Server) -> None:
    with server.connect() as client:
        client.send(REQUEST.replace(b"/echo", b"/echo#part") + bytes(100_000))
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_response().status == 400
        assert client.read_to_end().endswith(b"</html>\n")
    server.log.wait_for("Fragment identifiers MUST NOT be used")
    # a second line would come before this
    assert_answers(server, "/echo")
    server.log.wait_for("Established")
    server.kill()
    assert server.log.text().count("Fragment identifiers MUST NOT be used") == 1
