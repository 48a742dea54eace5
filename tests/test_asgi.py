"""`fastwsh.asgi`: ASGI applications served by handler files."""

import ast
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastwsh
from fastwsh.config_error import ConfigError
from fastwsh.testing import CheckError, WsServer, running_server
from http2_support import Http2Client
from wire import DEADLINE_SECONDS, TEXT, Client

APP = """
import asyncio
import queue
from fastwsh.asgi import ClientDisconnectedError, mount

told = queue.Queue()

async def application(scope, receive, send):
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["made"] = "at the start"
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        told.put("shutdown")
        await send({"type": "lifespan.shutdown.complete"})
        return
    assert await receive() == {"type": "websocket.connect"}
    await globals()[scope["path"].rpartition("/")[2]](scope, receive, send)

async def echo(scope, receive, send):
    made = scope["state"]["made"].encode()
    await send({"type": "websocket.accept", "subprotocol": (scope["subprotocols"] or [None])[0],
                "headers": [(b"x-made", made)]})
    while (event := await receive())["type"] == "websocket.receive":
        await send({**event, "type": "websocket.send"})
    told.put((event["type"], event["code"], event["reason"]))
    try:
        await send({"type": "websocket.send", "text": "late"})
    except ClientDisconnectedError:
        told.put("late")

async def scope(scope, receive, send):
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": repr(scope)})
    await send({"type": "websocket.close", "code": 4001, "reason": "so be it"})

async def refuse(scope, receive, send):
    await send({"type": "websocket.close"})

async def answer(scope, receive, send):
    await send({"type": "websocket.http.response.start", "status": 418,
                "headers": [(b"Content-Type", b"text/plain"), (b"content-length", b"999"),
                            (b"x-a", b"b")]})
    await send({"type": "websocket.http.response.body", "body": b"short ", "more_body": True})
    await send({"type": "websocket.http.response.body", "body": b"and stout"})

async def fail(scope, receive, send):
    raise ValueError("not yet")

async def forget(scope, receive, send):
    pass

async def break_off(scope, receive, send):
    await send({"type": "websocket.accept"})
    raise ValueError("in the middle")

async def leave(scope, receive, send):
    await send({"type": "websocket.accept"})

async def count(scope, receive, send):
    await send({"type": "websocket.accept"})
    await receive()
    await send({"type": "websocket.send", "text": "first"})
    total = 1
    while (await receive())["type"] == "websocket.receive":
        total += 1
    told.put(total)

async def sleep(scope, receive, send):
    await send({"type": "websocket.accept"})
    told.put("sleeping")
    try:
        while True:
            await asyncio.sleep(0.01)
            await send({"type": "websocket.send", "text": "tick"})
    finally:
        told.put("woke up")

async def choose(scope, receive, send):
    await send({"type": "websocket.accept", "subprotocol": "nobody's"})
    told.put((await receive())["type"])

async def pushes(scope, receive, send):
    await send({"type": "websocket.accept"})
    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(send({"type": "websocket.send", "text": str(number)}))
    assert (await receive())["type"] == "websocket.disconnect"

async def deaf(scope, receive, send):
    await send({"type": "websocket.accept"})
    try:
        while True:
            told.put((await receive())["type"])
    except OSError as error:
        told.put(type(error).__name__)

async def stay(scope, receive, send):
    await send({"type": "websocket.accept"})
    told.put((await receive())["code"])

mount(application, globals(), root_path="/root")
"""


@pytest.fixture(params=[1, 2], ids=["http1", "http2"])
def server(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[WsServer]:
    (tmp_path / "app_wsh.py").write_text(APP)
    with running_server(tmp_path, close_timeout=5, http2=request.param == 2) as server:
        yield server


@pytest.fixture
def told(server: WsServer) -> queue.Queue[Any]:
    (module,) = [module for name, module in sys.modules.items() if name.endswith(".app_wsh")]
    found: queue.Queue[Any] = module.told
    return found


@pytest.fixture
def connect(server: WsServer, request: pytest.FixtureRequest) -> Any:
    def connect(path: str, **options: Any) -> Any:
        version = request.node.callspec.params["server"]
        return fastwsh.connect(server.url_for(path), http_version=version, **options)

    return connect


def test_messages_of_both_kinds(connect, told):
    with connect("/app/room/1/echo", subprotocols=["chat"]) as connection:
        assert connection.subprotocol == "chat"
        assert dict(connection.response_headers)["x-made"] == "at the start"
        for message in ("hello", b"bytes", "", b"", "x" * 100_000):
            connection.send(message)
            assert connection.recv(timeout=DEADLINE_SECONDS) == message
        connection.close(4000, "bye")
    assert told.get(timeout=DEADLINE_SECONDS) == ("websocket.disconnect", 4000, "bye")
    assert told.get(timeout=DEADLINE_SECONDS) == "late"


def test_scope(connect, server):
    with connect(
        "/app/caf%C3%A9/scope?a=%20b", headers=[("X-Twice", "1"), ("x-twice", "2")]
    ) as connection:
        scope = ast.literal_eval(connection.recv(timeout=DEADLINE_SECONDS))
        with pytest.raises(fastwsh.ConnectionClosed) as raised:
            connection.recv(timeout=DEADLINE_SECONDS)
    assert (raised.value.code, raised.value.reason) == (4001, "so be it")
    assert scope["path"] == "/app/caf\u00e9/scope"
    assert scope["raw_path"] == b"/app/caf%C3%A9/scope"
    assert scope["query_string"] == b"a=%20b"
    assert (scope["type"], scope["scheme"], scope["root_path"]) == ("websocket", "ws", "/root")
    assert scope["asgi"] == {"version": "3.0", "spec_version": "2.5"}
    assert scope["state"] == {"made": "at the start"}
    assert scope["server"] == ("127.0.0.1", server.port)
    assert scope["client"][0] == "127.0.0.1"
    names = [name for name, _ in scope["headers"]]
    assert b"host" in names
    assert not any(name.startswith(b":") for name in names)
    assert [value for name, value in scope["headers"] if name == b"x-twice"] == [b"1", b"2"]


@pytest.mark.parametrize("word", ["caf\u00e9", "\u2028"])
def test_a_path_in_utf_8_without_escapes_is_what_the_client_has_sent(server, request, word):
    path = f"/app/{word}/scope"
    if request.node.callspec.params["server"] == 2:
        with Http2Client(server) as client:
            text = client.websocket(f"{path}?q={word}").read_frame().payload
    else:
        with Client(server.port) as client:
            client.handshake(f"{path}?q={word}".encode().decode("latin-1"))
            text = client.read_frame().payload
    scope = ast.literal_eval(text.decode())
    assert (scope["path"], scope["raw_path"]) == (path, path.encode())
    assert scope["query_string"] == f"q={word}".encode()


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/app/refuse", 403),
        ("/app/fail", 500),
        ("/app/forget", 500),
        ("/app/answer", 418),
        ("/apple", 404),
    ],
)
def test_refusals(connect, path, status):
    with pytest.raises(fastwsh.ConnectError) as raised:
        connect(path)
    assert raised.value.status == status
    if status == 418:
        assert raised.value.body == b"short and stout"
        headers = {name.lower(): value for name, value in raised.value.headers}
        assert headers["content-type"] == "text/plain"
        assert headers["x-a"] == "b"
        assert headers.get("content-length", "15") == "15"


@pytest.mark.parametrize(("path", "code"), [("/app/break_off", 1011), ("/app/leave", 1000)])
def test_ends_without_a_close(connect, path, code, server):
    with connect(path) as connection, pytest.raises(fastwsh.ConnectionClosed) as raised:
        connection.recv(timeout=DEADLINE_SECONDS)
    assert raised.value.code == code
    if code == 1011:
        with pytest.raises(CheckError, match="ValueError: in the middle"):
            server.check()


def test_messages_wait_for_the_application(connect, told):
    with connect("/app/count") as connection:
        for _ in range(500):
            connection.send("x")
        assert connection.recv(timeout=DEADLINE_SECONDS) == "first"
    assert told.get(timeout=DEADLINE_SECONDS) == 500


def test_application_that_only_sends_finds_out(connect, told):
    with connect("/app/sleep") as connection:
        assert connection.recv(timeout=DEADLINE_SECONDS) == "tick"
        assert told.get(timeout=DEADLINE_SECONDS) == "sleeping"
        connection.close()
    assert told.get(timeout=DEADLINE_SECONDS) == "woke up"


def test_a_subprotocol_that_was_not_offered(connect, told, server):
    with pytest.raises(fastwsh.ConnectError) as raised:
        connect("/app/choose")
    assert raised.value.status >= 400
    # the application has accepted, and finds out
    assert told.get(timeout=DEADLINE_SECONDS) == "websocket.disconnect"


@pytest.mark.parametrize(
    ("frame", "code"),
    [(b"x" * 2000, 1009), (b"\xc3\x28", 1007)],
    ids=["too long", "not UTF-8"],
)
def test_faults_of_the_client_close_as_for_other_handlers(tmp_path, frame, code):
    (tmp_path / "app_wsh.py").write_text(APP)
    with running_server(tmp_path, max_message_bytes=1000) as server:
        (module,) = [module for name, module in sys.modules.items() if name.endswith(".app_wsh")]
        with Client(server.port) as client:
            client.handshake("/app/deaf")
            client.send_frame(TEXT, frame)
            assert client.read_frame().close_code == code
        wanted = ["websocket.disconnect", "ClientDisconnectedError"]
        assert [module.told.get(timeout=DEADLINE_SECONDS) for _ in wanted] == wanted


def test_application_that_does_not_look_is_told_once(connect, told):
    with connect("/app/deaf") as connection:
        connection.send("x")
        connection.close()
    wanted = ["websocket.receive", "websocket.disconnect", "ClientDisconnectedError"]
    assert [told.get(timeout=DEADLINE_SECONDS) for _ in wanted] == wanted


def test_sends_of_many_tasks(connect):
    with connect("/app/pushes") as connection:
        received = [connection.recv(timeout=DEADLINE_SECONDS) for _ in range(100)]
    assert received == [str(number) for number in range(100)]


def test_the_server_stops(tmp_path):
    (tmp_path / "app_wsh.py").write_text(APP)
    with (
        running_server(tmp_path) as server,
        fastwsh.connect(server.url_for("/app/stay")) as connection,
    ):
        (module,) = [module for name, module in sys.modules.items() if name.endswith(".app_wsh")]
        stopping = threading.Thread(target=server.stop)
        stopping.start()
        with pytest.raises(fastwsh.ConnectionClosed) as raised:
            connection.recv(timeout=DEADLINE_SECONDS)
        assert raised.value.code == 1001
        stopping.join()
    assert [module.told.get(timeout=DEADLINE_SECONDS) for _ in range(2)] == [1001, "shutdown"]


def test_a_start_that_fails(tmp_path):
    (tmp_path / "app_wsh.py").write_text(
        "from fastwsh.asgi import mount\n"
        "async def application(scope, receive, send):\n"
        "    await send({'type': 'lifespan.startup.failed', 'message': 'no database'})\n"
        "mount(application, globals())\n"
    )
    with pytest.raises(ConfigError, match="no database"), running_server(tmp_path):
        pass


@pytest.mark.parametrize(
    ("body", "is_told"),
    [
        ("raise ValueError('no lifespan')", False),
        ("sys.exit(3)", False),
        ("return", False),
        ("await receive(); raise ValueError('no database')", True),
        ("await receive(); sys.exit(3)", True),
        ("await send({'type': 'lifespan.startup.complete'}); await receive(); sys.exit(3)", True),
    ],
)
def test_lifespan_that_fails_is_told_and_the_application_served(tmp_path, body, is_told):
    (tmp_path / "app_wsh.py").write_text(
        "import sys\n"
        "from fastwsh.asgi import mount\n"
        "async def application(scope, receive, send):\n"
        "    if scope['type'] == 'lifespan':\n"
        f"        {body}\n"
        "        return\n"
        "    await receive()\n"
        "    await send({'type': 'websocket.accept'})\n"
        "    await receive()\n"
        "mount(application, globals())\n"
    )
    with running_server(tmp_path) as server, fastwsh.connect(server.url_for("/app")):
        pass
    failure = "The lifespan of the ASGI application failed"
    assert any(failure in line for line in server.log) == is_told


def test_no_application(tmp_path):
    (tmp_path / "app_wsh.py").write_text("from fastwsh.asgi import mount\nmount(None, globals())\n")
    with (
        pytest.raises(ConfigError, match="None is no ASGI application"),
        running_server(tmp_path),
    ):
        pass
