"""`fastwsh.asgi`: what applications do that ASGI does not foresee, and the server survives."""

import contextlib
import sys
import urllib.parse
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import fastwsh
from fastwsh.testing import CheckError, WsServer, running_server
from wire import DEADLINE_SECONDS

APP = """
import ast
import asyncio
import sys
import urllib.parse
from fastwsh.asgi import mount

told = []

async def application(scope, receive, send):
    await receive()
    if scope["type"] == "lifespan":
        await send({"type": "lifespan.startup.complete"})
        return
    for step in ast.literal_eval(urllib.parse.unquote(scope["query_string"].decode())):
        if isinstance(step, dict):
            await send(step)
        else:
            await globals()[step](receive)

async def cancel(receive):
    raise asyncio.CancelledError

async def cancel_itself(receive):
    asyncio.current_task().cancel()
    await asyncio.sleep(0)

async def leave(receive):
    sys.exit(3)

async def group(receive):
    async with asyncio.TaskGroup() as group:
        group.create_task(leave(receive))

async def tell(receive):
    told.append(await receive())

mount(application, globals())
"""

ACCEPT = {"type": "websocket.accept"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WsServer]:
    folder = tmp_path_factory.mktemp("handlers")
    (folder / "app_wsh.py").write_text(APP)
    with running_server(folder, close_timeout=5, http2=True) as server:
        yield server
        # the mistakes were reported as those of handlers
        with contextlib.suppress(CheckError):
            server.check()


def connecting(server: WsServer, version: int) -> Callable[..., Any]:
    def connect(*steps: Any, **options: Any) -> Any:
        url = server.url_for(f"/app?{urllib.parse.quote(repr(steps))}")
        return fastwsh.connect(url, http_version=version, **options)

    return connect


@pytest.fixture(params=[1, 2], ids=["http1", "http2"])
def connect(server: WsServer, request: pytest.FixtureRequest) -> Callable[..., Any]:
    return connecting(server, request.param)


def accept(*headers: Any) -> dict[str, Any]:
    return {**ACCEPT, "headers": list(headers)}


def answer(status: Any, headers: Any = (), body: Any = b"") -> list[dict[str, Any]]:
    start = {"type": "websocket.http.response.start", "status": status, "headers": headers}
    return [start, {"type": "websocket.http.response.body", "body": body}]


@pytest.mark.parametrize(
    "steps",
    [
        ["cancel"],
        ["cancel_itself"],
        ["leave"],
        ["group"],
        [{}],
        [{"type": "websocket.send", "text": "early"}],
        [accept((b"x-a", b"b\r\nx-evil: 1"))],
        [accept((b"x-a", b"b\nx-evil: 1"))],
        [accept((b"x-a", b"b\0"))],
        [accept((b"x-a\r\nx-evil", b"1"))],
        [accept((b"x a", b"1"))],
        [accept((b"", b"1"))],
        [accept(("x-a", "text"))],
        [accept(b"x-a")],
        answer(101),
        answer(99),
        answer(600),
        answer("403"),
        answer(403.0),
        answer(403, [(b"x-a", b"b\r\nx-evil: 1")]),
        answer(403, body="text"),
        [*answer(403)[:1], {"type": "websocket.close"}],
        answer(403)[:1],
        answer(403)[1:],
    ],
    ids=repr,
)
def test_mistakes_before_the_acceptance(connect, steps):
    with pytest.raises(fastwsh.ConnectError) as raised:
        connect(*steps)
    assert raised.value.status == 500
    assert not [name for name, _ in raised.value.headers if name.lower() == "x-evil"]


def close(code: object, reason: object = "") -> dict[str, object]:
    return {"type": "websocket.close", "code": code, "reason": reason}


@pytest.mark.parametrize(
    "step",
    [
        "cancel",
        "cancel_itself",
        "leave",
        "group",
        {},
        ACCEPT,
        {"type": "websocket.send"},
        {"type": "websocket.send", "text": b"bytes"},
        {"type": "websocket.send", "bytes": "text"},
        {"type": "websocket.send", "text": "\ud800"},
        *[close(code) for code in (0, 999, 1005, 1006, 1015, 5000, -1, 1 << 70, "1000", 1000.5)],
        *[close(4000, reason) for reason in ("x" * 124, "\ud800", b"bytes")],
    ],
    ids=ascii,
)
def test_mistakes_after_the_acceptance(connect, step):
    with connect(ACCEPT, step) as connection, pytest.raises(fastwsh.ConnectionClosed) as raised:
        connection.recv(timeout=DEADLINE_SECONDS)
    assert raised.value.code == 1011


def test_an_application_need_not_choose_a_subprotocol(connect):
    for protocol in ({}, {"subprotocol": None}, {"subprotocol": ""}):
        with connect({**ACCEPT, **protocol}, close(4000), subprotocols=["a", "b"]) as connection:
            assert connection.subprotocol is None
            with pytest.raises(fastwsh.ConnectionClosed):
                connection.recv(timeout=DEADLINE_SECONDS)


def test_headers_arrive_as_they_are(connect):
    headers = [(b"x-a", "\u00e9 \u20ac".encode()), (b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    with connect(accept(*headers), close(4000)) as connection:
        found = [item for item in connection.response_headers if item[0] in {"x-a", "set-cookie"}]
    assert [value.encode("latin-1") for _, value in found] == [value for _, value in headers]


@pytest.mark.parametrize("status", [200, 204, 299])
def test_an_answer_that_would_open_a_stream_is_403(server, status):
    # as it would over HTTP/2 (RFC 8441 5)
    for version, sent in ((1, status), (2, 403)):
        with pytest.raises(fastwsh.ConnectError) as raised:
            connecting(server, version)(*answer(status))
        assert raised.value.status == sent


@pytest.mark.parametrize("status", [204, 205, 304])
def test_an_answer_without_content_has_none(server, status):
    connect = connecting(server, 1)
    with pytest.raises(fastwsh.ConnectError) as raised:
        connect(*answer(status, [(b"x-a", b"b")], b"not content"))
    assert (raised.value.status, raised.value.body) == (status, b"")
    headers = {name.lower(): value for name, value in raised.value.headers}
    assert headers["x-a"] == "b"
    assert headers.get("content-length") == ("0" if status == 205 else None)


def test_the_application_is_told_its_own_close(connect):
    (module,) = [module for name, module in sys.modules.items() if name.endswith(".app_wsh")]
    module.told.clear()
    with connect(ACCEPT, close(4001, "so be it"), "tell") as connection:
        with pytest.raises(fastwsh.ConnectionClosed) as raised:
            connection.recv(timeout=DEADLINE_SECONDS)
        assert (raised.value.code, raised.value.reason) == (4001, "so be it")
    assert module.told == [{"type": "websocket.disconnect", "code": 4001, "reason": "so be it"}]
