"""Coroutines compress large messages in steps: what others do meanwhile, the order, the ends."""

import asyncio
import random
import zlib

import pytest

import fastwsh
from async_support import ECHO_ASYNC, SHARED, Serve, ask, coroutine, plain, serve
from conftest import StartServer, WriteHandler
from wire import BINARY, CLOSE, CONTINUATION, DEADLINE_SECONDS, PING, TEXT, Client, Frame

__all__ = ["serve"]

DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]
MIB = 1 << 20
# hard to compress, and the same in the handler and in the test
LARGE = f"import random\nlarge = random.Random(7692).randbytes(4 * {MIB})\n"
BYTES = random.Random(7692).randbytes(4 * MIB)


class Inflater:
    """Reads whole messages of one connection, with one window for all."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stream = zlib.decompressobj(-15)

    def read(self) -> bytes:
        message, frame = b"", Frame(TEXT, b"", fin=False)
        is_first = True
        while not frame.fin:
            frame = self._client.read_frame()
            assert (frame.opcode == CONTINUATION) is not is_first
            assert frame.rsv == (4 if is_first else 0)
            message += frame.payload
            is_first = False
        return self._stream.decompress(message + b"\x00\x00\xff\xff")


def test_other_tasks_run_while_a_message_is_compressed(serve: Serve) -> None:
    lines = (
        "turns = 0\n"
        "async def turn():\n"
        "    nonlocal turns\n"
        "    while True:\n        await asyncio.sleep(0)\n        turns += 1\n"
        "task = asyncio.create_task(turn())\n"
        "await asyncio.sleep(0)\n"
        "before = turns\n"
        "await ws.send_message(large)\n"
        "meanwhile = turns - before\n"
        "task.cancel()\n"
        "await ws.send_message(str(meanwhile))"
    )
    server = serve(turns=coroutine(lines, LARGE))
    with server.connect() as client:
        client.handshake("/turns", DEFLATE)
        inflater = Inflater(client)
        assert inflater.read() == BYTES
        # the slices end by a clock, so that a slow machine takes more turns, and a quick one fewer
        assert int(inflater.read()) >= 4


def test_messages_come_in_the_order_of_their_calls(serve: Serve) -> None:
    lines = (
        "await asyncio.gather(*(\n"
        "    ws.send_message(message)\n"
        "    for message in (\n"
        "        large, 'one', large[::-1], b'', 'two', large[:70_000], 'a' * 200_000\n"
        "    )\n"
        "))"
    )
    server = serve(order=coroutine(lines, LARGE))
    with server.connect() as client:
        client.handshake("/order", DEFLATE)
        inflater = Inflater(client)
        for expected in (BYTES, b"one", BYTES[::-1], b"", b"two", BYTES[:70_000], b"a" * 200_000):
            assert inflater.read() == expected


@pytest.mark.parametrize("extension", [[], DEFLATE], ids=["plain", "deflate"])
def test_many_messages_come_in_the_order_of_their_calls(
    serve: Serve, extension: list[tuple[str, str]]
) -> None:
    lines = "await asyncio.gather(*(ws.send_message(str(number)) for number in range(1000)))"
    server = serve(order=coroutine(lines))
    with server.connect() as client:
        client.handshake("/order", extension)
        inflater = Inflater(client)
        for number in range(1000):
            message = inflater.read() if extension else client.read_frame().payload
            assert message == b"%d" % number


def test_what_is_small_enough_to_be_sent_uncompressed_waits_as_well(
    start_server: StartServer, write_handler: WriteHandler
) -> None:
    lines = "await asyncio.gather(ws.send_message(large), ws.send_message('one'))"
    write_handler("order", coroutine(lines, LARGE))
    server = start_server("-w", "handlers", "--deflate-min-bytes", "100")
    with server.connect() as client:
        client.handshake("/order", DEFLATE)
        assert Inflater(client).read() == BYTES
        assert client.read_frame() == Frame(TEXT, b"one")


@pytest.mark.parametrize("turns", [0, 1, 3])
@pytest.mark.parametrize("is_first", [True, False], ids=["first", "behind another"])
def test_a_cancelled_message_leaves_the_others_whole(
    serve: Serve, turns: int, is_first: bool
) -> None:
    lines = (
        "await ws.send_message(large[:1000])\n"
        f"other = asyncio.create_task(ws_send(ws, large[::-1])) if {not is_first} else None\n"
        "await asyncio.sleep(0)\n"
        "task = asyncio.create_task(ws_send(ws, large))\n"
        f"for _ in range({turns}):\n    await asyncio.sleep(0)\n"
        "task.cancel()\n"
        "try:\n    await task\nexcept asyncio.CancelledError:\n    pass\n"
        # what the cancelled message has as well: it must not be referred to
        "await ws.send_message(large[:50_000])\n"
        "if other is not None:\n    await other\n"
        "await ws.send_message(large[:200_000])"
    )
    helper = "async def ws_send(ws, message):\n    await ws.send_message(message)\n"
    server = serve(cancels=coroutine(lines, LARGE + helper))
    with server.connect() as client:
        client.handshake("/cancels", DEFLATE)
        inflater = Inflater(client)
        assert inflater.read() == BYTES[:1000]
        if not is_first:
            assert inflater.read() == BYTES[::-1]
        assert inflater.read() == BYTES[:50_000]
        assert inflater.read() == BYTES[:200_000]


def test_a_piece_that_is_cancelled_leaves_its_message_whole(serve: Serve) -> None:
    lines = (
        "await ws.send_message(large[:1000], end=False)\n"
        "task = asyncio.create_task(ws_send(ws, large))\n"
        "for _ in range(3):\n    await asyncio.sleep(0)\n"
        "task.cancel()\n"
        "await asyncio.wait([task])\n"
        "await ws.send_message(large[:50_000])\n"
        "await ws.send_message(large[:50_000])"
    )
    helper = "async def ws_send(ws, piece):\n    await ws.send_message(piece, end=False)\n"
    server = serve(cancels=coroutine(lines, LARGE + helper))
    with server.connect() as client:
        client.handshake("/cancels", DEFLATE)
        inflater = Inflater(client)
        assert inflater.read() == BYTES[:1000] + BYTES[:50_000]
        assert inflater.read() == BYTES[:50_000]


def test_messages_that_are_cancelled_are_freed(serve: Serve) -> None:
    lines = (
        "import gc\n"
        "for number in range(200):\n"
        "    message = large + b'%d' % number\n"
        "    task = asyncio.create_task(ws_send(ws, message))\n"
        "    await asyncio.sleep(0)\n"
        "    await asyncio.sleep(0)\n"
        "    task.cancel()\n"
        "    await asyncio.wait([task])\n"
        "with open('/proc/self/status') as status:\n"
        "    peak = next(int(line.split()[1]) for line in status if line.startswith('VmHWM'))\n"
        "await ws.send_message(str(peak))"
    )
    helper = "async def ws_send(ws, message):\n    await ws.send_message(message)\n"
    server = serve(frees=coroutine(lines, LARGE + helper))
    with server.connect() as client:
        client.handshake("/frees", DEFLATE)
        # in KiB; all of them would be 800 MiB
        assert int(Inflater(client).read()) < 300_000


@pytest.mark.parametrize("code", [1000, 4321])
def test_a_close_comes_after_the_messages_before_it(serve: Serve, code: int) -> None:
    lines = (
        "sending = asyncio.gather(ws.send_message(large), ws.send_message('one'))\n"
        "await asyncio.sleep(0)\n"
        f"await ws.close_connection({code}, 'done')\n"
        "await sending"
    )
    server = serve(closes=coroutine(lines, LARGE))
    with server.connect() as client:
        client.handshake("/closes", DEFLATE)
        inflater = Inflater(client)
        assert inflater.read() == BYTES
        assert inflater.read() == b"one"
        assert client.read_frame().close_code == code
        client.send_close(code)
        assert client.read_to_end() == b""


def test_a_handler_that_returns_closes_after_its_tasks_messages(serve: Serve) -> None:
    lines = "shared['task'] = asyncio.ensure_future(ws.send_message(large))\nawait asyncio.sleep(0)"
    server = serve(returns=coroutine(lines, LARGE + SHARED))
    with server.connect() as client:
        client.handshake("/returns", DEFLATE)
        assert Inflater(client).read() == BYTES
        assert client.read_frame().close_code == 1000


def test_nothing_follows_the_answer_to_a_close(serve: Serve) -> None:
    lines = (
        "receiving = asyncio.create_task(receive(ws))\n"
        "await ws.send_message('ready')\n"
        "try:\n    while True:\n        await ws.send_message(large)\n"
        "except Exception as error:\n    print('told', type(error).__name__, flush=True)\n"
        "print('received', await receiving, flush=True)"
    )
    helper = "async def receive(ws):\n    return await ws.receive_message()\n"
    server = serve(ends=coroutine(lines, LARGE + helper))
    with server.connect() as client:
        client.handshake("/ends", DEFLATE)
        assert Inflater(client).read() == b"ready"
        client.send_close(1000)
        while (frame := client.read_frame()).opcode != CLOSE:
            assert frame.opcode == BINARY
        assert frame.close_code == 1000
        assert client.read_to_end() == b""
        server.out.wait_for("told BadOperationException")
        server.out.wait_for("received None")


def test_a_reset_ends_the_send(serve: Serve) -> None:
    lines = (
        "try:\n    while True:\n        await ws.send_message(large)\n"
        "except ConnectionError:\n    print('told', flush=True)"
    )
    server = serve(ends=coroutine(lines, LARGE), echo=ECHO_ASYNC)
    with server.connect() as client:
        client.handshake("/ends", DEFLATE)
        client.reset()
    server.out.wait_for("told")
    assert ask(server, "/echo", b"x") == [b"x"]


def test_pings_pass_between_the_steps(serve: Serve) -> None:
    lines = (
        "sending = asyncio.ensure_future(ws.send_message(large))\n"
        "await asyncio.sleep(0)\n"
        "await ws.send_ping(b'now')\n"
        "await sending"
    )
    server = serve(pings=coroutine(lines, LARGE))
    with server.connect() as client:
        client.handshake("/pings", DEFLATE)
        assert client.read_frame() == Frame(PING, b"now")
        assert Inflater(client).read() == BYTES


@pytest.mark.parametrize("place", ["threads", "hub"])
def test_a_thread_sends_after_what_a_coroutine_has_begun(serve: Serve, place: str) -> None:
    lines = (
        "shared['stream'] = ws.blocking\n"
        "sending = asyncio.ensure_future(ws.send_message(large))\n"
        "await asyncio.sleep(0)\n"
        "await asyncio.to_thread(shared['stream'].send_message, 'from a thread')\n"
        "await sending\n"
        "shared['stream'].send_message('from the loop')\n"
        "await ws.receive_message()"
    )
    other = plain("shared['stream'].send_message('from elsewhere')", SHARED)
    server = serve("--concurrency", place, sends=coroutine(lines, LARGE + SHARED), other=other)
    with server.connect() as client, server.connect() as second:
        client.handshake("/sends", DEFLATE)
        inflater = Inflater(client)
        assert inflater.read() == BYTES
        assert inflater.read() == b"from a thread"
        assert inflater.read() == b"from the loop"
        second.handshake("/other")
        assert inflater.read() == b"from elsewhere"


def test_a_hook_that_sends_in_the_middle_comes_after_it(serve: Serve) -> None:
    lines = (
        "request.on_ping_handler = lambda of, body: ws.blocking.send_message('hook')\n"
        "receiving = asyncio.ensure_future(ws.receive_message())\n"
        "while True:\n"
        "    await ws.send_message(large)\n"
        "    if receiving.done():\n        break\n"
        "await ws.send_message('end')"
    )
    server = serve(hooks=coroutine(lines, LARGE))
    with server.connect() as client:
        client.handshake("/hooks", DEFLATE)
        inflater = Inflater(client)
        client.send_frame(PING, b"")
        while (message := inflater.read()) != b"hook":
            assert message == BYTES
        client.send_frame(TEXT, b"enough")
        while (message := inflater.read()) != b"end":
            assert message == BYTES


def test_a_message_that_may_not_be_sent_now_leaves_the_others_whole(serve: Serve) -> None:
    lines = (
        "await ws.send_message('begin', end=False)\n"
        "for wrong in (large, large[:1000]):\n"
        "    try:\n        await ws.send_message(wrong)\n"
        "    except Exception as error:\n        print('told', type(error).__name__, flush=True)\n"
        "await ws.send_message(' end')\n"
        "await ws.send_message(large[:1000])"
    )
    server = serve(mixes=coroutine(lines, LARGE))
    with server.connect() as client:
        client.handshake("/mixes", DEFLATE)
        inflater = Inflater(client)
        assert inflater.read() == b"begin end"
        assert inflater.read() == BYTES[:1000]


def test_random_tasks_that_send_and_are_cancelled(serve: Serve) -> None:
    lines = (
        "chance = random.Random(int(await ws.receive_message()))\n"
        "waiting, sent = [], []\n"
        "async def send(number, message):\n"
        "    await ws.send_message(message)\n"
        "    sent.append(number)\n"
        "for number in range(60):\n"
        "    size = chance.choice([1, 500, 60_000, 70_000, 500_000])\n"
        "    start = chance.randrange(len(large) - size)\n"
        "    message = b'%d ' % number + large[start : start + size]\n"
        "    waiting.append(asyncio.create_task(send(number, message)))\n"
        "    for _ in range(chance.randrange(3)):\n        await asyncio.sleep(0)\n"
        "    if chance.random() < 0.3:\n        chance.choice(waiting).cancel()\n"
        "await asyncio.wait(waiting)\n"
        "await ws.send_message('sent')\n"
        "await ws.send_message(' '.join(map(str, sent)))"
    )
    server = serve(chance=coroutine(lines, LARGE))
    for seed in range(5):
        with server.connect() as client:
            client.handshake("/chance", DEFLATE)
            client.send_frame(TEXT, b"%d" % seed)
            inflater = Inflater(client)
            received = []
            while (message := inflater.read()) != b"sent":
                number, content = message.split(b" ", 1)
                assert content in BYTES
                received.append(int(number))
            assert received == sorted(set(received))
            # one that is cancelled may have been sent before
            assert {int(number) for number in inflater.read().split()} <= set(received)
            assert client.read_frame().close_code == 1000


def test_a_client_compresses_in_steps(serve: Serve) -> None:
    server = serve(echo=ECHO_ASYNC)

    async def work() -> None:
        async with fastwsh.connect(server.url("/echo"), max_message_bytes=None) as connection:
            turns = 0

            async def turn() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            task = asyncio.create_task(turn())
            await asyncio.sleep(0)
            before = turns
            sending = asyncio.gather(connection.send(BYTES), connection.send("one"))
            await sending
            assert turns - before >= 4
            task.cancel()
            assert await connection.recv() == BYTES
            assert await connection.recv() == "one"

    asyncio.run(asyncio.wait_for(work(), DEADLINE_SECONDS))
