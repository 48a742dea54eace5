"""The file of a recording: whole at any time, and without secrets."""

import json
import os
import random
import subprocess
import sys
import threading

import pytest

import fastwsh
from conftest import clean_environment
from fastwsh.record.writer import HarWriter
from fastwsh.testing import har, running_server
from record_support import entries_of

WRITES = """
import itertools, sys, time
from fastwsh.record.writer import HarWriter
from fastwsh.testing.har import Conversation, Message

writer = HarWriter(sys.argv[1])
names = [writer.begin(Conversation(f"ws://{letter}/")) for letter in "ab"]
for number in itertools.count():
    size = int(sys.argv[2]) if number % 3 else 10
    writer.add(names[number % 7 == 0], Message(True, time.time(), 1, "x" * size))
    if number == 20:
        print("has begun", flush=True)
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "session.har"


def message(data="x", time=1.0):
    return har.Message(True, time, har.TEXT, data)


@pytest.mark.parametrize("size", [50, 3000, 100_000, 1_000_000])
def test_the_file_is_whole_whenever_the_process_is_killed(file, size):
    for _ in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITES, str(file), str(size)],
            stdout=subprocess.PIPE,
            env=clean_environment(),
        )
        with process:
            assert process.stdout.readline() == b"has begun\n"
            # a moment that nobody has chosen
            threading.Event().wait(random.uniform(0.001, 0.05))
            process.kill()
        # what an earlier process has left goes on
        assert all(len(one.messages) >= 3 for one in har.read(file))
    assert len(har.read(file)) == 8


def test_the_file_is_whole_after_every_write(file):
    writer = HarWriter(file)
    names = []
    for number in range(300):
        if number % 50 == 0:
            names.append(writer.begin(har.Conversation(f"ws://a/{number}")))
        writer.add(names[number % 7 % len(names)], message("y" * (number * 37 % 5000)))
        assert sum(len(one.messages) for one in har.read(file)) == number + 1
    writer.close()
    assert sum(len(one.messages) for one in har.read(file)) == 300
    assert len(entries_of(file)) == 6
    assert [path.name for path in file.parent.iterdir()] == ["session.har"]


def test_a_file_system_without_hard_links_will_do(file, monkeypatch):
    def refuse(*_):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    writer = HarWriter(file)
    name = writer.begin(har.Conversation("ws://a/"))
    for number in range(100):
        writer.add(name, message("z" * 100, number))
        assert len(har.read(file)[0].messages) == number + 1
    writer.close()
    assert [path.name for path in file.parent.iterdir()] == ["session.har"]


def test_a_full_disk_leaves_what_was_there(file, monkeypatch):
    writer = HarWriter(file)
    name = writer.begin(har.Conversation("ws://a/"))
    writer.add(name, message("kept"))
    real = os.pwrite

    def pwrite(descriptor, data, place):
        # half of it fits
        real(descriptor, data[: len(data) // 2], place)
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "pwrite", pwrite)
    writer.add(name, message("n" * 10_000))
    writer.add(name, message("never"))
    assert writer.error.errno == 28
    assert [one.data for one in har.read(file)[0].messages] == ["kept"]
    monkeypatch.undo()
    writer.close()


def test_a_file_that_is_there_goes_on(file):
    other = {"request": {"method": "GET", "url": "http://a/"}, "response": {"status": 200}}
    whole = {"log": {"version": "1.2", "entries": [other], "comment": "mine"}, "_more": 1}
    file.write_text(json.dumps(whole))
    for number in range(2):
        writer = HarWriter(file)
        writer.add(writer.begin(har.Conversation("ws://a/")), message(str(number)))
        writer.close()
    assert [one.messages[0].data for one in har.read(file)] == ["0", "1"]
    assert entries_of(file)[0] == other
    assert json.loads(file.read_text())["log"]["comment"] == "mine"
    HarWriter(file, overwrite=True).close()
    assert har.read(file) == []


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"log": 1}', '{"log": {"entries": {"a": 1}}}'])
def test_a_file_that_is_no_har_is_left_alone(file, text):
    file.write_text(text)
    with pytest.raises(har.HarError, match="is there, and is no HAR file"):
        HarWriter(file)
    assert file.read_text() == text


def test_two_recorders_of_one_file_are_one_too_many(file):
    writer = HarWriter(file)
    name = writer.begin(har.Conversation("ws://a/"))
    with pytest.raises(har.HarError, match="is recorded by another process"):
        HarWriter(file)
    writer.add(name, message())
    writer.close()
    assert len(har.read(file)[0].messages) == 1


def test_the_file_of_a_link_and_its_mode_are_kept(file, tmp_path):
    file.write_text("")
    file.chmod(0o600)
    link = tmp_path / "link.har"
    link.symlink_to(file)
    HarWriter(link).close()
    assert link.is_symlink()
    assert file.stat().st_mode & 0o777 == 0o600


def test_joining_the_entries_of_a_connection_keeps_the_mode_of_the_file(file):
    file.write_text("")
    file.chmod(0o600)
    writer = HarWriter(file)
    names = [writer.begin(har.Conversation(f"ws://{letter}/")) for letter in "ab"]
    for name in names:
        writer.add(name, message())
    writer.close()
    assert [len(one.messages) for one in har.read(file)] == [1, 1]
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        HarWriter(tmp_path / "none" / "session.har")


# --- secrets


def record(file, say="hello", headers=(), path="/", reply="secret-reply", **options):
    """Record one connection, with secrets everywhere."""
    with running_server() as real, running_server() as server:

        @real.handler(path.partition("?")[0])
        def serve(connection):
            for message in connection:
                connection.send(f"{message} {reply}")

        server.record(real.url, file, **options)
        url = server.url_for(path)
        with fastwsh.connect(url, headers=dict(headers)) as connection:
            connection.send(say)
            answer = connection.recv(20)
    return answer


def test_credentials_and_cookies_are_redacted_by_default(file):
    secrets = {"Authorization": "Bearer s3cret", "Cookie": "session=s3cret", "X-Mine": "kept"}
    record(file, headers=secrets)
    assert "s3cret" not in file.read_text()
    headers = {name.lower(): value for name, value in har.read(file)[0].request_headers}
    assert headers["authorization"] == headers["cookie"] == har.REDACTED
    assert headers["x-mine"] == "kept"


def test_set_cookie_is_redacted(tmp_path):
    from fastwsh.record.redaction import Redaction

    pairs = [("Set-Cookie", "a=s3cret; Path=/"), ("SET-COOKIE", "b=s3cret"), ("Server", "x")]
    seen = Redaction().conversation(har.Conversation("ws://a/", response_headers=pairs))
    assert [value for _, value in seen.response_headers] == [har.REDACTED] * 2 + ["x"]
    assert pairs[0][1] == "a=s3cret; Path=/"


def test_other_headers_and_parameters_are_redacted_on_demand(file):
    record(
        file,
        headers={"X-Api-Key": "s3cret"},
        path="/?token=s3cret&a=1&token=s3cret%20more",
        redact_headers=["x-api-key"],
        redact_query=["token"],
    )
    assert "s3cret" not in file.read_text()
    assert har.read(file)[0].resource.startswith("/?token=[redacted]&a=1&token=[redacted]")


def test_a_hook_changes_what_is_recorded_and_not_what_passes(file):
    def redact(item):
        if isinstance(item, har.Conversation):
            item.url = "wss://public.example/"
            return item
        if item.data == "hello":
            return None
        item.data = item.data.replace("secret-reply", har.REDACTED)
        return item

    assert record(file, redact=redact) == "hello secret-reply"
    assert "secret-reply" not in file.read_text()
    (conversation,) = har.read(file)
    assert conversation.url == "wss://public.example/"
    assert [one.data for one in conversation.messages if not one.is_control] == ["hello [redacted]"]


@pytest.mark.parametrize("result", [None, "text", 1])
def test_what_a_hook_does_wrong_is_told_and_nothing_leaks(file, result, caplog):
    def redact(item):
        if isinstance(item, har.Message) and item.from_client:
            raise LookupError("no such key")
        return result if isinstance(item, har.Conversation) else item

    assert record(file, redact=redact) == "hello secret-reply"
    assert har.read(file) == []
    assert "is not recorded: the redaction failed" in caplog.text


def test_a_message_whose_redaction_fails_is_left_out(file, caplog):
    def redact(item):
        if isinstance(item, har.Message) and item.from_client:
            raise LookupError("no such key")
        return item

    record(file, redact=redact)
    assert [one.data for one in har.read(file)[0].messages if not one.is_control] == [
        "hello secret-reply"
    ]
    assert "is left out: the redaction failed" in caplog.text
