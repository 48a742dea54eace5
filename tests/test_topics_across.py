"""Topics across servers and workers: what reaches whom, and what is said when it cannot."""

import contextlib
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from backplane_support import redis_server
from conftest import Server, StartServer, WriteHandler, run_fastwsh
from fastwsh import topics
from fastwsh.publish import main as publish
from metrics_support import Metrics, ask
from wire import DEADLINE_SECONDS, TEXT, Client

ROOM = """
import os
from fastwsh import topics

def web_socket_do_extra_handshake(request):
    topics.subscribe(request, "room")

def web_socket_transfer_data(request):
    request.ws_stream.send_message(f"in {os.getpid()}")
    while (text := request.ws_stream.receive_message()) is not None:
        if text == "die":
            os.kill(os.getpid(), 9)
        topics.publish("room", text, exclude=request)
        request.ws_stream.send_message("done")
"""


def log_of_ended(server: Server) -> str:
    """End a server, and return its whole log."""
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    return server.log.text()


@contextlib.contextmanager
def visitor(server: Server) -> Iterator[tuple[Client, str]]:
    """A client, and the process that serves it."""
    with server.connect() as client:
        client.handshake("/room")
        yield client, client.read_frame().payload.decode()


def say(client: Client, text: str) -> None:
    """Publish by a client's handler."""
    client.send_frame(TEXT, text.encode())
    while client.read_frame().payload != b"done":
        pass


def hear(client: Client, wanted: str) -> None:
    while (payload := client.read_frame().payload.decode()) != wanted:
        assert payload.startswith("?"), payload


def until_heard(speaker: Client, listener: Client) -> None:
    """Speak until the listener hears it: nobody says when a subscription counts."""
    heard = threading.Event()

    def listen() -> None:
        listener.read_frame()
        heard.set()

    listening = threading.Thread(target=listen)
    listening.start()
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not heard.wait(0.05):
        say(speaker, "?")
        assert time.monotonic() < deadline
    listening.join()


@contextlib.contextmanager
def one_in_each_worker(server: Server) -> Iterator[dict[str, Client]]:
    with contextlib.ExitStack() as stack:
        found: dict[str, Client] = {}
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(found) < 2:
            assert time.monotonic() < deadline
            client, worker = stack.enter_context(visitor(server))
            if worker not in found:
                found[worker] = client
        yield found


def test_between_workers(start_server: StartServer, write_handler: WriteHandler, tmp_path: Path):
    write_handler("room", ROOM)
    # a socket's path must not be as long as this
    (long := tmp_path / ("x" * 100)).mkdir()
    server = start_server("-w", "handlers", "--workers", "2", env={"TMPDIR": str(long)})
    with one_in_each_worker(server) as clients:
        ann, bob = clients.values()
        until_heard(ann, bob)
        for number in range(100):
            say(ann, str(number))
        for number in range(100):
            hear(bob, str(number))


def test_after_the_death_of_a_worker(start_server: StartServer, write_handler: WriteHandler):
    write_handler("room", ROOM)
    server = start_server("-w", "handlers", "--workers", "2")
    with one_in_each_worker(server) as clients:
        ann, bob = clients.values()
        until_heard(ann, bob)
        bob.send_frame(TEXT, b"die")
        bob.read_to_end()
        for number in range(20):
            say(ann, f"?{number}")
        dead = list(clients)[1]
        with contextlib.ExitStack() as stack:
            deadline = time.monotonic() + DEADLINE_SECONDS
            while True:
                assert time.monotonic() < deadline
                eve, worker = stack.enter_context(visitor(server))
                if worker not in clients:
                    break
            assert worker != dead
            until_heard(ann, eve)


def test_two_servers_and_a_command(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
):
    write_handler("room", ROOM)
    bus = f"unix:{tmp_path}/bus"
    servers = [start_server("-w", "handlers", "--backplane", bus) for _ in range(2)]
    with visitor(servers[0]) as (ann, _), visitor(servers[1]) as (bob, _):
        until_heard(ann, bob)
        until_heard(bob, ann)
        say(ann, "to bob")
        hear(bob, "to bob")
        assert publish(["--backplane", bus, "room", "to all"]) == 0
        hear(ann, "to all")
        hear(bob, "to all")


def test_two_servers_with_two_workers_and_redis(
    start_server: StartServer,
    write_handler: WriteHandler,
    tmp_path: Path,
):
    write_handler("room", ROOM)
    with redis_server(tmp_path, "--requirepass", "secret", user=":secret@") as engine:
        environment = {"FASTWSH_BACKPLANE": engine.url}
        options = ("-w", "handlers", "--workers", "2", "--metrics-port", "0")
        one, other = (start_server(*options, env=environment) for _ in range(2))
        with one_in_each_worker(one) as here, one_in_each_worker(other) as there:
            ann, *others = (*here.values(), *there.values())
            for listener in others:
                until_heard(ann, listener)
            # each of them once, by whatever way
            for text in ("to all", "once more"):
                say(ann, text)
                for listener in others:
                    hear(listener, text)
            engine.stop(9)
            one.log.wait_for("No connection to the backplane redis://:\\*\\*\\*@")
            # nothing local waits for it, and the workers of a server go on together
            for text in ("alone", "as ever"):
                say(ann, text)
                hear(others[0], text)
            engine.start()
            until_heard(ann, others[-1])
        for server in (one, other):
            assert "secret" not in log_of_ended(server)


def test_health_and_metrics(start_server: StartServer, write_handler: WriteHandler, tmp_path: Path):
    write_handler("room", ROOM)
    with redis_server(tmp_path) as engine:
        server = start_server("-w", "handlers", "--backplane", engine.url, "--metrics-port", "0")
        metrics = Metrics(server)
        server.log.wait_for("Connected to the backplane")
        metrics.wait_for("backplane_connected", 1)
        assert ask(metrics.port, "/healthz")[1] == "ok\n"
        engine.stop(9)
        server.log.wait_for("No connection to the backplane")
        metrics.wait_for("backplane_connected", 0)
        response, text = ask(metrics.port, "/healthz")
        assert (response.status, text) == (200, "degraded: no connection to the backplane\n")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("http://a", "'http://a' is no backplane; give redis://HOST"),
        ("redis://:secret@", r"redis://:\*\*\*@: it names no host"),
    ],
)
def test_bad_backplane_ends_the_start(tmp_path: Path, url: str, sentence: str):
    done = run_fastwsh("--backplane", url, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(sentence, done.stderr)
    assert "secret" not in done.stderr


def test_password_in_the_command_line_is_warned_of(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("room", ROOM)
    server = start_server("-w", "handlers", "--backplane", "redis://:secret@127.0.0.1:1")
    server.log.wait_for(r"redis://:\*\*\*@127.0.0.1:1: every user of this machine can see")
    with visitor(server) as (ann, _):
        say(ann, "nothing local waits")
    assert "secret" not in log_of_ended(server)


def test_functions_of_on_gap(caplog: pytest.LogCaptureFixture):
    told = []
    ends = [
        topics.on_gap(lambda topic, missed: 1 / 0),
        topics.on_gap(lambda topic, missed: told.append((topic, missed))),
    ]
    topics.tell_gap("room", 3)
    for end in ends:
        end()
        end()
    topics.tell_gap("room", 4)
    assert told == [("room", 3)]
    assert "A function of topics.on_gap failed" in caplog.text
