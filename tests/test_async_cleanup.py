"""What a coroutine handler does once it knows that its connection ends is not cancelled."""

from pathlib import Path

import pytest

from async_support import Serve, coroutine, serve
from conftest import Server, StartServer
from usage import Usage, wait_for_usage
from wire import BINARY, CLOSE, PING, TEXT, Client, Frame, encode_frame

__all__ = ["serve"]

CATCHING = "import os, signal\nfrom pywebsocket3 import msgutil, stream\n"

# A connection of a pool, as database clients have them: its exit awaits.
POOL = """\
class Lent:
    async def __aenter__(self):
        return self
    async def __aexit__(self, *_):
        await asyncio.sleep(0.05)
        print("given back", flush=True)
"""

WAITS = "await asyncio.Event().wait()"

SAVES = "await asyncio.sleep(0.05)\nawait asyncio.sleep(0.05)\nprint('saved', flush=True)"


def indented(lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines.splitlines())


def leave(client: Client, way: str) -> None:
    if way == "close":
        client.send_close()
        assert client.read_frame().opcode == CLOSE
    elif way == "reset":
        client.reset()
    elif way == "close and end":
        client.send_close()
    client.close()


def saved(server: Server, *extra: str) -> None:
    for line in ("saved", *extra):
        server.out.wait_for(line)
    assert "cancelled" not in "\n".join(server.log.lines)


class TestAfterTheEndWasTold:
    @pytest.mark.parametrize("way", ["close", "close and end"])
    def test_a_loop_over_messages_has_ended(self, serve: Serve, way: str) -> None:
        server = serve(loop=coroutine(f"async for _ in ws:\n    pass\n{SAVES}"))
        with server.connect() as client:
            client.handshake("/loop")
            leave(client, way)
        saved(server)

    @pytest.mark.parametrize("way", ["end", "reset"])
    @pytest.mark.parametrize("part", ["finally", "except Exception"])
    def test_an_exception_is_seen_to(self, serve: Serve, way: str, part: str) -> None:
        lines = f"try:\n    async for _ in ws:\n        pass\n{part}:\n{indented(SAVES)}"
        server = serve(loop=coroutine(lines))
        with server.connect() as client:
            client.handshake("/loop")
            leave(client, way)
        saved(server)

    @pytest.mark.parametrize("way", ["close", "end", "reset"])
    def test_an_asynchronous_context_ends(self, serve: Serve, way: str) -> None:
        lines = "async with Lent():\n    async for _ in ws:\n        pass\nprint('left')"
        server = serve(lent=coroutine(lines, POOL))
        with server.connect() as client:
            client.handshake("/lent")
            leave(client, way)
        server.out.wait_for("given back")
        assert "cancelled" not in "\n".join(server.log.lines)

    @pytest.mark.parametrize(
        "call", ["close_connection()", "close_connection(4000, 'r', wait_response=False)"]
    )
    def test_the_handler_has_closed(self, serve: Serve, call: str) -> None:
        server = serve(closes=coroutine(f"await ws.{call}\n{SAVES}"))
        with server.connect() as client:
            client.handshake("/closes")
            assert client.read_frame().opcode == CLOSE
            client.send_close()
        saved(server)

    def test_a_send_has_failed(self, serve: Serve) -> None:
        lines = (
            "try:\n    while True:\n        await ws.send_message('x' * 9999)\n"
            f"except (OSError, msgutil.ConnectionTerminatedException):\n{indented(SAVES)}"
        )
        server = serve(sends=coroutine(lines, CATCHING))
        with server.connect() as client:
            client.handshake("/sends")
            client.read_frame()
            client.reset()
        saved(server)

    @pytest.mark.parametrize(
        ("data", "caught"),
        [
            ("83 80 00000000", "UnsupportedFrameException"),
            ("81 81 00000000 ff", "InvalidUTF8Exception"),
            ("81 01 61", "InvalidFrameException"),
        ],
    )
    def test_the_peer_has_broken_a_rule(self, serve: Serve, data: str, caught: str) -> None:
        before = f"{CATCHING}caught = (msgutil.ConnectionTerminatedException, "
        before += "msgutil.UnsupportedFrameException, msgutil.InvalidFrameException, "
        before += "stream.InvalidUTF8Exception)\n"
        lines = (
            "try:\n    await ws.receive_message()\nexcept caught as error:\n"
            f"    print(type(error).__name__, flush=True)\n{indented(SAVES)}"
        )
        server = serve(receives=coroutine(lines, before))
        with server.connect() as client:
            client.handshake("/receives")
            client.send(bytes.fromhex(data))
        saved(server, caught)

    def test_another_task_of_the_handler_was_told(self, serve: Serve) -> None:
        lines = (
            "async def read():\n    async for _ in ws:\n        pass\n"
            f"{indented(SAVES)}"
            "async with asyncio.TaskGroup() as group:\n    group.create_task(read())"
        )
        server = serve(tasks=coroutine(lines))
        with server.connect() as client:
            client.handshake("/tasks")
            leave(client, "close")
        saved(server)

    def test_the_handler_has_reset(self, serve: Serve) -> None:
        server = serve(resets=coroutine(f"request.connection.reset()\n{SAVES}"))
        with server.connect() as client:
            client.handshake("/resets")
            saved(server)


class TestBefore:
    def test_a_handler_that_has_not_been_told_is_cancelled_once(self, serve: Serve) -> None:
        lines = (
            "await ws.send_message('ready')\n"
            "try:\n    await asyncio.Event().wait()\n"
            f"finally:\n{indented(SAVES)}"
        )
        server = serve(waits=coroutine(lines))
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
        server.out.wait_for("saved")
        server.log.wait_for("Handler of /waits was cancelled: its client has gone")

    @pytest.mark.parametrize("way", ["end", "reset"])
    @pytest.mark.parametrize(
        "unread",
        [
            encode_frame(TEXT, b"text")[:4],
            encode_frame(TEXT, b"text", fin=False),
            encode_frame(TEXT, b"text", fin=False) + encode_frame(PING) + encode_frame(0, b"x")[:1],
            encode_frame(BINARY, bytes(100_000))[:-1],
        ],
        ids=["4 bytes", "fragment", "2 fragments", "100 kB"],
    )
    def test_half_a_message_keeps_no_handler(self, serve: Serve, way: str, unread: bytes) -> None:
        server = serve(waits=coroutine("await ws.send_message('ready')\n" + WAITS))
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
            client.send(unread)
            leave(client, way)
        server.log.wait_for("Handler of /waits was cancelled: its client has gone")

    def test_a_message_is_received_although_its_sender_has_gone(self, serve: Serve) -> None:
        lines = "await ws.send_message('ready')\nfor _ in range(50):\n"
        lines += "    await asyncio.sleep(0.01)\n"
        lines += "print(await ws.receive_message(), flush=True)"
        server = serve(works=coroutine(lines))
        with server.connect() as client:
            client.handshake("/works")
            assert client.read_frame() == Frame(TEXT, b"ready")
            client.send_frame(TEXT, b"last words")
        server.out.wait_for("last words")

    def test_nobody_waits_for_the_answer_after_a_reset(self, serve: Serve) -> None:
        server = serve(waits=coroutine("await ws.send_message('ready')\n" + WAITS))
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
            client.send_frame(TEXT, b"unread")
            client.reset()
        server.log.wait_for("Handler of /waits was cancelled: its client has gone")

    def test_a_cut_connection_keeps_no_handler(self, serve: Serve) -> None:
        lines = "await ws.send_message('ready')\n" + WAITS
        # the client does not answer the close frame
        server = serve("--idle-timeout", "0.3", "--close-timeout", "0.3", waits=coroutine(lines))
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
            client.send_frame(TEXT, b"unread")
            server.log.wait_for("Handler of /waits was cancelled")

    def test_what_is_no_end_leaves_the_watch_as_it_was(self, serve: Serve) -> None:
        lines = (
            "for mistake in (('x', True, True), (object(),)):\n"
            "    try:\n        await ws.send_message(*mistake)\n"
            "    except Exception as error:\n        print(type(error).__name__, flush=True)\n"
            "await ws.send_message('ready')\nawait asyncio.Event().wait()"
        )
        server = serve(waits=coroutine(lines))
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
        server.log.wait_for("Handler of /waits was cancelled: its client has gone")


def test_half_a_message_is_freed_without_the_collector(
    start_server: StartServer, handler_root: Path
) -> None:
    """A cancelled handler may be part of a cycle; what its client sent must not wait for that."""
    (handler_root / "patient_wsh.py").write_text(
        "import asyncio, gc\n"
        "gc.disable()\n"
        "async def web_socket_do_extra_handshake(request):\n    pass\n"
        "async def web_socket_transfer_data(request):\n"
        "    while True:\n"
        "        try:\n"
        "            await asyncio.wait_for(request.ws_stream.receive_message(), 0.01)\n"
        "        except asyncio.TimeoutError:\n"
        "            pass\n"
    )
    # glibc keeps twice the largest block that was ever freed, unless this size is set
    server = start_server("-w", "handlers", env={"MALLOC_MMAP_THRESHOLD_": str(128 << 10)})
    announced, sent = 25 << 20, 20 << 20
    before = Usage.of(server).memory_kib
    for _ in range(6):
        with server.connect() as client:
            client.handshake("/patient")
            client.send(b"\x82\xff" + announced.to_bytes(8) + bytes(4) + bytes(sent))
            client.reset()
    # none of them, but what the first connection imports
    wait_for_usage(server, lambda now: now.memory_kib < before + (sent >> 11))
