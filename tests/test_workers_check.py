"""`--check --workers 2`: handlers that keep connections in variables of their module."""

import ast
from pathlib import Path

import pytest

from conftest import ROOT, WriteHandler, run_fastwsh
from fastwsh.workers.module_state import find

HANDSHAKE = "def web_socket_do_extra_handshake(request):\n    pass\n"


def found(body: str, before: str = "clients = []") -> list[str]:
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    source = f"{before}\n{HANDSHAKE}def web_socket_transfer_data(request):\n{lines}"
    return [name for _, name in find(ast.parse(source))]


@pytest.mark.parametrize(
    ("body", "name"),
    [
        ("clients.append(request)", "clients"),
        ("clients.add(request.ws_stream)", "clients"),
        ("clients.append((request, 'name'))", "clients"),
        ("clients['a'] = request", "clients"),
        ("clients[request] = 'a'", "clients"),
        ("clients['room'].append(request)", "clients['room']"),
        ("clients.setdefault('room', set()).add(request)", "clients.setdefault('room', set())"),
        ("clients += [request]", "clients"),
        ("global clients\nclients = request", "clients"),
        ("stream = request.ws_stream\nclients.append(stream)", "clients"),
        ("clients.append(weakref.ref(request))", "clients"),
        ("request.app.state.clients.append(request)", "request.app.state.clients"),
        ("for room in [1]:\n    try:\n        clients.append(request)\n    finally:\n        pass",
         "clients"),
    ],
)  # fmt: skip
def test_a_kept_connection_is_found(body: str, name: str):
    # += makes a local name of it, unless it is declared
    if body.startswith("clients +="):
        body = f"global clients\n{body}"
    assert found(body) == [name]


@pytest.mark.parametrize(
    "before",
    [
        "clients: set = set()\ndef join(who):\n    clients.add(who)",
        (
            "clients = {}\ndef first(a, b):\n    second(b)\ndef second(c):\n    clients[1] = c\n"
            "def join(who):\n    first(1, who)"
        ),
        (
            "class Client:\n    def __init__(self, request):\n        self.stream = request\n"
            "clients = []\ndef join(who):\n    client = Client(who)\n    clients.append(client)"
        ),
        "if True:\n    clients = []\ndef join(who):\n    clients.append(who)",
        (
            "class Room:\n    def __init__(self):\n        self.clients = []\n"
            "    def join(self, who):\n        self.clients.append(who)\n"
            "room = Room()\ndef join(who):\n    room.join(who)"
        ),
    ],
)
def test_a_connection_is_followed(before: str):
    [name] = found("join(request)", before)
    assert name in {"clients", "self.clients"}


@pytest.mark.parametrize(
    "body",
    [
        "clients = []\nclients.append(request)",
        "history.append(request.ws_stream.receive_message())",
        "history.append(request.ws_resource)",
        "names['a'] = request.ws_protocol",
        "message = request.ws_stream.receive_message()\nhistory.append(message)",
        "request.ws_stream.send_message(str(len(history)))",
        "request.room = history",
        "others = list(history)\nothers.append(request)",
        "history.remove(request)",
    ],
)
def test_what_is_no_kept_connection_is_not_found(body: str):
    assert found(body, "history = []\nnames = {}\nclients = []") == []


def test_examples_say_what_they_keep():
    kept = {
        path.name
        for path in (ROOT / "examples").rglob("*_wsh.py")
        if find(ast.parse(path.read_text("utf-8")))
    }
    # the example for Socket.IO 0.9 has a set of streams; the chat has topics
    assert kept == {"websocket_wsh.py"}


def test_check_warns(write_handler: WriteHandler, tmp_path: Path):
    path = write_handler(
        "chat",
        f"clients = []\n{HANDSHAKE}def web_socket_transfer_data(request):\n"
        "    clients.append(request)\n",
    )
    checked = run_fastwsh("-w", "handlers", "--check", "--workers", "2", cwd=tmp_path)
    assert checked.returncode == 0
    lines = checked.stdout.splitlines()
    assert lines[1].startswith(f"warning: {path}:5 keeps connections in clients, ")
    assert "fastwsh.topics" in lines[1]
    assert lines[2] == "1 loaded, 0 failed"
    alone = run_fastwsh("-w", "handlers", "--check", cwd=tmp_path)
    assert "warning" not in alone.stdout
