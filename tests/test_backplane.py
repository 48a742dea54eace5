"""What carries messages between servers: envelopes, engines, and the bridge without a server."""

import asyncio
import contextlib
import json
import re
import time
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from backplane_support import bridged, nats_server, redis_server, url
from fastwsh.backplane import engines
from fastwsh.backplane.envelope import Envelope, EnvelopeError, Sequences, encode
from fastwsh.backplane.nats import subject_of
from fastwsh.config_error import ConfigError
from fastwsh.publish import main as publish
from proxy_support import free_port
from wire import DEADLINE_SECONDS

__all__ = ["url"]

TOPICS = ["room/1", "a b", "*.>", "\u4e16\u754c", "%2E", "x" * 255, "a\nb", ":"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
JSON = VALUES | st.fixed_dictionaries(
    {"type": VALUES | st.just("text")},
    optional=dict.fromkeys(("v", "node", "epoch", "seq"), VALUES),
)


class TestEnvelope:
    @given(
        payload=st.binary(),
        node=st.text(),
        epoch=st.integers(0, 2**64 - 1),
        seq=st.integers(0, 2**64 - 1),
    )
    def test_comes_back_as_it_was(self, payload, node, epoch, seq):
        data = encode(payload, is_text=False, node=node, epoch=epoch, seq=seq)
        assert Envelope.decode(data) == Envelope(False, payload, node, epoch, seq)

    def test_of_another_program(self):
        assert Envelope.decode(b'{"type":"text","new":[1]}\na\nb') == Envelope(True, b"a\nb")

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"hello",
            b"[1]\nx",
            b"{}\nx",
            b'{"type":"text","v":2}\nx',
            b'{"type":"json"}\nx',
            b'{"type":"text"}\n\xff',
            b'{"type":"text","node":1}\nx',
            b'{"type":"text","seq":"1"}\nx',
            b'{"type":"text","seq":-1}\nx',
            b'{"type":"text","seq":true}\nx',
            b'{"type":"text","seq":18446744073709551616}\nx',
            b'{"type":"text","epoch":1' + b"0" * 30 + b"}\nx",
            b'{"type":[]}\nx',
            b'{"type":null}\nx',
            b"[" * 100_000 + b"\nx",
            b"\xff\n",
        ],
    )
    def test_anything_else_is_told(self, data):
        with pytest.raises(EnvelopeError):
            Envelope.decode(data)

    @given(fields=JSON, payload=st.binary(max_size=5))
    def test_any_json_is_used_or_told(self, fields, payload):
        with contextlib.suppress(EnvelopeError):
            Sequences().missed("t", Envelope.decode(json.dumps(fields).encode() + b"\n" + payload))

    def test_gaps_are_counted(self):
        sequences = Sequences()

        def take(seq: int, node: str = "a", epoch: int = 1, topic: str = "t") -> int:
            return sequences.missed(topic, Envelope(True, b"", node, epoch, seq))

        assert [take(5), take(6), take(9), take(1, "b"), take(10)] == [0, 0, 2, 0, 0]
        # another epoch, another topic, no number, and a topic that was left
        assert [take(3, epoch=2), take(7, topic="u"), take(0), take(4, epoch=2)] == [0, 0, 0, 0]
        sequences.forget("t")
        assert take(99, epoch=2) == 0
        # of a program that names no epoch
        assert [take(7, "c", epoch=0), take(9, "c", epoch=0)] == [0, 1]


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "is no backplane"),
        ("redis", "it names no host"),
        ("redi", "is no backplane"),
        ("http://a", "is no backplane"),
        ("unix:", "is no backplane"),
        ("unix:///", "is no backplane"),
        (f"unix:/tmp/{'x' * 100}", "at most 103 bytes"),
        ("unix:/none/such/bus", "its folder does not exist"),
        ("redis://", "it names no host"),
        ("nats://:4222", "it names no host"),
        ("redis://a:x", "its port is no number"),
        ("redis://u:secret@a:x", "its port is no number"),
        ("redis://u:secret@a:65536", "its port is no number"),
        ("redis://u:secret", "its port is no number"),
        ("redis://:secret/secret@a", "write %2F, %3F and %23"),
        ("redis://u:sec/secret@a:1/0", "write %2F, %3F and %23"),
        ("redis://u:sec?secret@a", "write %2F, %3F and %23"),
        ("nats://u:sec#secret@a", "write %2F, %3F and %23"),
        ("redis://u:se[cret@a", "its host cannot be read"),
        ("redis://u:sec\u2100ret@a", "its host cannot be read"),
        ("nats://u:secret@a,nats://u:secret@b", "several hosts"),
        ("nats://u:secret@a/path", "mean nothing to NATS"),
        ("redis://u:secret@a/zero", "no number of a database"),
        ("redis://a?password=secret&db=x", "Invalid value for 'db'"),
        ("redis://a?password=secret&bogus=1", "does not know one of its words.*bogus"),
        ("redis://a?password=secret&cluster=1&bogus=1", "does not know one of its words.*bogus"),
        ("redis://u:secret@a/1?cluster=1", "'db' must be 0"),
        ("redis://u:secret@a?cluster=yes", "neither 0 nor 1"),
        ("redis://u:secret@a?decode_responses=1", "decode_responses cannot be chosen"),
        ("unix:a\0b", "no zero byte"),
    ],
)
def test_bad_urls_are_told_without_their_password(url: str, why: str):
    with pytest.raises(ConfigError, match=why) as raised:
        engines.check(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://:secret@h:1/0?a=b", "redis://:***@h:1/0?a=b"),
        ("nats://ann:s%40cret@h", "nats://ann:***@h"),
        ("redis://ann@h", "redis://ann@h"),
        # what stands alone is a token
        ("nats://secret@h:4222", "nats://***@h:4222"),
        ("tls://secret@h", "tls://***@h"),
        ("redis://[::1]:6379/3", "redis://[::1]:6379/3"),
        ("redis://:secret@[::1]:6379/3", "redis://:***@[::1]:6379/3"),
        ("redis://h?password=secret&db=1", "redis://h?password=***&db=1"),
        ("rediss://h/0?ssl_password=secret", "rediss://h/0?ssl_password=***"),
        # signs that nobody has escaped
        ("redis://:sec/ret@h", "redis://***@h"),
        ("redis://u:sec/ret@h:1/0?cluster=1", "redis://***@h:1/0?cluster=1"),
        ("redis://u:sec?ret@h", "redis://***@h"),
        ("redis://u:sec#ret@h", "redis://***@h"),
        ("redis://u:s@cret@h", "redis://***@h"),
        ("redis://u:secret", "redis://u:***"),
        ("redis:secret", "redis:***"),
        ("redis://:sec/ret", "redis://:***"),
        ("redis://[::1", "redis://***"),
        ("redis://u:sec[ret@h", "redis://u:***@h"),
        ("http://u:secret@h", "http://u:***@h"),
        ("unix:a:b@c?password=d", "unix:a:b@c?password=d"),
    ],
)
def test_passwords_are_not_shown(url: str, shown: str):
    assert engines.without_password(url) == shown
    assert engines.has_password(url) == (url != shown)


@given(
    st.sampled_from(["redis", "rediss", "nats", "tls", "http"]),
    st.sampled_from(["ann:", ":", ""]),
    st.text(min_size=1, max_size=12),
    st.sampled_from(["host", "[::1]:1", "h:1/0", "h/0?cluster=1&db=2", "h?client_name=a@b", ""]),
)
def test_no_password_is_shown_whatever_its_signs(scheme: str, user: str, text: str, place: str):
    if not user and scheme not in {"nats", "tls"}:
        # what stands alone is the name of a user
        user = ":"
    # in a token a colon would end the name of a user
    password = f"\u2020{text if user else text.replace(':', '')}\u2021"
    url = f"{scheme}://{user}{password}@{place}"
    shown = engines.without_password(url)
    assert "***" in shown
    assert not {"\u2020", "\u2021"} & set(shown)
    try:
        engines.check(url)
    except ConfigError as error:
        assert not {"\u2020", "\u2021"} & set(str(error))  # noqa: PT017 (few URLs are wrong)


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
            deadline = time.monotonic() + DEADLINE_SECONDS
            while "cluster_state:ok" not in str(node.execute_command("CLUSTER", "INFO")):
                assert time.monotonic() < deadline
                time.sleep(0.01)
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


@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_wrong_password(tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture):
    wrong = "x:wrong@"
    serving = (
        redis_server(tmp_path, "--requirepass", "right", user=wrong)
        if kind == "redis"
        else nats_server("--user", "x", "--pass", "right", user=wrong)
    )
    with serving as engine, bridged(engine.url, "ann"):
        deadline = time.monotonic() + DEADLINE_SECONDS
        while "No connection to the backplane" not in caplog.text:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert "wrong" not in caplog.text
    assert ":***@" in caplog.text


@pytest.mark.parametrize("has_user", [True, False])
@pytest.mark.parametrize("kind", ["redis", "nats"])
def test_passwords_with_any_signs(tmp_path: Path, kind: str, has_user: bool):
    user, password = "us\u00e9r", "p@s/w:r?d#%25 &+\u00fc"
    escaped = urllib.parse.quote(password, safe="")
    login = f"{urllib.parse.quote(user)}:{escaped}@"
    if kind == "redis" and has_user:
        serving = redis_server(
            tmp_path, "--user", user, "on", f">{password}", "~*", "&*", "+@all", user=login
        )
    elif kind == "redis":
        serving = redis_server(tmp_path, "--requirepass", password, user=f":{escaped}@")
    elif has_user:
        serving = nats_server("--user", user, "--pass", password, user=login)
    else:
        # what stands alone is a token
        serving = nats_server("--auth", password, user=f"{escaped}@")
    with serving as engine:
        assert publish(["--backplane", engine.url, "t", "hello"]) == 0


def test_command(url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FASTWSH_BACKPLANE", url)
    with bridged(url, "bob") as (bob, _):
        bob.wait_for(lambda bob: bob.is_connected)
        bob.join("t")
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not bob.received:
            assert publish(["t", "hello"]) == 0
            assert time.monotonic() < deadline
        assert bob.received[0] == ("t", b"hello")
    assert publish(["", "hello"]) == 2
    assert "empty" in capsys.readouterr().err


def test_command_without_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert publish(["--backplane", f"unix:{tmp_path}/none", "t", "hello"]) == 1
    assert "cannot publish by unix:" in capsys.readouterr().err
    assert publish(["--backplane", "redis://x:secret@127.0.0.1:1", "t", "hello"]) == 1
    assert "secret" not in capsys.readouterr().err
    # at once, and with the reason
    assert publish(["--backplane", "nats://x:secret@127.0.0.1:1", "t", "hello"]) == 1
    said = capsys.readouterr().err
    assert re.search(r"nats://x:\*\*\*@127.0.0.1:1 \(.*(refused|Connect call failed)", said), said
    with pytest.raises(SystemExit) as raised:
        publish(["t", "hello"])
    assert raised.value.code == 2


def test_command_that_is_given_nothing_to_send(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    assert publish(["--backplane", "unix:none", "\udcff", "hello"]) == 2
    assert publish(["--backplane", "unix:none", "t", "\udcff"]) == 2
    assert publish(["--backplane", "unix:none", "\udcff", "\udcff"]) == 2
    monkeypatch.setattr("sys.stdin", None)
    assert publish(["--backplane", "unix:none", "t"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2] for line in said] == [
        "the topic '\\udcff' is not UTF-8",
        "the message is not UTF-8: send it with --binary",
        "the message is not UTF-8: send it with --binary",
        "standard input is closed: give the message as an argument",
    ]


def test_envelope_is_what_the_docs_say():
    line, _, payload = encode(b"hello", is_text=True, node="n", epoch=1, seq=2).partition(b"\n")
    assert json.loads(line) == {"v": 1, "type": "text", "node": "n", "epoch": 1, "seq": 2}
    assert payload == b"hello"
