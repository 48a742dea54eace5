"""A handler's exceptions mean the same in groups, as `asyncio.TaskGroup` raises them."""

import asyncio
import re

import pytest
from websockets.sync.client import connect

from async_support import Serve, coroutine, serve
from fastwsh.testing import CheckError, running_server
from metrics_support import Metrics
from wire import CLOSE, Client

__all__ = ["serve"]

IN_TASKS = """\
import asyncio
from pywebsocket3 import handshake, msgutil

async def web_socket_do_extra_handshake(request):
    await grouped({handshake})

async def web_socket_transfer_data(request):
    await grouped({transfer})

async def grouped(*works):
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)

async def nothing():
    pass

async def read(request):
    while await request.ws_stream.receive_message() is not None:
        pass

async def fail(error):
    raise error

async def fail_later(request, error):
    try:
        await asyncio.Event().wait()
    finally:
        raise error
"""

NESTED = re.sub(r"await (grouped\(\{\w+\}\))", r"await grouped(\1)", IN_TASKS)

# Whoever runs several things in threads may raise one as well.
PLAIN = """\
from pywebsocket3 import handshake, msgutil

def web_socket_do_extra_handshake(request):
    grouped({handshake})

def web_socket_transfer_data(request):
    grouped({transfer})

def grouped(*works):
    errors = []
    for work in works:
        try:
            work()
        except Exception as error:
            errors.append(error)
    if errors:
        raise ExceptionGroup("outer", [ExceptionGroup("inner", errors)])

def nothing():
    return lambda: None

def read(request):
    def work():
        while request.ws_stream.receive_message() is not None:
            pass
    return work

def fail(error):
    def work():
        raise error
    return work

def fail_later(request, error):
    return fail(error)
"""

SHAPES = {"tasks": IN_TASKS, "nested tasks": NESTED, "threads": PLAIN, "hub": PLAIN}


@pytest.fixture(params=SHAPES)
def shape(request: pytest.FixtureRequest) -> str:
    return SHAPES[request.param]


@pytest.fixture
def concurrency(request: pytest.FixtureRequest) -> str:
    shape = request.node.name.partition("[")[2]
    return next((way for way in ("threads", "hub") if shape.startswith(way)), "auto")


def filled(shape: str, transfer: str = "read(request)", handshake: str = "nothing()") -> str:
    return shape.replace("{transfer}", transfer).replace("{handshake}", handshake)


def close_code(client: Client) -> int | None:
    frame = client.read_frame()
    assert frame.opcode == CLOSE
    return frame.close_code


class TestTheStreamsExceptions:
    @pytest.mark.parametrize(
        ("data", "code"),
        [
            ("81 81 00000000 ff", 1007),  # text that is no UTF-8
            ("83 80 00000000", 1002),  # a reserved opcode
            ("81 01 61", 1002),  # no mask
            ("82 91 00000000" + 17 * "00", 1009),  # over the limit
        ],
    )
    def test_close_as_they_do_alone(self, serve: Serve, shape: str, data: str, code: int):
        server = serve("--max-message-bytes", "16", group=filled(shape))
        with server.connect() as client:
            client.handshake("/group")
            client.send(bytes.fromhex(data))
            assert close_code(client) == code
        assert "Traceback" not in "\n".join(server.log.lines)

    @pytest.mark.parametrize("way", ["ends", "resets"])
    def test_a_client_that_vanishes_is_no_mistake(self, serve: Serve, shape: str, way: str):
        server = serve("--metrics-port", "0", group=filled(shape))
        metrics = Metrics(server)
        with server.connect() as client:
            client.handshake("/group")
            if way == "resets":
                client.reset()
        metrics.wait_for("closes_total", 1, code="1006", initiator="client")
        assert not any(name == "fastwsh_handler_errors_total" for name, _ in metrics.now())
        assert "[ERROR]" not in "\n".join(server.log.lines)

    def test_others_beside_them_are_reported_alone(self, serve: Serve, shape: str):
        transfer = "read(request), fail_later(request, LookupError('no such name'))"
        server = serve("--metrics-port", "0", group=filled(shape, transfer))
        metrics = Metrics(server)
        with server.connect() as client:
            client.handshake("/group")
            client.send(bytes.fromhex("81 81 00000000 ff"))
            assert client.read_to_end() == b""
        name = "web_socket_transfer_data raised exception for /group: no such name"
        server.log.wait_for(f"LookupError: {name}")
        metrics.wait_for("handler_errors_total", 1, handler="/group", phase="transfer")
        assert "InvalidUTF8Exception" not in "\n".join(server.log.lines)

    def test_who_aborts_is_heard(self, serve: Serve, shape: str):
        transfer = "fail(handshake.AbortedByUserException('enough'))"
        server = serve(group=filled(shape, transfer))
        with server.connect() as client:
            client.handshake("/group")
            assert client.read_to_end() == b""
        server.log.wait_for("Aborted: enough")
        assert "[ERROR]" not in "\n".join(server.log.lines)


class TestTheHandshakesExceptions:
    def status(self, serve: Serve, shape: str, handshake: str) -> tuple[int, Metrics]:
        server = serve("--metrics-port", "0", group=filled(shape, handshake=handshake))
        with server.connect() as client:
            client.send_request("/group")
            response = client.read_response()
        metrics = Metrics(server)
        metrics.wait_for("connections", 0, concurrency="threads", state="open")
        return response.status, metrics

    def test_keep_their_status(self, serve: Serve, shape: str):
        error = "fail(handshake.HandshakeException('who?', status=401))"
        status, metrics = self.status(serve, shape, error)
        assert status == 401
        assert not any(name == "fastwsh_handler_errors_total" for name, _ in metrics.now())

    def test_others_beside_them_count(self, serve: Serve, shape: str):
        errors = "fail(handshake.HandshakeException('who?', status=401)), fail(LookupError('no'))"
        status, metrics = self.status(serve, shape, errors)
        assert status == 403
        metrics.wait_for("handler_errors_total", 1, handler="/group", phase="handshake")

    def test_who_aborts_is_heard(self, serve: Serve, shape: str):
        error = "fail(handshake.AbortedByUserException('enough'))"
        server = serve(group=filled(shape, handshake=error))
        with server.connect() as client:
            client.send_request("/group")
            assert client.read_to_end() == b""
        server.log.wait_for("Aborted: enough")


def test_exits_in_a_group_end_the_handler_alone(serve: Serve) -> None:
    lines = "raise BaseExceptionGroup('both', [SystemExit(1), SystemExit(2)])"
    server = serve("--log-level", "debug", exits=coroutine(lines))
    with server.connect() as client:
        client.handshake("/exits")
        assert client.read_to_end() == b""
    server.log.wait_for("Handler of /exits exited")
    assert "[ERROR]" not in "\n".join(server.log.lines)


class TestTheTestServer:
    def test_an_end_in_a_group_is_no_error(self):
        with running_server() as server:

            @server.handler("/")
            async def grouped(connection):
                async with asyncio.TaskGroup() as group:
                    group.create_task(connection.recv())

            with connect(server.url):
                pass
            with Client(server.port) as client:
                client.handshake("/")
                client.reset()

    def test_what_is_beside_it_is_one(self):
        async def fail(connection):
            try:
                await connection.recv()
            finally:
                raise LookupError("no")

        with running_server() as server:

            @server.handler("/")
            async def grouped(connection):
                async with asyncio.TaskGroup() as group:
                    group.create_task(connection.recv())
                    group.create_task(fail(connection))

            with connect(server.url) as client:
                client.close()
            with pytest.raises(CheckError) as raised:
                server.check()
        (error,) = raised.value.errors
        assert isinstance(error.exception, ExceptionGroup)
        assert [type(leaf) for leaf in error.exception.exceptions] == [LookupError]
