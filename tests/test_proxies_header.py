"""The PROXY protocol: trusted proxies begin with its header, in every form, and nobody else."""

import socket
import ssl
from pathlib import Path

import pytest
import trustme

from conftest import ALL_WAYS, StartServer, WriteHandler
from contract_support import PATH, Serve, serve
from proxies_support import (
    ADDRESSES,
    ADDRESSES_6,
    BINARY,
    CLIENT,
    CLIENT_6,
    LINE,
    LINE_6,
    LOCAL,
    NOOP,
    OWN,
    PROXIED,
    PROXY,
    SIGNATURE,
    TCP4,
    TCP6,
    TELL,
    TRUSTED,
    UNIX,
    address_seen,
    binary,
    connected,
    forwarded,
    opening,
    own_address,
    told,
)
from tls_support import trusting
from wire import DEADLINE_SECONDS, Client

__all__ = ["serve"]


def client_hello(context: ssl.SSLContext) -> bytes:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = context.wrap_bio(incoming, outgoing, server_hostname=LOCAL)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


@ALL_WAYS
@pytest.mark.parametrize(
    ("header", "address"),
    [
        (LINE, CLIENT),
        (LINE_6, CLIENT_6),
        (BINARY, CLIENT),
        (binary(PROXIED, TCP6, ADDRESSES_6), CLIENT_6),
        (binary(PROXIED, TCP4, ADDRESSES + NOOP), CLIENT),
        (binary(PROXIED, TCP4, ADDRESSES + NOOP * 300), CLIENT),
        (binary(PROXIED, UNIX, bytes(216)), ""),
    ],
)
def test_tells_the_address(serve: Serve, header: bytes, address: object) -> None:
    server = serve(TELL, *PROXY)
    for in_one_packet in (True, False):
        with connected(server) as client:
            if in_one_packet:
                client.send(header + opening("1.1.1.1"))
            else:
                client.send(header)
                client.send_request(PATH, forwarded("1.1.1.1"))
            assert client.read_response().status == 101
            assert told(client) == address


@pytest.mark.parametrize("header", [LINE, BINARY])
def test_may_come_byte_by_byte(serve: Serve, header: bytes) -> None:
    server = serve(TELL, *PROXY)
    with connected(server) as client:
        for byte in header + opening():
            client.send(bytes([byte]))
        assert client.read_response().status == 101
        assert told(client) == CLIENT


@pytest.mark.parametrize(
    ("header", "is_the_proxys"),
    [
        (b"PROXY UNKNOWN\r\n", False),
        (b"PROXY UNKNOWN 1.1.1.1 2.2.2.2 1 2\r\n", False),
        (binary(OWN, 0, b""), True),
        (binary(OWN, TCP4, ADDRESSES), True),
        (binary(PROXIED, 0, b""), False),
    ],
)
def test_may_tell_nothing(serve: Serve, header: bytes, is_the_proxys: bool) -> None:
    server = serve(TELL, *PROXY)
    with connected(server) as client:
        client.send(header)
        assert address_seen(client) == own_address(client)
    # a client without a name must not give itself one
    with connected(server) as client:
        client.send(header)
        own = own_address(client)
        expected = ("203.0.113.7", 0) if is_the_proxys else own
        assert address_seen(client, "203.0.113.7") == expected


def test_may_name_another_proxy(serve: Serve) -> None:
    server = serve(TELL, *PROXY)
    with connected(server) as client:
        client.send(b"PROXY TCP4 10.0.0.3 10.0.0.1 5 6\r\n")
        assert address_seen(client, "1.1.1.1, 203.0.113.7") == ("203.0.113.7", 0)


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "no PROXY protocol header"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01", "no PROXY protocol header"),
        (b"PROXY TCP4 a\x1bb\r\n", r"malformed PROXY protocol line 'PROXY TCP4 a\\x1bb\\r'"),
        (b"PROXY TCP4 1.1.1.1 1.1.1.1 01 2\r\n", "malformed PROXY protocol line"),
        (b"PROXY UNKNOWN" + b"x" * 100, "PROXY protocol header of more than 107 bytes"),
        (SIGNATURE + b"\x21\x11\xff\xff", "PROXY protocol header of more than 4096 bytes"),
        (binary(0x22, TCP4, ADDRESSES), "PROXY protocol version and command 0x22"),
        (binary(PROXIED, TCP4, b"1234"), "PROXY protocol addresses of 4 bytes"),
    ],
)
def test_without_a_good_one_the_connection_is_closed(
    serve: Serve, sent: bytes, reason: str
) -> None:
    server = serve(TELL, *PROXY)
    with connected(server) as client:
        client.send(sent)
        assert client.read_to_end() == b""
    server.log.wait_for(
        rf"\[WARNING\] .*Connection of {LOCAL} closed: {reason}.* \(--proxy-protocol\)$"
    )


@pytest.mark.parametrize("split", [False, True])
def test_one_that_is_cut_short(serve: Serve, split: bool) -> None:
    server = serve(TELL, *PROXY)
    with connected(server) as client:
        client.send(LINE[:4])
        if split:
            client.send(LINE[4:9])
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_to_end() == b""
    server.log.wait_for(f"Connection of {LOCAL} closed: PROXY protocol header cut short")


def test_many_bad_ones_are_one_line(serve: Serve) -> None:
    server = serve(TELL, *PROXY)
    for _ in range(20):
        with connected(server) as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            assert client.read_to_end() == b""
    with connected(server) as client:
        client.send(LINE)
        assert address_seen(client) == CLIENT
    server.log.wait_for(r"\(--proxy-protocol\)")
    server.kill()
    assert server.log.text().count("(--proxy-protocol)") == 1


@pytest.mark.parametrize("sent", [b"", LINE[:9], BINARY[:14], LINE])
def test_has_no_more_time_than_a_head(serve: Serve, sent: bytes) -> None:
    server = serve(TELL, *PROXY, "--head-timeout", "0.1")
    with connected(server) as client:
        client.send(sent)
        assert client.read_to_end() == b""


def test_from_others_none_is_expected_and_none_taken(serve: Serve) -> None:
    server = serve(TELL, *PROXY)
    with connected(server, "127.0.0.2") as client:
        assert address_seen(client) == own_address(client)
    with connected(server, "127.0.0.2") as client:
        client.send(LINE + b"\r\n")
        assert client.read_response().status == 400


def test_is_no_request_without_the_option(serve: Serve) -> None:
    server = serve(TELL, *TRUSTED)
    with connected(server) as client:
        client.send(LINE + b"\r\n")
        assert client.read_response().status == 400


def test_comes_before_tls(serve: Serve, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert(LOCAL).private_key_and_cert_chain_pem
    issued.write_to_path(str(tmp_path / "both.pem"))
    server = serve(TELL, *PROXY, "--ssl-certfile", str(tmp_path / "both.pem"))
    context = trusting(authority)
    for header, pieces in [(LINE, 1), (BINARY, 1), (LINE, len(LINE))]:
        with connected(server) as plain:
            size = len(header) // pieces
            for start in range(0, len(header), size):
                plain.send(header[start : start + size])
            wrapped = context.wrap_socket(plain.socket, server_hostname=LOCAL)
            with Client.over(wrapped, server.port) as client:
                assert address_seen(client) == CLIENT
    # with the ClientHello in the same packet
    with connected(server) as plain:
        plain.send(LINE + client_hello(context))
        # a record of the handshake (RFC 8446 5.1)
        assert plain.read(1) == b"\x16"
    server.log.wait_for("TLS handshake with 203.0.113.7 failed")
    with connected(server) as plain:
        plain.send(b"\x16\x03\x01\x00\x01x")
        assert plain.read_to_end() == b""
    server.log.wait_for(f"Connection of {LOCAL} closed: no PROXY protocol header")


def test_on_a_unix_socket(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
) -> None:
    write_handler("h", TELL)
    server = start_server(
        *("-w", "handlers", "--trusted-proxies", "unix", "--proxy-protocol"),
        listen=["--uds", str(tmp_path / "s")],
    )
    for pieces in ([LINE], [LINE[:7], LINE[7:]]):
        with socket.socket(socket.AF_UNIX) as plain:
            plain.settimeout(DEADLINE_SECONDS)
            plain.connect(str(tmp_path / "s"))
            with Client.over(plain) as client:
                for piece in pieces:
                    client.send(piece)
                assert address_seen(client) == CLIENT
    with socket.socket(socket.AF_UNIX) as plain:
        plain.settimeout(DEADLINE_SECONDS)
        plain.connect(str(tmp_path / "s"))
        with Client.over(plain) as client:
            client.send(b"GET / HTTP/1.1\r\n\r\n")
            assert client.read_to_end() == b""
    server.log.wait_for("Connection of a local peer closed: no PROXY protocol header")
