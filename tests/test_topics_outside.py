"""Topics in code outside of handlers: of test servers, embedders and event loops; and mistakes."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import fastwsh
from conftest import WriteHandler
from fastwsh import topics
from fastwsh.options import parse_args_and_config
from fastwsh.server import WebSocketServer
from fastwsh.testing import Connection, running_server
from waiting import wait_until
from wire import BINARY, TEXT, Client, Frame


def test_code_outside_of_handlers_reaches_every_server_of_the_process():
    def handler(connection: Connection) -> None:
        topics.subscribe(connection.request, "a")
        connection.send("ready")
        for text in connection:
            connection.send(f"reached {topics.publish('a', text)}")

    with running_server() as first, running_server() as second:
        for server in (first, second):
            server.handler("/a")(handler)
        with (
            fastwsh.connect(first.url_for("/a")) as one,
            fastwsh.connect(second.url_for("/a")) as two,
        ):
            assert [one.recv(), two.recv()] == ["ready"] * 2
            assert topics.subscribers("a") == 2
            assert topics.publish("a", "to both") == 2
            assert [one.recv(), two.recv()] == ["to both"] * 2
            one.send("to the own server")
            assert [one.recv(), one.recv()] == ["to the own server", "reached 1"]
    assert topics.subscribers("a") == 0
    assert topics.publish("a", "nobody") == 0


@contextmanager
def serving(folder: Path) -> Iterator[WebSocketServer]:
    options, _ = parse_args_and_config(["-H", "127.0.0.1", "-p0", "-w", str(folder)])
    server = WebSocketServer(options)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.stop(0)
        server.server_close()
        thread.join()


def test_an_embedder_uses_the_topics_of_one_server(handler_root: Path, write_handler: WriteHandler):
    body = "request.connection.server.kept.append(request)\nrequest.ws_stream.receive_message()"
    write_handler("kept", body)
    kept: list[Any] = []
    with serving(handler_root) as server, serving(handler_root) as other:
        server.kept = kept  # type: ignore[attr-defined]
        with Client(server.server_port) as client:
            client.handshake("/kept")
            wait_until(lambda: kept, "the handler has not begun")
            server.subscribe(kept[0], "a")
            idle = WebSocketServer(server.websocket_server_options)
            for stranger in (other, idle):
                with pytest.raises(ValueError, match="another server"):
                    stranger.subscribe(kept[0], "a")
                with pytest.raises(ValueError, match="another server"):
                    stranger.unsubscribe(kept[0], "a")
            idle.server_close()
            assert (server.subscribers("a"), other.subscribers("a")) == (1, 0)
            assert (other.publish("a", "x"), server.publish("a", b"y")) == (0, 1)
            assert client.read_frame() == Frame(BINARY, b"y")
            assert server.publish("a", "x", exclude=kept) == 0
            server.unsubscribe(kept[0], "a")
            assert server.subscribers("a") == 0
    server.subscribe(kept.pop(), "a")
    assert server.publish("a", "x") == 0


def test_a_handler_in_the_hub_reaches_its_own_server(
    handler_root: Path, write_handler: WriteHandler
):
    body = """
from fastwsh import topics
topics.subscribe(request, "own")
while (text := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(f"reached {topics.publish('own', text, exclude=request)}")
"""
    write_handler("own", body)
    with (
        serving(handler_root) as one,
        serving(handler_root) as two,
        Client(one.server_port) as first,
        Client(two.server_port) as second,
    ):
        for client in (first, second):
            client.handshake("/own")
        # in turns, as all share the hub's thread
        for client in (first, second, first):
            client.send_frame(TEXT, b"x")
            assert client.read_frame() == Frame(TEXT, b"reached 0")


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: topics.publish("", "x"), ValueError, "must not be empty"),
        (
            lambda: topics.publish("é" * 128, "x"),
            ValueError,
            "256 bytes of UTF-8, and may have 255",
        ),
        (lambda: topics.subscribers(7), TypeError, "name of a topic must be a str, not int"),
        (lambda: topics.publish("a", 7), TypeError, "must be str or a bytes-like object, not int"),
        (lambda: topics.publish("a", "x", binary=True), TypeError, "must be bytes, not str"),
        # what is true or false counts as such, as in `send_message`
        (lambda: topics.publish("a", "x", binary=[1]), TypeError, "must be bytes, not str"),
        (lambda: topics.publish("a", b"\xff", binary=0), ValueError, "must be UTF-8"),
        (lambda: topics.publish("a", b"\xff", binary=False), ValueError, "must be UTF-8"),
        (lambda: topics.publish("a", "\ud800"), ValueError, "surrogates not allowed"),
        (lambda: topics.publish("\ud800", "x"), ValueError, "surrogates not allowed"),
        (lambda: topics.publish("a", "x" * (1 << 20)), ValueError, "--topic-queue-bytes"),
        (lambda: topics.publish("a", "x", exclude=7), TypeError, "argument of a handler is wanted"),
        (lambda: topics.publish("a", "x", exclude=["x"]), TypeError, "not str"),
        (lambda: topics.subscribe(None, "a"), TypeError, "not NoneType"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    call: Callable[[], object], error: type[Exception], text: str
):
    with running_server(), pytest.raises(error, match=text):
        call()


def test_a_server_in_an_event_loop_and_one_of_tests_publish(handler_root: Path, write_handler):
    body = "topics.subscribe(request, 'a')\nrequest.ws_stream.send_message('ready')\n"
    write_handler("a", f"from fastwsh import topics\n{body}request.ws_stream.receive_message()")

    async def in_a_loop() -> None:
        async with await fastwsh.serve(handler_root, port=0) as server:
            url = f"ws://127.0.0.1:{server.port}/a"
            connection = await asyncio.to_thread(fastwsh.connect, url)
            assert await asyncio.to_thread(connection.recv) == "ready"
            assert (server.publish("a", "x"), server.subscribers("a")) == (1, 1)
            assert await asyncio.to_thread(connection.recv) == "x"
            await asyncio.to_thread(connection.close)

    asyncio.run(in_a_loop())
    with running_server(handler_root) as server, fastwsh.connect(server.url_for("/a")) as client:
        assert client.recv() == "ready"
        assert (server.publish("a", b"y"), server.subscribers("a")) == (1, 1)
        assert client.recv() == b"y"
        [connection] = server.connections
        assert server.publish("a", "no", exclude=connection.request) == 0
        server.unsubscribe(connection.request, "a")
        assert server.publish("a", "no") == 0
