"""Tests that stop Python's clocks do not stop the test server."""

import asyncio
import contextlib
import json
import subprocess
import sys
import time

import pytest

import fastwsh
from fastwsh.testing import CheckError, WaitTimeoutError, WsServer, running_server
from wire import DEADLINE_SECONDS

freezegun = pytest.importorskip("freezegun")
time_machine = pytest.importorskip("time_machine")

MOMENT = "2001-02-03 04:05:06"
YEAR_2001 = 981173106


@contextlib.contextmanager
def frozen_everywhere():
    """Stop the clock for modules as well that freezegun leaves alone by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(freezegun.config.settings, "default_ignore_list", [])
        with freezegun.freeze_time(MOMENT):
            yield


STOPPED = pytest.mark.parametrize(
    "stop",
    [
        lambda: freezegun.freeze_time(MOMENT),
        frozen_everywhere,
        lambda: time_machine.travel(MOMENT, tick=False),
    ],
    ids=["freezegun", "freezegun-everywhere", "time-machine"],
)


def echo(connection):
    for message in connection:
        connection.send(message)


@STOPPED
def test_waiting_ends(stop):
    with running_server() as server:
        server.handler("/")(echo)
        with stop(), fastwsh.connect(server.url) as client:
            assert time.time() == YEAR_2001
            connection = server.wait_for_connection()
            for wait in (
                lambda: server.wait_for_message("x", timeout=0.05),
                lambda: server.wait_for_messages(1, timeout=0.05),
                lambda: server.wait_for_connection(2, timeout=0.05),
                lambda: connection.wait_closed(timeout=0.05),
            ):
                with pytest.raises(WaitTimeoutError):
                    wait()
            client.send("x")
            assert server.wait_for_message() == "x"
            assert client.recv(timeout=DEADLINE_SECONDS) == "x"


@STOPPED
def test_handlers_wait_in_real_time(stop):
    trips = []

    def wait(connection):
        with pytest.raises(WaitTimeoutError):
            connection.recv(timeout=0.05)
        with pytest.raises(WaitTimeoutError):
            connection.wait_closed(timeout=0.05)
        connection.stall(0.05)
        connection.throttle(100)
        connection.send("x" * 10)
        trips.append(connection.ping())

    async def wait_async(connection):
        with pytest.raises(WaitTimeoutError):
            await connection.recv(timeout=0.05)
        with pytest.raises(WaitTimeoutError):
            await connection.wait_closed(timeout=0.05)
        await connection.stall(0.05)
        await asyncio.wait_for(asyncio.sleep(0.01), 1)
        await connection.send("x" * 10)
        trips.append(await connection.ping())

    with stop(), running_server() as server:
        server.handler("/")(wait)
        server.handler("/async")(wait_async)
        for path in ("/", "/async"):
            with fastwsh.connect(server.url_for(path)) as client:
                assert list(client) == ["x" * 10]
    assert all(seconds > 0 for seconds in trips)
    assert len(trips) == 2


@STOPPED
def test_scripts_and_faults_go_on(stop):
    with stop(), WsServer() as server:
        server.delay(0.05)
        server.delay_pong(0.05)
        server.expect("a", timeout=0.1)
        with (
            fastwsh.connect(server.url) as client,
            pytest.raises(fastwsh.ConnectionClosed, match="1011"),
        ):
            client.recv(timeout=DEADLINE_SECONDS)
        with pytest.raises(CheckError, match="nothing came within"):
            server.check(timeout=0.1)
        server.clear()
        server.handler("/")(echo)
        server.restart(after=0.05)
        back = server._return
        assert back is not None
        back.join(DEADLINE_SECONDS)
        assert server.is_running
        server.handler("/")(echo)
        with fastwsh.connect(server.url) as client:
            client.send("x")
            assert client.recv(timeout=DEADLINE_SECONDS) == "x"


@STOPPED
def test_recordings_have_the_real_time(stop, tmp_path):
    with running_server() as real, running_server() as server:
        real.handler("/")(echo)
        with stop():
            server.record(real.url, tmp_path / "session.har")
            with fastwsh.connect(server.url) as client:
                client.send("x")
                client.recv(timeout=DEADLINE_SECONDS)
            server.stop()
    (entry,) = json.loads((tmp_path / "session.har").read_text())["log"]["entries"]
    assert not entry["startedDateTime"].startswith("2001")
    assert all(message["time"] > YEAR_2001 + 1e8 for message in entry["_webSocketMessages"])


def test_it_may_be_imported_while_the_clock_stands():
    program = """
import freezegun
with freezegun.freeze_time("2001-02-03"):
    from fastwsh.testing import WaitTimeoutError, running_server
    with running_server() as server:
        try:
            server.wait_for_message(timeout=0.05)
        except WaitTimeoutError as error:
            print(error)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert "did not come within 0.05 s" in done.stdout
