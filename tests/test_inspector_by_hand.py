"""What the inspector does to a connection: sending, closing, slowing down, and stopping."""

from concurrent.futures import ThreadPoolExecutor

import pytest

import fastwsh
import fastwsh.inspector
from conftest import CONTRACT_WAYS, Server
from fastwsh.testing import Connection, running_server
from inspector_servers import connect, page, server, servers, to_end
from inspector_support import Page
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Frame

__all__ = ["page", "server", "servers"]


@CONTRACT_WAYS
class TestByHand:
    def test_everything_that_is_sent_by_hand_reaches_the_client(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("text", id=number, data="grüße")
            assert client.read_frame() == Frame(TEXT, "grüße".encode())
            page.do("binary", id=number, data="00 ff")
            assert client.read_frame() == Frame(BINARY, b"\x00\xff")
            page.do("ping", id=number, data="hi")
            assert client.read_frame() == Frame(PING, b"hi")
            # a reserved opcode, in a frame that no server may send
            page.do("raw", id=number, data="83 02 68 69")
            assert client.read_frame() == Frame(3, b"hi")
            client.send_frame(TEXT, b"still there")
            assert client.read_frame() == Frame(TEXT, b"still there")
            page.watch("connection", id=number)
            page.wait(lambda: len(page.shown()) >= 6)
            by_hand = [record["by_hand"] for record in page.frames if "note" not in record]
            assert by_hand == [True, True, True, True, False, False]
            assert page.notes()[0] == "sent a text of 7 bytes"
            page.wait(lambda: f"#{number}: sent a ping of 2 bytes" in page.log)

    def test_a_close_by_hand_is_a_closing_handshake(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            with pytest.raises(RuntimeError):
                page.do("close", id=number, code=1005)
            page.do("close", id=number, code=4000, reason="by hand")
            frame = client.read_frame()
            assert (frame.opcode, frame.payload) == (CLOSE, b"\x0f\xa0by hand")
            client.send_close(4000)
            row = page.wait_for(number, lambda row: row["ended"] is not None)
            assert row["closed"] == [4000, "server"]
            with pytest.raises(RuntimeError, match="nothing can be sent any more"):
                page.do("text", id=number, data="late")

    def test_a_reset_ends_the_connection(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("reset", id=number)
            assert to_end(client) == b""
            assert page.wait_for(number, lambda row: row["ended"] is not None)["closed"][0] == 1006

    def test_a_half_close_ends_one_direction(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("half-close", id=number)
            assert client.read_to_end() == b""

    def test_a_stalled_connection_neither_sends_nor_receives(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("pace", id=number, rate=0)
            client.send_frame(TEXT, b"x" * 1000)
            client.send_frame(PING, b"?")
            page.do("text", id=number, data="by hand")
            row = page.wait_for(number, lambda row: row["waiting"] == len("by hand") + 2)
            assert (row["pace"], row["received"][0]) == (0, 0)
            assert not client.socket_has_ended_within(0.05)
            page.do("pace", id=number, rate=None)
            assert client.read_frame() == Frame(TEXT, b"by hand")
            assert client.read_frame() == Frame(TEXT, b"x" * 1000)
            assert client.read_frame() == Frame(PONG, b"?")
            assert page.wait_for(number, lambda row: row["waiting"] == 0)["pace"] is None
            client.send_frame(TEXT, b"again")
            assert client.read_frame() == Frame(TEXT, b"again")

    def test_a_client_that_ends_ends_a_stall(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("pace", id=number, rate=0)
            client.send_frame(TEXT, b"x" * 1000)
        row = page.wait_for(number, lambda row: row["ended"] is not None)
        assert row["closed"][0] == 1006

    def test_a_throttled_connection_trickles_to_its_end(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("pace", id=number, rate=400)
            client.send_frame(TEXT, b"x" * 200)
            assert page.wait_for(number, lambda row: row["waiting"] > 0)["pace"] == 400
            assert client.read_frame() == Frame(TEXT, b"x" * 200)
            client.send_close(1000)
            assert client.read_frame().opcode == CLOSE
            page.wait_for(number, lambda row: row["ended"] is not None)

    def test_the_message_of_a_drop_does_not_reach_the_handler(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("drop", id=number, count=2)
            client.send_frame(TEXT, b"one")
            assert client.read_frame() == Frame(TEXT, b"one")
            client.send_frame(TEXT, b"two")
            assert to_end(client) == b""
            row = page.wait_for(number, lambda row: row["ended"] is not None)
            assert row["received"][0] == 1
            page.watch("connection", id=number)
            page.wait(lambda: any("reset at this message" in note for note in page.notes()))


@pytest.mark.parametrize("receives", ["forever", "for a time"])
def test_a_server_that_stops_ends_stalls(receives: str):
    with running_server(inspect=0) as server:
        timeout = None if receives == "forever" else 60

        @server.handler("/echo")
        def echo(connection: Connection) -> None:
            while True:
                connection.send(connection.recv(timeout=timeout))

        assert server.inspector_url is not None
        with Page(server.inspector_url) as page:
            client = fastwsh.connect(server.url_for("/echo"))
            page.find("/echo")
            page.do("pace", id=1, rate=0)
            client.send("hello")
            with ThreadPoolExecutor() as executor:
                stopping = executor.submit(server.stop)
                # an echo may come before the close
                assert set(client) <= {"hello"}
                stopping.result()
            assert client.close_code == 1001
        server.take_errors()


def test_no_message_comes_between_the_fragments_of_the_handler(server: Server, page: Page):
    with server.connect() as client:
        number = connect(client, page, "/parts")
        assert client.read_frame().payload == b"one"
        with pytest.raises(RuntimeError, match="fragmented"):
            page.do("text", id=number, data="inside")
        page.do("ping", id=number)
        assert client.read_frame().opcode == PING
        client.send_frame(TEXT, b"go on")
        assert client.read_frame() == Frame(CONTINUATION, b"two")
        page.do("text", id=number, data="behind")
        assert client.read_frame() == Frame(TEXT, b"behind")
