"""What carries messages between servers: engines, and the bridges that servers use."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis

from backplane_support import bridged, nats_server, redis_server, url
from fastwsh.backplane import engines
from fastwsh.backplane.nats import subject_of
from proxy_support import free_port
from waiting import wait_until
from wire import DEADLINE_SECONDS

__all__ = ["url"]

TOPICS = ["room/1", "a b", "*.>", "\u4e16\u754c", "%2E", "x" * 255, "a\nb", ":"]


def test_subjects_are_one_word():
    subjects = [subject_of(topic) for topic in TOPICS]
    assert len(set(subjects)) == len(TOPICS)
    for subject in subjects:
        assert not set(subject.removeprefix("fastwsh.")) & set(" .*>\t\r\n")


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[engines.Engine]:
    engine = engines.make(url)
    try:
        await engine.connect()
        yield engine
    finally:
        await engine.close()


def test_engines_carry_all_topics_and_bytes(url: str):
    async def carry() -> None:
        async with (
            connected(url) as one,
            connected(url) as other,
            asyncio.timeout(DEADLINE_SECONDS),
        ):
            await other.subscribe(TOPICS)
            await other.subscribe(["left", TOPICS[0]])
            await other.unsubscribe(["left"])
            # what was subscribed to arrives from the engine's answer on, which nobody waits for
            received = other.receive()
            arrived = asyncio.create_task(anext(received))
            while not arrived.done():
                await one.publish([(TOPICS[0], b"?")])
                await asyncio.wait([arrived], timeout=0.05)
            sent = [
                (topic, bytes([number]) * size)
                for number, topic in enumerate(TOPICS)
                for size in (0, 1, 100_000)
            ]
            await one.publish([("left", b"x"), ("nobody", b"x")])
            await one.publish(sent)
            found = [message async for message in until(received, len(sent))]
            assert found == sent

    asyncio.run(carry())


async def until(received, count: int):
    while count:
        message = await anext(received)
        if message[1] != b"?":
            count -= 1
            yield message


def test_bridges_carry_messages_and_count_gaps(url: str):
    with bridged(url, "ann") as (ann, _), bridged(url, "bob") as (bob, gaps):
        bob.join("t")
        ann.join("t")
        ann.wait_until_heard_by(bob, "t")
        for number in range(500):
            ann.publish("t", str(number).encode(), is_sent=number % 100 != 50)
        ann.publish("u", b"nobody has subscribed")
        wanted = [("t", str(number).encode()) for number in range(500) if number % 100 != 50]
        bob.wait_for(lambda bob: bob.received[-1:] == wanted[-1:])
        assert [message for message in bob.received if message[1] != b"?"] == wanted
        assert gaps == [("t", 1)] * 5
        assert bob.missed == 5
        # its own messages do not come back
        assert ann.received == []
        bob.leave("t")
        bob.join("end")
        before = len(bob.received)
        ann.publish("t", b"late")
        while ("end", b"?") not in bob.received:
            ann.publish("end", b"?")
            with bob.changed:
                bob.changed.wait(0.05)
        assert ("t", b"late") not in bob.received[before:]


@pytest.mark.parametrize("number", [9, 15], ids=["killed", "stopped"])
@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_engine_that_comes_back(tmp_path: Path, kind: str, number: int):
    serving = redis_server(tmp_path) if kind == "redis" else nats_server()
    with (
        serving as engine,
        bridged(engine.url, "ann") as (ann, _),
        bridged(engine.url, "bob") as (bob, gaps),
    ):
        bob.join("t")
        ann.wait_until_heard_by(bob, "t")
        engine.stop(number)
        for outgoing in (ann, bob):
            outgoing.wait_for(lambda outgoing: not outgoing.is_connected)
        ann.publish("t", b"kept until it is back")
        bob.received.clear()
        bob.leave("t")
        bob.join("t")
        engine.start()
        for outgoing in (ann, bob):
            outgoing.wait_for(lambda outgoing: outgoing.is_connected)
        ann.wait_until_heard_by(bob, "t")
        # it has subscribed anew, so what it missed before is not its business any more
        assert gaps == []


def test_engine_that_comes_back_leaves_a_gap(tmp_path: Path):
    with (
        redis_server(tmp_path) as engine,
        bridged(engine.url, "ann") as (ann, _),
        bridged(engine.url, "bob") as (bob, gaps),
    ):
        bob.join("t")
        ann.wait_until_heard_by(bob, "t")
        engine.stop(9)
        ann.wait_for(lambda ann: not ann.is_connected)
        for _ in range(3):
            ann.publish("t", b"lost", is_sent=False)
        bob.received.clear()
        engine.start()
        bob.wait_for(lambda bob: bob.is_connected)
        ann.wait_until_heard_by(bob, "t")
        assert len(gaps) == 1
        assert gaps[0][1] >= 3


def test_cluster_with_sharded_channels(tmp_path: Path):
    # its nodes talk on a port of their own, by default in the range that connections get
    cluster = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with redis_server(tmp_path, *cluster) as engine:
        with contextlib.closing(redis.Redis.from_url(engine.url)) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
            wait_until(
                lambda: "cluster_state:ok" in str(node.execute_command("CLUSTER", "INFO")),
                "the cluster does not come up",
            )
        url = f"{engine.url}?cluster=1"
        with bridged(url, "ann") as (ann, _), bridged(url, "bob") as (bob, gaps):
            for topic in ("t", "u"):
                bob.join(topic)
            ann.wait_until_heard_by(bob, "t")
            bob.received.clear()
            ann.wait_until_heard_by(bob, "u")
            bob.leave("u")
            for number in range(100):
                ann.publish("t", str(number).encode())
            bob.wait_for(lambda bob: bob.received[-1:] == [("t", b"99")])
            assert gaps == []


def test_unix_socket_whose_owner_ends(tmp_path: Path):
    url = f"unix:{tmp_path}/bus"
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(contextlib.ExitStack())
        ann, _ = first.enter_context(bridged(url, "ann"))
        ann.wait_for(lambda ann: ann.is_connected)
        bob, _ = stack.enter_context(bridged(url, "bob"))
        eve, _ = stack.enter_context(bridged(url, "eve"))
        bob.join("t")
        for other in (ann, eve):
            bob.received.clear()
            other.wait_until_heard_by(bob, "t")
        first.close()
        bob.received.clear()
        eve.wait_until_heard_by(bob, "t")
        assert Path(tmp_path, "bus").stat().st_mode & 0o77 == 0
