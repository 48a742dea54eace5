"""What coroutines may do with their stream, and how they end."""

import signal

import pytest

from async_support import ECHO_ASYNC, SHARED, Serve, ask, coroutine, plain, serve
from wire import CLOSE, PING, TEXT, Frame, encode_frame

__all__ = ["serve"]


class TestBlockingNames:
    @pytest.mark.parametrize(
        "line",
        [
            "ws.blocking.receive_message()",
            "ws.blocking.close_connection()",
            "request.connection.read(1)",
            "ws.blocking.receive_bytes(1)",
        ],
    )
    def test_raise_instead_of_holding_up_the_loop(self, serve: Serve, line: str) -> None:
        lines = (
            f"try:\n    {line}\nexcept RuntimeError as error:\n"
            "    print(error, flush=True)\nelse:\n    print('?', flush=True)"
        )
        server = serve(blocks=coroutine(lines), echo=ECHO_ASYNC)
        with server.connect() as client:
            client.handshake("/blocks")
            server.out.wait_for("would hold up the event loop; await the method of the same name")
            assert ask(server, "/echo", b"x") == [b"x"]

    def test_what_was_not_awaited_is_a_warning(self, serve: Serve) -> None:
        server = serve(forgets=coroutine("ws.send_message('x')\nawait ws.send_message('y')"))
        with server.connect() as client:
            client.handshake("/forgets")
            assert client.read_frame() == Frame(TEXT, b"y")
        server.log.wait_for(r"RuntimeWarning: send_message\(\) was never awaited")

    def test_sends_that_cannot_block_are_allowed(self, serve: Serve) -> None:
        lines = (
            "def ping(of, body):\n    ws.blocking.send_message('ping')\n"
            "request.on_ping_handler = ping\n"
            "request.connection.write(b'\\x81\\x03raw')\n"
            "await ws.send_message(await ws.receive_message())"
        )
        server = serve(sends=coroutine(lines))
        with server.connect() as client:
            client.handshake("/sends")
            assert client.read_frame() == Frame(TEXT, b"raw")
            client.send_frame(PING, b"")
            assert client.read_frame() == Frame(TEXT, b"ping")
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"x")

    def test_the_stream_of_a_plain_handler_is_for_a_thread(self, serve: Serve) -> None:
        keep = "shared['stream'] = ws\nws.send_message('ready')\nws.receive_message()"
        lines = (
            "stream = shared['stream']\n"
            "try:\n    stream.send_message('direct')\n"
            "except RuntimeError:\n    await ws.send_message('refused')\n"
            "await asyncio.to_thread(stream.send_message, 'from the loop')"
        )
        server = serve(plain=plain(keep, SHARED), other=coroutine(lines, SHARED))
        with server.connect() as client, server.connect() as other:
            client.handshake("/plain")
            assert client.read_frame() == Frame(TEXT, b"ready")
            other.handshake("/other")
            assert other.read_frame() == Frame(TEXT, b"refused")
            assert client.read_frame() == Frame(TEXT, b"from the loop")

    @pytest.mark.parametrize("place", ["threads", "hub"])
    def test_the_blocking_stream_is_for_other_threads(self, serve: Serve, place: str) -> None:
        """A handler elsewhere sends on the stream of a coroutine, which sends as well."""
        send = (
            "for number in range(100):\n"
            "    shared['stream'].send_message(str(number) + 'x' * 10_000)"
        )
        lines = (
            "shared['stream'] = ws.blocking\nawait ws.send_message('ready')\n"
            "await ws.receive_message()\n"
            "for number in range(100):\n    await ws.send_message(str(number) + 'y' * 10_000)\n"
            "await ws.receive_message()"
        )
        before = f"{SHARED}web_socket_concurrency = {place!r}"
        server = serve(plain=plain(send, before), other=coroutine(lines, SHARED))
        with server.connect() as client, server.connect() as other:
            other.handshake("/other")
            assert other.read_frame() == Frame(TEXT, b"ready")
            other.send_frame(TEXT, b"go")
            client.handshake("/plain")
            seen = [other.read_frame().payload for _ in range(200)]
            for letter in (b"x", b"y"):
                own = [message for message in seen if message.endswith(letter)]
                assert own == [b"%d" % number + letter * 10_000 for number in range(100)]

    def test_a_coroutine_receives_while_a_thread_sends(self, serve: Serve) -> None:
        lines = (
            "done, blocking = threading.Event(), ws.blocking\n"
            "def flood():\n"
            "    while not done.is_set():\n        blocking.send_message('x' * 10_000)\n"
            "thread = threading.Thread(target=flood)\nthread.start()\n"
            "async for message in ws:\n    await ws.send_message(message)\n"
            "done.set()\nawait asyncio.to_thread(thread.join)"
        )
        server = serve(echo=coroutine(lines, "import threading"))
        with server.connect() as client:
            client.handshake("/echo")
            for number in range(20):
                message = Frame(TEXT, b"%d" % number)
                client.send_frame(TEXT, message.payload)
                while client.read_frame() != message:
                    pass
            client.send_close()


class TestTasks:
    def test_two_tasks_share_a_stream(self, serve: Serve) -> None:
        lines = (
            "async def tick():\n"
            "    for number in range(3):\n        await ws.send_message(f'tick {number}')\n"
            "ticker = asyncio.create_task(tick())\n"
            "await ws.send_message(await asyncio.wait_for(ws.receive_message(), 30))\n"
            "await ticker"
        )
        server = serve(two=coroutine(lines))
        with server.connect() as client:
            client.handshake("/two")
            client.send_frame(TEXT, b"x")
            seen = {client.read_frame().payload for _ in range(4)}
            assert seen == {b"x", b"tick 0", b"tick 1", b"tick 2"}

    def test_a_receive_that_times_out_takes_no_message(self, serve: Serve) -> None:
        lines = (
            "try:\n    await asyncio.wait_for(ws.receive_message(), 0.02)\n"
            "except TimeoutError:\n    await ws.send_message('timeout')\n"
            "await ws.send_message(await ws.receive_message())"
        )
        server = serve(timeout=coroutine(lines))
        with server.connect() as client:
            client.handshake("/timeout")
            assert client.read_frame() == Frame(TEXT, b"timeout")
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"x")

    def test_cancelled_in_the_middle_of_a_message(self, serve: Serve) -> None:
        lines = (
            "for _ in range(3):\n"
            "    try:\n        async with asyncio.timeout(0.02):\n"
            "            message = await ws.receive_message()\n            break\n"
            "    except TimeoutError:\n        await ws.send_message('timeout')\n"
            "else:\n    message = await ws.receive_message()\n"
            "await ws.send_message(message)"
        )
        server = serve(cancel=coroutine(lines))
        data = encode_frame(TEXT, b"Hello")
        with server.connect() as client:
            client.handshake("/cancel")
            client.send(data[:-2])
            assert client.read_frame() == Frame(TEXT, b"timeout")
            client.send(data[-2:])
            while (frame := client.read_frame()) == Frame(TEXT, b"timeout"):
                pass
            assert frame == Frame(TEXT, b"Hello")

    def test_calls_make_tasks(self, serve: Serve) -> None:
        lines = (
            "sending = asyncio.create_task(ws.send_message('a'))\n"
            "receiving = asyncio.create_task(ws.receive_message())\n"
            "done, _ = await asyncio.wait({sending, receiving})\n"
            "await asyncio.gather(ws.send_message(receiving.result()), ws.send_message('c'))\n"
            "async with asyncio.TaskGroup() as group:\n    group.create_task(ws.send_message('d'))"
        )
        server = serve(tasks=coroutine(lines))
        with server.connect() as client:
            client.handshake("/tasks")
            client.send_frame(TEXT, b"b")
            assert [client.read_frame().payload for _ in range(4)] == [b"a", b"b", b"c", b"d"]

    def test_context_variables_are_those_of_the_task(self, serve: Serve) -> None:
        before = "import contextvars\nname = contextvars.ContextVar('name', default='none')\n"
        lines = (
            "name.set(await ws.receive_message())\n"
            "async for _ in ws:\n    await ws.send_message(name.get())"
        )
        server = serve(context=coroutine(lines, before))
        with server.connect() as first, server.connect() as second:
            for client, name in [(first, b"first"), (second, b"second")]:
                client.handshake("/context")
                client.send_frame(TEXT, name)
            for client, name in [(first, b"first"), (second, b"second")] * 2:
                client.send_frame(TEXT, b"?")
                assert client.read_frame() == Frame(TEXT, name)


class TestCancellation:
    WAITS = coroutine(
        "await ws.send_message('ready')\n"
        "try:\n    await asyncio.Event().wait()\n"
        "finally:\n    await asyncio.sleep(0)\n    print('cleaned up', flush=True)"
    )

    @pytest.mark.parametrize("way", ["closes", "resets", "says good-bye and closes"])
    def test_the_client_has_gone(self, serve: Serve, way: str) -> None:
        server = serve(waits=self.WAITS)
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
            if way == "resets":
                client.reset()
            elif way == "says good-bye and closes":
                client.send_close()
        server.out.wait_for("cleaned up")
        server.log.wait_for("Handler of /waits was cancelled: its client has gone")

    def test_a_cancelled_task_that_is_awaited_is_an_error_of_the_handler(
        self, serve: Serve
    ) -> None:
        lines = "task = asyncio.create_task(asyncio.sleep(9))\ntask.cancel()\nawait task"
        server = serve(awaits=coroutine(lines))
        with server.connect() as client:
            client.handshake("/awaits")
            assert client.read_to_end() == b""
        server.log.wait_for("Exception in processing request from")
        server.log.wait_for("CancelledError")

    def test_the_client_has_gone_after_a_receive_was_given_up(self, serve: Serve) -> None:
        lines = (
            "for _ in range(3):\n"
            "    try:\n        await asyncio.wait_for(ws.receive_message(), 0.01)\n"
            "    except TimeoutError:\n        pass\n"
            "await ws.send_message('ready')\nawait asyncio.Event().wait()"
        )
        server = serve(waits=coroutine(lines))
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
        server.log.wait_for("Handler of /waits was cancelled: its client has gone")

    def test_unread_messages_are_not_lost(self, serve: Serve) -> None:
        lines = (
            "gate = shared['gate'] = asyncio.Event()\n"
            "await ws.send_message('ready')\nawait gate.wait()\n"
            "async for message in ws:\n    print('got', message, flush=True)"
        )
        opens = "shared['gate'].set()\nawait ws.send_message('open')"
        server = serve(waits=coroutine(lines, SHARED), gate=coroutine(opens, SHARED))
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
            client.send_frame(TEXT, b"one")
            client.send_frame(TEXT, b"two")
            client.send_close()
        with server.connect() as client:
            client.handshake("/gate")
            assert client.read_frame() == Frame(TEXT, b"open")
        server.out.wait_for("got two")

    def test_a_handler_that_receives_gets_the_exception(self, serve: Serve) -> None:
        lines = (
            "from pywebsocket3 import msgutil\n"
            "try:\n    await ws.receive_message()\n"
            "except msgutil.ConnectionTerminatedException:\n    print('terminated', flush=True)"
        )
        server = serve(receives=coroutine(lines))
        with server.connect() as client:
            client.handshake("/receives")
        server.out.wait_for("terminated")

    def test_the_server_stops(self, serve: Serve) -> None:
        server = serve("--shutdown-timeout", "0.2", waits=self.WAITS)
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
            server.send_signal(signal.SIGTERM)
            frame = client.read_frame()
            assert (frame.opcode, frame.close_code) == (CLOSE, 1001)
            assert server.wait() == 0
        assert "cleaned up" in server.out.text()
        assert "was cancelled: the server stops" in server.log.text()

    def test_the_server_stops_at_once_when_the_client_has_answered(self, serve: Serve) -> None:
        server = serve("--shutdown-timeout", "1000", waits=self.WAITS)
        with server.connect() as client:
            client.handshake("/waits")
            assert client.read_frame() == Frame(TEXT, b"ready")
            server.send_signal(signal.SIGTERM)
            assert client.read_frame().close_code == 1001
            client.send_close(1001)
            assert server.wait() == 0
        assert "cleaned up" in server.out.text()

    def test_a_handler_that_blocks_the_loop_does_not_keep_the_server(self, serve: Serve) -> None:
        blocks = coroutine(
            "await ws.send_message('ready')\nthreading.Event().wait()", "import threading\n"
        )
        server = serve("--shutdown-timeout", "0.1", "--cleanup-timeout", "0.1", blocks=blocks)
        with server.connect() as client:
            client.handshake("/blocks")
            assert client.read_frame() == Frame(TEXT, b"ready")
            server.send_signal(signal.SIGTERM)
            assert server.wait() == 0


class TestTasksThatNobodyAwaits:
    COLLECTS = "import gc\ngc.collect()\nawait ws.send_message('collected')"

    @pytest.mark.parametrize("sends", ["", "async with asyncio.TaskGroup() as g: "])
    def test_their_client_has_gone(self, serve: Serve, sends: str) -> None:
        call = "g.create_task(ws.send_message('x'))" if sends else "await ws.send_message('x')"
        lines = (
            "async def push():\n    try:\n        while True:\n"
            "            await asyncio.sleep(0.001)\n"
            f"            {sends}{call}\n    finally:\n        print('over', flush=True)\n"
            "asyncio.create_task(push())\nasync for message in ws: pass"
        )
        server = serve(pushes=coroutine(lines), collects=coroutine(self.COLLECTS))
        with server.connect() as client:
            client.handshake("/pushes")
            client.reset()
        server.out.wait_for("over")
        with server.connect() as client:
            client.handshake("/collects")
            assert client.read_frame() == Frame(TEXT, b"collected")
            client.send_close()
            client.read_to_end()
        assert "never retrieved" not in "\n".join(server.log.lines)

    def test_what_else_they_raise_is_told(self, serve: Serve) -> None:
        lines = "async def fail(): raise KeyError('mine')\nasyncio.create_task(fail())"
        server = serve(fails=coroutine(lines), collects=coroutine(self.COLLECTS))
        for path in ("/fails", "/collects"):
            with server.connect() as client:
                client.handshake(path)
        server.log.wait_for("KeyError: 'mine'")
