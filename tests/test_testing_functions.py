"""Functions of a test: those that would do nothing when they are called are refused."""

import contextlib
import functools
import socket

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

import fastwsh
from fastwsh.testing import CheckError, Expectation, WsServer
from wire import DEADLINE_SECONDS


@pytest.fixture
def server():
    with WsServer() as server:
        yield server


async def awaited(*_arguments):
    return False


def yielding(*_arguments):
    yield False


async def yielding_later(*_arguments):
    yield False


class Called:
    async def __call__(self, *_arguments):
        return False


USES = {
    "then": lambda server, function: server.script().then(function),
    "reply": lambda server, function: server.reply(function),
    "expect": lambda server, function: server.expect(function),
    "expect_any_order": lambda server, function: server.expect_any_order("a", function),
    "Expectation": lambda _, function: Expectation(function),
    "wait_for_message": lambda server, function: server.wait_for_message(function, timeout=0),
    "when": lambda server, function: server.reject(503, when=function),
    "headers": lambda server, function: server.handler("/", headers=function),
    "match": lambda server, function: server.replay("none.har", match=function),
}


@pytest.mark.parametrize("function", [awaited, functools.partial(awaited, 1), Called()])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_coroutine_function_that_nobody_awaits_is_refused(server, use, function):
    with pytest.raises(TypeError, match="is a coroutine function, which is not awaited here"):
        use(server, function)
    server.check()


@pytest.mark.parametrize("function", [yielding, yielding_later, functools.partial(yielding, 1)])
@pytest.mark.parametrize("use", USES.values(), ids=USES)
def test_a_generator_function_is_refused(server, use, function):
    with pytest.raises(TypeError, match="is a generator function, of which nothing runs"):
        use(server, function)
    with pytest.raises(TypeError, match="is a generator function"):
        server.handler("/")(function)
    server.check()


@pytest.mark.parametrize(
    ("function", "what"), [(awaited, "a coroutine"), (yielding, "a generator")]
)
@pytest.mark.parametrize("use", [*USES][:3])
def test_a_function_that_returns_one_fails_the_test(server, use, function, what):
    USES[use](server, lambda _: function())
    _talk(server)
    with pytest.raises(CheckError, match=f"<lambda> returned {what}, "):
        server.check()


def test_a_handler_that_returns_a_coroutine_fails_the_test(server):
    server.handler("/")(lambda _: awaited())
    _talk(server)
    with pytest.raises(CheckError, match="<lambda> returned a coroutine, which is not awaited"):
        server.check()


def test_a_condition_that_returns_a_coroutine_fails_the_test(server):
    server.reject(503, when=lambda _: awaited())
    with pytest.raises(fastwsh.ConnectError):
        fastwsh.connect(server.url)
    with pytest.raises(CheckError, match="<lambda> returned a coroutine, which is not awaited"):
        server.check()


def connect_plainly(url):
    host, _, port = url.removeprefix("ws://").strip("/").partition(":")
    socket.create_connection((host, int(port)), DEADLINE_SECONDS)


@pytest.mark.parametrize("connects", [fastwsh.connect, connect_plainly])
def test_a_handler_that_cannot_connect_elsewhere_fails_the_test(server, connects):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"ws://127.0.0.1:{unused.getsockname()[1]}/"
        server.handler("/")(lambda _: connects(url))
        _talk(server)
    with pytest.raises(CheckError, match=r"raised (ConnectError|ConnectionRefusedError): "):
        server.check()


def _talk(server):
    """Send a message to `/`, and receive until the server has closed and its handler has ended."""
    with connect(server.url) as client, contextlib.suppress(ConnectionClosed):
        client.send("message")
        while True:
            client.recv(DEADLINE_SECONDS)
    server.stop()
