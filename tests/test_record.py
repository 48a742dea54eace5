"""The recording proxy: bytes pass as they are, both ways, and what they mean is in the file."""

import socket
import threading
import zlib

import pytest

import fastwsh
from fastwsh.record.frame_finder import FrameFinder
from fastwsh.testing import har, running_server
from record_support import entries_of, recording
from wire import (
    ACCEPT,
    BINARY,
    CLOSE,
    CONTINUATION,
    DEADLINE_SECONDS,
    KEY,
    PING,
    PONG,
    TEXT,
    Client,
    Frame,
    encode_frame,
)

MASK = b"\x01\x02\x03\x04"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "session.har"


def shown(conversation):
    """What is recorded, in short: who, opcode, data."""
    return [
        ("c" if message.from_client else "s", message.opcode, message.data)
        for message in conversation.messages
    ]


# --- the opening handshake


def test_the_request_reaches_the_server_as_it_is_but_for_the_host(file):
    seen = []

    def script(peer):
        peer.answer()
        seen.append(peer.request)

    head = (
        "GET / HTTP/1.1\r\nhOST: 127.0.0.1:1\r\nX-Odd:   two  spaces \r\nUpgrade: WebSocket\r\n"
        f"Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13"
        "\r\nOrigin: http://a.example\r\nSec-WebSocket-Protocol: b,  a\r\nX-Odd: again\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=10, x-own; q=1\r\n"
        "\r\n"
    )
    with recording(file, script) as recorded:
        recorded.client.send(head.encode())
        assert recorded.client.read_response().status == 101
        assert recorded.client.read_to_end() == b""
    port = recorded.url.rsplit(":", 1)[1].rstrip("/")
    names = [name for name, _ in seen[0].headers]
    assert seen[0].status_line == "GET / HTTP/1.1"
    assert names == [line.partition(":")[0] for line in head.split("\r\n")[1:-2]]
    assert seen[0].header("Host") == f"127.0.0.1:{port}"
    assert seen[0].header("Sec-WebSocket-Key") == KEY
    assert seen[0].header("Sec-WebSocket-Extensions").endswith("x-own; q=1")
    assert [value for name, value in recorded.conversation.request_headers if name == "X-Odd"] == [
        "two  spaces",
        "again",
    ]


def test_the_answer_reaches_the_client_byte_by_byte(file):
    answer = (
        b"HTTP/1.1 101 Web Socket Protocol Handshake\r\nServer: old/1.0\r\nuPgrade:WebSocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Accept: wrong\r\nSet-Cookie: a=1\r\n"
        b"Set-Cookie: b=2\r\nSec-WebSocket-Protocol: never-offered\r\n\r\n"
    )

    def script(peer):
        peer.read_request()
        peer.send(answer + encode_frame(TEXT, b"at once", mask=None))

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_to_end() == answer + b"\x81\x07at once"
    assert recorded.conversation.status_text == "Web Socket Protocol Handshake"
    assert recorded.conversation.subprotocol == "never-offered"
    assert shown(recorded.conversation) == [("s", TEXT, "at once")]


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\nX-Why: a\r\n\r\nno, n",
        b"HTTP/1.1 503 N\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\nWWW-Authenticate: Basic\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: /there\r\nConnection: close\r\n\r\nuntil the end",
        b"HTTP/1.0 404 Not Found\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 426 No\r\nContent-Length: 2\r\n\r\nno",
        (
            b"HTTP/1.1 400 No\r\nVia: HTTP/1.1 a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nno\r\n0\r\n\r\n"
        ),
    ],
)
def test_a_refusal_passes_as_it_is(file, answer):
    def script(peer):
        peer.read_request()
        peer.send(answer)

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_to_end() == answer
    status = int(answer[answer.rfind(b"\nHTTP/") + 1 :].split()[1])
    assert recorded.conversation.status == status
    assert recorded.conversation.messages == []
    bodies = {403: b"no, n", 503: b"abcde", 302: b"until the end", 404: b"<html>"}
    bodies |= {400: b"no", 426: b"no"}
    assert recorded.conversation.body == bodies.get(status, recorded.conversation.body)


def test_informational_answers_pass_before_the_101(file):
    def script(peer):
        peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        peer.answer()

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        statuses = [recorded.client.read_response().status for _ in range(3)]
    assert statuses == [100, 103, 101]


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"HTTP/1.1 101 Swi",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"\x15\x03",
        b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 Swi",
    ],
)
def test_what_is_no_answer_passes_as_well(file, garbage):
    def script(peer):
        peer.read_request()
        peer.send(garbage)

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_to_end() == garbage
    assert recorded.conversation.status == 0


def test_a_server_that_is_not_there_is_a_bad_gateway(file):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with running_server() as server:
        server.record(f"ws://127.0.0.1:{port}/", file)
        with pytest.raises(fastwsh.ConnectRefusedError) as raised:
            fastwsh.connect(server.url)
        (error,) = server.take_errors()
    assert f"ws://127.0.0.1:{port}/ cannot be recorded: 127.0.0.1:{port} refused" in str(error)
    assert raised.value.status == 502
    assert b"refused the connection; is the server running" in raised.value.body
    assert har.read(file)[0].status == 0


def test_only_websocket_connections_are_passed_on(file):
    with running_server() as server, Client(server.port) as client:
        server.record("ws://127.0.0.1:1/", file)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 426
    assert har.read(file) == []


@pytest.mark.parametrize(
    ("asked", "url", "path"),
    [
        ("/", "/feed?a=1", "/feed?a=1"),
        ("/?b=2", "/feed?a=1", "/feed?b=2"),
        ("/other", "/feed?a=1", "/other"),
        ("/feed/deep?x=%20", "", "/feed/deep?x=%20"),
        ("/", "", "/"),
    ],
)
def test_a_path_leads_to_the_same_path_and_the_root_to_that_of_the_url(file, asked, url, path):
    with running_server() as real, running_server() as server:
        for served in ("/", "/feed", "/other", "/feed/deep"):
            real.handler(served)(lambda connection: connection.send(connection.resource))
        server.record(f"ws://127.0.0.1:{real.port}{url}", file)
        with fastwsh.connect(f"ws://127.0.0.1:{server.port}{asked}") as connection:
            assert connection.recv(20) == path
    assert har.read(file)[0].resource == path


# --- frames


def test_frames_pass_as_they_are(file):
    """Fragments, control frames among them, reserved bits, long lengths, keys of masks."""
    from_client = [
        encode_frame(TEXT, b"one", fin=False, mask=MASK),
        encode_frame(PING, b"between", mask=b"\0\0\0\0"),
        encode_frame(CONTINUATION, b"", fin=False),
        encode_frame(CONTINUATION, b" two"),
        encode_frame(BINARY, b"\xff\0", mask=MASK),
        encode_frame(TEXT, b"x", length_octets=8),
        encode_frame(0x3, b"reserved opcode"),
        encode_frame(TEXT, b"bits", rsv=7),
        encode_frame(BINARY, bytes(range(256)) * 1000),
    ]
    from_server = [
        encode_frame(BINARY, b"a", fin=False, mask=None),
        encode_frame(CONTINUATION, b"b", mask=None),
        encode_frame(PONG, b"nobody asked", mask=None),
        encode_frame(TEXT, b"y" * 126, length_octets=8, mask=None),
        encode_frame(TEXT, b"", mask=None),
        encode_frame(BINARY, b"z" * 300_000, mask=None),
    ]
    client_bytes, server_bytes = b"".join(from_client), b"".join(from_server)
    came = []

    def script(peer):
        peer.answer()
        peer.send(server_bytes)
        came.append(peer.read(len(client_bytes)))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send(client_bytes)
        assert recorded.client.read(len(server_bytes)) == server_bytes
        assert recorded.client.read_to_end() == b""
    assert came == [client_bytes]
    messages = recorded.conversation.messages
    assert [message.data for message in messages if message.from_client] == [
        b"between",
        "one two",
        b"\xff\0",
        "x",
        b"reserved opcode",
        "bits",
        bytes(range(256)) * 1000,
    ]
    assert [message.data for message in messages if not message.from_client] == [
        b"ab",
        b"nobody asked",
        "y" * 126,
        "",
        b"z" * 300_000,
    ]
    fragments = [message.fragments for message in messages if message.fragments]
    assert sorted(fragments) == [(1, 1), (3, 0, 4)]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 65537, 131072, 1_000_000])
def test_frames_of_every_length_pass(file, size):
    frame = encode_frame(BINARY, b"\xa5" * size)
    came = []

    def script(peer):
        peer.answer()
        came.append(peer.read(len(frame)))
        peer.send(encode_frame(BINARY, b"\x5a" * size, mask=None))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send(frame)
        assert recorded.client.read_frame() == Frame(BINARY, b"\x5a" * size)
    assert came == [frame]
    assert [len(one.data) for one in recorded.conversation.messages] == [size, size]


def test_the_wrong_masking_passes_and_is_understood(file):
    came = []

    def script(peer):
        peer.answer()
        came.append(peer.read_frame())
        peer.send(encode_frame(TEXT, b"masked", mask=MASK))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send(encode_frame(TEXT, b"bare", mask=None))
        assert recorded.client.read_frame() == Frame(TEXT, b"masked", mask=MASK)
    assert came == [Frame(TEXT, b"bare")]
    assert shown(recorded.conversation) == [("c", TEXT, "bare"), ("s", TEXT, "masked")]


def test_what_is_no_frame_passes_all_the_same(file):
    # a length of 2**63 and more
    nonsense = b"\x82\x7f" + b"\xff" * 8 + b"whatever"
    with recording(file, lambda peer: (peer.answer(), peer.send(nonsense))) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_to_end() == nonsense


def test_compressed_messages_pass_as_they_are_and_are_recorded_inflated(file):
    deflate = zlib.compressobj(wbits=-15)
    texts = [b"again and again", b"again and again", b""]
    packed = [
        (deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH))[:-4] or b"\0" for text in texts
    ]
    frames = [
        encode_frame(TEXT, packed[0][:3], rsv=4, fin=False, mask=None),
        encode_frame(CONTINUATION, packed[0][3:], mask=None),
        encode_frame(TEXT, packed[1], rsv=4, mask=None),
        encode_frame(TEXT, b"plain", mask=None),
    ]

    def script(peer):
        peer.answer([("Sec-WebSocket-Extensions", "permessage-deflate")])
        peer.send(b"".join(frames))

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        recorded.client.read_response()
        assert recorded.client.read_to_end() == b"".join(frames)
    said = [message.data for message in recorded.conversation.messages]
    assert said == ["again and again", "again and again", "plain"]


def test_what_cannot_be_inflated_is_recorded_as_it_came(file):
    def script(peer):
        peer.answer([("Sec-WebSocket-Extensions", "permessage-deflate")])
        peer.send(encode_frame(BINARY, b"\xff\xff\xff", rsv=4, mask=None))

    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        recorded.client.read_response()
        recorded.client.read_to_end()
    assert shown(recorded.conversation) == [("s", BINARY, b"\xff\xff\xff")]


def test_a_text_that_is_not_utf8_is_kept(file):
    with recording(
        file, lambda peer: (peer.answer(), peer.send(encode_frame(TEXT, b"\xff", mask=None)))
    ) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_to_end() == b"\x81\x01\xff"
    assert shown(recorded.conversation) == [("s", TEXT, b"\xff")]


# --- the end


@pytest.mark.parametrize(
    "body", [b"", b"\x03\xe8", b"\x0f\xa1so long", b"\x03\xed", b"\x00", b"\x03\xe8\xff"]
)
def test_close_frames_pass_both_ways(file, body):
    came = []

    def script(peer):
        peer.answer()
        peer.send(encode_frame(CLOSE, body, mask=None))
        came.append(peer.read_frame().payload)

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_frame() == Frame(CLOSE, body)
        recorded.client.send_frame(CLOSE, b"\x0f\xa2mine")
        assert recorded.client.read_to_end() == b""
    assert came == [b"\x0f\xa2mine"]
    assert shown(recorded.conversation) == [("s", CLOSE, body), ("c", CLOSE, b"\x0f\xa2mine")]
    assert recorded.conversation.end is None


def test_a_client_that_goes_is_seen_to_go_by_the_server(file):
    def script(peer):
        peer.answer()
        assert peer.read_frame().payload == b"last"
        assert peer.read_to_end() == b""

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"last")
        recorded.client.close()
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (True, False)


def test_half_a_connection_goes_on(file):
    """A client that has ended its direction still gets what the server says."""

    def script(peer):
        peer.answer()
        assert peer.read_to_end() == b""
        peer.send(encode_frame(TEXT, b"still here", mask=None))

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.socket.shutdown(socket.SHUT_WR)
        assert recorded.client.read_frame().payload == b"still here"
        assert recorded.client.read_to_end() == b""
    assert recorded.conversation.end.by_client is True


def test_a_server_that_goes_is_seen_to_go_by_the_client(file):
    with recording(file, lambda peer: peer.answer()) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.socket.recv(1) == b""
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (False, False)


def test_the_reset_of_a_server_is_one_for_the_client(file):
    def script(peer):
        peer.answer()
        peer.read_frame()
        peer.reset()

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"x")
        with pytest.raises(ConnectionResetError):
            recorded.client.socket.recv(1)
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (False, True)


def test_a_reset_within_a_refusal_is_one_for_the_client_and_the_refusal_is_recorded(file):
    def script(peer):
        peer.read_request()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\nshort")
        # until the proxy has passed it on
        assert has_it.wait(DEADLINE_SECONDS)
        peer.reset()

    has_it = threading.Event()
    with recording(file, script) as recorded:
        recorded.client.send_request("/")
        assert recorded.client.read_response().status == 403
        assert recorded.client.read(5) == b"short"
        has_it.set()
        with pytest.raises(ConnectionResetError):
            recorded.client.read(1)
    assert (recorded.conversation.status, recorded.conversation.body) == (403, b"")


def test_the_reset_of_a_client_is_one_for_the_server(file):
    def script(peer):
        peer.answer()
        peer.read_frame()
        with pytest.raises(ConnectionResetError):
            peer.socket.recv(1)

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"x")
        recorded.client.reset()
    end = recorded.conversation.end
    assert (end.by_client, end.was_reset) == (True, True)


def test_bytes_pass_as_they_come(file):
    """Part of a frame is not held back until the rest has come."""
    whole = encode_frame(TEXT, b"slow", mask=None)
    begun = threading.Event()

    def script(peer):
        peer.answer()
        peer.send(whole[:3])
        assert begun.wait(DEADLINE_SECONDS)
        peer.send(whole[3:])

    with recording(file, script) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read(3) == whole[:3]
        begun.set()
        assert recorded.client.read_to_end() == whole[3:]
    assert shown(recorded.conversation) == [("s", TEXT, "slow")]


def test_frames_are_found_however_the_bytes_are_cut(file):
    frames = [
        encode_frame(TEXT, b"a"),
        encode_frame(PING),
        encode_frame(BINARY, b"b" * 300, mask=None),
        encode_frame(BINARY, b"c" * 70_000),
        encode_frame(CLOSE, b"", mask=None),
    ]
    data = b"".join(frames)
    for size in (1, 2, 3, 7, 1000, len(data)):
        finder = FrameFinder(is_masked=True)
        found = [
            frame
            for start in range(0, len(data), size)
            for frame in finder.feed(data[start : start + size])
        ]
        assert [(one.opcode, len(one.payload)) for one in found] == [
            (TEXT, 1), (PING, 0), (BINARY, 300), (BINARY, 70_000), (CLOSE, 0),
        ]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 5, 9])
def test_part_of_a_frame_passes_before_the_end(file, count):
    part = encode_frame(TEXT, b"never whole", mask=None)[:count]
    with recording(file, lambda peer: (peer.answer(), peer.send(part))) as recorded:
        recorded.client.handshake("/")
        assert recorded.client.read_to_end() == part
    assert recorded.conversation.messages == []
    assert recorded.conversation.end.by_client is False


def test_the_end_of_the_recording_cuts_what_is_open(file):
    with recording(file, lambda peer: (peer.answer(), peer.read_to_end())) as recorded:
        recorded.client.handshake("/")
        recorded.client.send_frame(TEXT, b"x")
        recorded.client.send_frame(PING, b"")
    assert [one.data for one in har.read(file)[0].messages][:1] in ([], ["x"])


# --- several connections, and the file


def test_several_connections_of_one_file_are_kept_apart(file):
    with running_server() as real, running_server() as server:
        real.handler("/a")(lambda one: [one.send(f"a{message}") for message in one])
        real.handler("/b")(lambda one: [one.send(f"b{message}") for message in one])
        server.record(real.url, file)
        with (
            fastwsh.connect(server.url_for("/a")) as first,
            fastwsh.connect(server.url_for("/b")) as second,
        ):
            for number in range(20):
                for connection in (first, second):
                    connection.send(str(number))
                    connection.recv(20)
        # before the end, a connection is in several entries
        assert len(entries_of(file)) > 2
        assert [len(one.messages) for one in har.read(file)] == [42, 42]
    assert [entry["request"]["url"] for entry in entries_of(file)] == [
        real.url_for("/a"),
        real.url_for("/b"),
    ]
    for conversation, letter in zip(har.read(file), "ab", strict=True):
        replies = [one.data for one in conversation.messages if one.opcode == TEXT][1::2]
        assert replies == [f"{letter}{number}" for number in range(20)]


def test_times_are_those_at_which_messages_passed(file):
    with running_server() as real, running_server() as server:
        real.handler("/")(lambda one: [one.send(message) for message in one])
        server.record(real.url, file)
        with fastwsh.connect(server.url) as connection:
            for _ in range(3):
                connection.send("x")
                connection.recv(20)
    conversation = har.read(file)[0]
    times = [conversation.started, *(message.time for message in conversation.messages)]
    assert times == sorted(times)


def test_paths_with_a_handler_are_not_passed_on(file):
    with running_server() as server:
        server.handler("/own")(lambda connection: connection.send("own"))
        server.record("ws://127.0.0.1:1/", file)
        with fastwsh.connect(server.url_for("/own")) as connection:
            assert connection.recv(20) == "own"
    assert har.read(file) == []


def test_the_answer_belongs_to_the_key_of_the_client(file):
    with recording(file, lambda peer: peer.answer()) as recorded:
        assert recorded.client.handshake("/").header("Sec-WebSocket-Accept") == ACCEPT


def test_unix_sockets_are_recorded(file, tmp_path):
    place = tmp_path / "s"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(place))
    listener.listen()
    with running_server() as server, listener:
        server.record(f"ws+unix://{place}:/there", file)
        with Client(server.port) as client:
            client.send_request("/")
            connected, _ = listener.accept()
            with connected:
                assert connected.recv(4096).startswith(b"GET /there HTTP/1.1\r\nHost: localhost")


def test_servers_with_tls_are_recorded_and_credentials_of_the_url_are_sent(file, tmp_path):
    trustme = pytest.importorskip("trustme")
    assert trustme
    from fastwsh.testing import make_tls_files

    with running_server(tls=make_tls_files(tmp_path, "127.0.0.1")) as real:
        real.handler("/")(lambda one: one.send(one.headers["Authorization"]))
        url = real.url.replace("://", "://me:a%20b@")
        with running_server() as server:
            server.record(url, file, ca_file=real.ca_file)
            with fastwsh.connect(server.url) as connection:
                assert connection.recv(20) == "Basic bWU6YSBi"
    text = file.read_text()
    assert "bWU6YSBi" not in text.replace('"data":"Basic bWU6YSBi"', "")
    assert "me:a" not in text


@pytest.mark.parametrize(
    "url", ["http://a.example/", "example.org", "wss:///path", "", "ws+unix:", "ftp://x"]
)
def test_a_url_that_cannot_be_recorded_is_refused_at_once(file, url):
    with running_server() as server, pytest.raises(fastwsh.ConnectArgumentError):
        server.record(url, file)
