"""Whatever sizes TLS records, messages and reads have, every byte arrives and no connection ends.

A peer chooses how it cuts its bytes into records of up to 16 KiB (RFC 8446 5.1) and how many it
sends at once; rustls holds a part of them decrypted, the rest waits.
"""

import random
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trustme

import fastwsh
from client_support import accept_value
from conftest import ALL_WAYS, StartServer, WriteHandler
from echo_handlers import ECHO
from wire import DEADLINE_SECONDS, encode_frame

# Sizes around what is kept where: a record's least and most, the buffers of rustls and of reads.
SIZES = [1, 2, 5, 100, 1000, 1024, 2000, 4000, 8192, 16383, 16384]


def request(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


class Records:
    """TLS over a socket, whose records are as large as `write` is told."""

    def __init__(self, connection: socket.socket, tls: ssl.SSLContext, *, server: bool) -> None:
        self._socket = connection
        self.received = bytearray()
        # one thread may write while another one reads
        self._lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server else "localhost"
        self._tls = tls.wrap_bio(self._incoming, self._outgoing, server, name)
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self.send()
                self._receive()
            else:
                break
        self.send()

    def _receive(self) -> bool:
        data = self._socket.recv(65536)
        self.received += data
        with self._lock:
            self._incoming.write(data)
        return bool(data)

    def lengths(self) -> list[int]:
        """Return the lengths of the records in `received`, which is complete."""
        found, at = [], 0
        while at < len(self.received):
            found.append(int.from_bytes(self.received[at + 3 : at + 5], "big"))
            at += 5 + found[-1]
        return found

    def write(self, data: bytes, sizes: Callable[[], int]) -> None:
        """Put data into records, which wait for `send`."""
        while data:
            size = sizes()
            with self._lock:
                self._tls.write(data[:size])
            data = data[size:]

    def take(self) -> bytes:
        """Return what waits for `send`."""
        with self._lock:
            return self._outgoing.read()

    def send(self, data: bytes | None = None) -> None:
        self._socket.sendall(self.take() if data is None else data)

    def end_writing(self) -> None:
        """Put `close_notify` behind what waits for `send`."""
        with self._lock, suppress(ssl.SSLWantReadError):
            self._tls.unwrap()

    def read(self) -> bytes:
        while True:
            try:
                with self._lock:
                    return self._tls.read(65536)
            except ssl.SSLWantReadError:
                if not self._receive():
                    return b""

    def read_exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count and (more := self.read()):
            data += more
        return bytes(data)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, trustme.CA]:
    authority = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        path
    )
    return path, authority


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def opened(port: int, authority: trustme.CA) -> Iterator[Records]:
    with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as connection:
        records = Records(connection, client_context(authority), server=False)
        records.write(request("/echo"), lambda: 16384)
        records.send()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += records.read()
        assert head.startswith(b"HTTP/1.1 101 ")
        yield records


def messages(chance: random.Random) -> list[bytes]:
    """Some hundred messages, most of them small; 300 kB at least, which fills each buffer."""
    found: list[bytes] = []
    while sum(map(len, found)) < 300_000:
        largest = chance.choice([10, 200, 5000, 100_000])
        found.append(chance.randbytes(chance.randrange(largest)))
    return found


class TestServer:
    pytestmark = ALL_WAYS

    @pytest.fixture
    def port(
        self,
        start_server: StartServer,
        write_handler: WriteHandler,
        certificate: tuple[Path, trustme.CA],
    ) -> int:
        write_handler("echo", ECHO)
        path = certificate[0]
        return start_server("-w", "handlers", "--tls", "-k", path, "-c", path).port

    def test_many_messages_in_records_of_a_few_sizes(
        self, port: int, certificate: tuple[Path, trustme.CA]
    ):
        sizes = iter([2000, 16384, 2000, 1000, 16384, 4000])
        sent = [b"%03d" % number + b"x" * 97 for number in range(394)]
        with opened(port, certificate[1]) as records:
            records.write(
                b"".join(encode_frame(2, message) for message in sent), lambda: next(sizes, 16384)
            )
            records.send()
            echoed = b"".join(encode_frame(2, message, mask=None) for message in sent)
            assert records.read_exactly(len(echoed)) == echoed

    @pytest.mark.parametrize(("size", "count"), [(5, 1), (5_000, 1), (16_000, 1), (65_536, 5)])
    def test_header_and_payload_share_records(
        self, port: int, certificate: tuple[Path, trustme.CA], size: int, count: int
    ):
        with opened(port, certificate[1]) as records:
            records.received.clear()
            records.write(encode_frame(2, b"x" * size), lambda: 16384)
            records.send()
            echoed = encode_frame(2, b"x" * size, mask=None)
            assert records.read_exactly(len(echoed)) == echoed
            assert len(records.lengths()) == count

    @pytest.mark.parametrize("seed", range(6))
    def test_any_sizes(self, port: int, certificate: tuple[Path, trustme.CA], seed: int):
        chance = random.Random(seed)
        sent = messages(chance)
        sizes = chance.sample(SIZES, 4)
        with opened(port, certificate[1]) as records:
            writer = threading.Thread(target=self._write, args=(records, sent, sizes, chance))
            writer.start()
            echoed = b"".join(encode_frame(2, message, mask=None) for message in sent)
            assert records.read_exactly(len(echoed)) == echoed
            writer.join()

    @staticmethod
    def _write(
        records: Records, sent: list[bytes], sizes: list[int], chance: random.Random
    ) -> None:
        for message in sent:
            records.write(encode_frame(2, message), lambda: chance.choice(sizes))
            if chance.random() < 0.2:
                records.send()
        records.send()

    def test_records_that_come_in_parts(self, port: int, certificate: tuple[Path, trustme.CA]):
        """What is left behind a message is read when the rest has come, and not before."""
        with opened(port, certificate[1]) as other, opened(port, certificate[1]) as records:

            def look() -> None:
                """Let the server find out that there is nothing more to read."""
                other.write(encode_frame(1, b"x"), lambda: 16384)
                other.send()
                assert other.read_exactly(3) == encode_frame(1, b"x", mask=None)

            whole = [encode_frame(1, b"first"), encode_frame(1, b"second")]
            echoed = encode_frame(1, b"first", mask=None) + encode_frame(1, b"second", mask=None)
            for size in (4, 16384):
                cut, length = 0, 1
                while cut < length:
                    for frame in whole:
                        records.write(frame, partial(int, size))
                    data = records.take()
                    length = len(data)
                    for part in (data[:cut], data[cut:]):
                        records.send(part)
                        look()
                    assert records.read_exactly(len(echoed)) == echoed
                    # the many cuts of small records are like each other
                    cut += 1 if size > 4 else 5

    def test_the_end_comes_with_the_last_message(
        self, port: int, certificate: tuple[Path, trustme.CA]
    ):
        with opened(port, certificate[1]), opened(port, certificate[1]) as records:
            records.write(encode_frame(1, b"last"), lambda: 16384)
            records.end_writing()
            # TCP goes on, so that only `close_notify` tells of the end
            records.send()
            assert records.read_exactly(6) == encode_frame(1, b"last", mask=None)
            with suppress(ssl.SSLZeroReturnError, ssl.SSLSyscallError, ConnectionError):
                assert records.read() == b""

    def test_raw_reads(
        self,
        start_server: StartServer,
        write_handler: WriteHandler,
        certificate: tuple[Path, trustme.CA],
    ):
        write_handler(
            "raw",
            "def web_socket_do_extra_handshake(request):\n"
            "    count = 0\n"
            "    while count < 300_000:\n"
            "        count += len(request.connection.read(min(7001, 300_000 - count)))\n"
            "    request.connection.write(b'%d' % count)\n"
            "def web_socket_transfer_data(request):\n    pass\n",
        )
        path, authority = certificate
        port = start_server("-w", "handlers", "--tls", "-k", path, "-c", path).port
        with socket.create_connection(("127.0.0.1", port), DEADLINE_SECONDS) as connection:
            records = Records(connection, client_context(authority), server=False)
            chance = random.Random(1)
            sizes = iter(chance.choices(SIZES, k=100_000))
            records.write(request("/raw") + bytes(300_000), lambda: next(sizes))
            records.send()
            assert records.read() == b"300000"


@pytest.mark.parametrize("seed", range(4))
def test_client(certificate: tuple[Path, trustme.CA], seed: int):
    path, authority = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    chance = random.Random(seed)
    sent, sizes = messages(chance), chance.sample(SIZES, 4)

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            records = Records(connection, context, server=True)
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                head += records.read()
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", head, re.IGNORECASE)
            assert key is not None
            answer = (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept_value(key[1].decode())}\r\n\r\n"
            ).encode()
            frames = b"".join(encode_frame(2, message, mask=None) for message in sent)
            records.write(answer + frames, lambda: chance.choice(sizes))
            records.send()
            # the client's close frame
            assert records.read()
            records.write(encode_frame(8, b"", mask=None), lambda: 16384)
            records.send()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        url = f"wss://127.0.0.1:{listener.getsockname()[1]}/"
        ca_file = path.with_name("ca.pem")
        authority.cert_pem.write_to_path(ca_file)
        with fastwsh.connect(url, ca_file=ca_file) as client:
            for message in sent:
                assert client.recv() == message
        server.join(DEADLINE_SECONDS)
