"""Socket.IO's clients: those of today with python-socketio, those of 2012 with an example."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import fissix.refactor
import pytest
import socketio

from backplane_support import redis_server
from cached_folders import make_once
from conftest import ROOT, Server, StartServer
from example_client import EXAMPLES
from fastwsh.testing import running_server
from node_support import install, run_program
from wire import DEADLINE_SECONDS

CACHE = ROOT / ".cache"

HANDLER = """
import socketio

from fastwsh.asgi import mount

server = socketio.AsyncServer(async_mode="asgi", client_manager={manager})

@server.event
async def greet(sid, name, data):
    await server.emit("greeted", {{"name": name}})
    return len(data)

mount(socketio.ASGIApp(server), globals())
"""

CLIENT_OF_TODAY = """
const { io } = require("socket.io-client");
const socket = io(process.argv[1], { transports: ["websocket"], reconnection: false });
const seen = [];
function end() {
  if (seen.length < 2) return;
  console.log(JSON.stringify(seen.sort()));
  socket.disconnect();
}
socket.on("connect_error", (error) => { console.log(String(error)); process.exit(1); });
socket.on("greeted", (data) => { seen.push(["greeted", data.name]); end(); });
const answer = (size) => { seen.push(["answer", size]); end(); };
socket.emit("greet", "ann", Buffer.from("bytes"), answer);
"""

CLIENTS_OF_2012 = """
const io = require(`${process.cwd()}/node_modules/socket.io-client`);
const [ann, bob] = [1, 2].map(() => io.connect(process.argv[1], { "force new connection": true }));
const seen = [];
function end() {
  if (seen.length < 2) return;
  console.log(JSON.stringify(seen.sort()));
  process.exit(0);
}
bob.on("news", (data) => { seen.push(["news", data]); end(); });
bob.on("connect", () =>
  ann.emit("news", { from: "ann: 1" }, (answer) => { seen.push(["answer", answer]); end(); }));
"""


@pytest.fixture
def of_2012(start_server: StartServer) -> Server:
    return start_server("-d", EXAMPLES)


def test_clients_of_today(tmp_path: Path):
    (tmp_path / "socket.io_wsh.py").write_text(HANDLER.format(manager=None))
    package = install(CACHE, "socket.io-client@4.8.1")
    with running_server(tmp_path) as server:
        url = f"http://127.0.0.1:{server.port}"
        printed = run_program(package, CLIENT_OF_TODAY, url)
        assert json.loads(printed) == [["answer", 5], ["greeted", "ann"]]
        with in_python(url) as client:
            assert client.call("greet", ("bob", b"123"), timeout=DEADLINE_SECONDS) == 3
            assert client.receive(timeout=DEADLINE_SECONDS) == ["greeted", {"name": "bob"}]


def test_two_servers_with_redis(tmp_path: Path, redis_url: str):
    manager = f"socketio.AsyncRedisManager({redis_url!r})"
    (tmp_path / "socket.io_wsh.py").write_text(HANDLER.format(manager=manager))
    with running_server(tmp_path) as one, running_server(tmp_path) as other:
        urls = [f"http://127.0.0.1:{server.port}" for server in (one, other)]
        with in_python(urls[0]) as ann, in_python(urls[1]) as bob:
            # a server listens to Redis from its first connection on, and says nothing of it
            deadline = time.monotonic() + DEADLINE_SECONDS
            for number in itertools.count():
                assert ann.call("greet", (f"ann {number}", b""), timeout=DEADLINE_SECONDS) == 0
                try:
                    assert bob.receive(timeout=0.5)[0] == "greeted"
                    break
                except socketio.exceptions.TimeoutError:
                    assert time.monotonic() < deadline


def test_javascript_clients_of_2012(of_2012: Server, tmp_path: Path):
    package = install(CACHE, "socket.io-client@0.9.17")
    # the package wants to be required by a file
    program = tmp_path / "clients.js"
    program.write_text(CLIENTS_OF_2012)
    url = f"http://127.0.0.1:{of_2012.port}"
    printed = run_program(package, f"require({json.dumps(str(program))})", url)
    assert json.loads(printed) == [["answer", "received"], ["news", {"from": "ann: 1"}]]


def test_python_clients_of_2012(of_2012: Server):
    package = make_once(CACHE / "socketIO-client-0.5", install_python_2_client)
    program = """if True:
        import socket, sys, websocket
        from socketIO_client import SocketIO
        recv = websocket.WebSocket.recv
        def recv_as_in_2012(connection):
            try:
                return recv(connection)
            except websocket.WebSocketTimeoutException as error:
                raise socket.timeout from error
        websocket.WebSocket.recv = recv_as_in_2012
        seen = []
        with SocketIO("127.0.0.1", int(sys.argv[1])) as ann:
            with SocketIO("127.0.0.1", int(sys.argv[1])) as bob:
                bob.emit("news", {"from": "bob"}, lambda answer: seen.append(answer))
                bob.wait_for_callbacks(seconds=10)
            ann.on("news", lambda data: seen.append(data["from"]))
            while len(seen) < 2:
                ann.wait(seconds=1)
        print(*seen)
    """
    done = subprocess.run(
        [sys.executable, "-c", program, str(of_2012.port)],
        check=False,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE_SECONDS,
    )
    assert done.stdout == "received bob\n", done.stderr


def install_python_2_client(folder: Path) -> None:
    """Install the package, which is in Python 2, and translate it."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", folder]
    subprocess.run([*command, "socketIO-client==0.5"], check=True, capture_output=True)
    fixers = fissix.refactor.get_fixers_from_package("fissix.fixes")
    tool = fissix.refactor.RefactoringTool(fixers)
    for file in Path(folder, "socketIO_client").glob("*.py"):
        file.write_text(str(tool.refactor_string(file.read_text() + "\n", file.name)))


def in_python(url: str) -> "socketio.SimpleClient":
    client = socketio.SimpleClient()
    client.connect(url, transports=["websocket"], wait_timeout=DEADLINE_SECONDS)
    return client


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    with redis_server(tmp_path) as engine:
        yield engine.url
