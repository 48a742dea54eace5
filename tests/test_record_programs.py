"""`python -m fastwsh.record` and `python -m fastwsh.replay`."""

import json
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

import fastwsh
from conftest import Output, clean_environment
from fastwsh.testing import har, running_server
from wire import DEADLINE_SECONDS


@contextmanager
def running(module, *arguments, cwd):
    """A program, from when it says where it listens; ended by SIGINT."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env=clean_environment(),
    ) as process:
        process.out, process.err = Output(process.stdout), Output(process.stderr)
        process.url = process.out.wait_for(r"clients connect to (wss?://\S+)$")[1]
        try:
            yield process
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()


def run(module, *arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env=clean_environment(),
        timeout=DEADLINE_SECONDS,
    )


@pytest.fixture
def real():
    with running_server() as server:

        @server.handler("/feed")
        def feed(connection):
            for message in connection:
                connection.send(message.upper())

        yield server


def ask(url, *texts):
    with fastwsh.connect(url) as connection:
        answers = []
        for text in texts:
            connection.send(text)
            answers.append(connection.recv(DEADLINE_SECONDS))
        return answers


def test_a_session_is_recorded_and_replayed(real, tmp_path):
    arguments = [real.url_for("/feed"), "-o", "session.har", "-p", "0"]
    with running("fastwsh.record", *arguments, cwd=tmp_path) as process:
        assert process.out.lines[0].startswith(
            f"Recording {real.url}feed into session.har; clients"
        )
        assert ask(process.url, "a", "b") == ["A", "B"]
    with running("fastwsh.replay", "session.har", "-p", "0", cwd=tmp_path) as process:
        assert process.url.endswith("/feed")
        for _ in range(2):
            assert ask(process.url, "a", "b") == ["A", "B"]
        with pytest.raises(fastwsh.ConnectionClosed, match="1011"):
            ask(process.url, "x")
        process.err.wait_for(r"fastwsh.replay: replay of session.har: connection 1 of 1 .*'a'")


def test_a_killed_recorder_leaves_what_has_passed(real, tmp_path):
    file = tmp_path / "session.har"
    for number in range(1, 3):
        arguments = [real.url_for("/feed"), "-o", file, "-p", "0"]
        with running("fastwsh.record", *arguments, cwd=tmp_path) as process:
            with fastwsh.connect(process.url) as connection:
                for _ in range(50):
                    connection.send("x" * 1000)
                    connection.recv(DEADLINE_SECONDS)
                process.kill()
                process.wait()
            assert len(har.read(file)) == number
            assert len(har.read(file)[-1].messages) == 100


def test_sigterm_ends_a_recorder_as_well(real, tmp_path):
    arguments = [real.url, "-o", "session.har", "-p", "0"]
    with running("fastwsh.record", *arguments, cwd=tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["session.har"]


def test_secrets_are_redacted_by_option(real, tmp_path):
    (tmp_path / "mine.py").write_text(
        "def redact(item):\n"
        "    if hasattr(item, 'data') and item.data == 'secret':\n"
        "        return None\n"
        "    return item\n"
    )
    arguments = [real.url, "-o", "s.har", "-p", "0", "--redact-header", "X-Key"]
    arguments += ["--redact-query", "token", "--redact", "mine:redact", "-H", "X-New: s3cret"]
    with running("fastwsh.record", *arguments, "--redact-header", "X-New", cwd=tmp_path) as process:
        url = f"{process.url}feed?token=s3cret"
        with fastwsh.connect(url, headers={"x-key": "s3cret"}) as connection:
            connection.send("secret")
            assert connection.recv(DEADLINE_SECONDS) == "SECRET"
    assert real.connections[0].headers["X-New"] == "s3cret"
    text = (tmp_path / "s.har").read_text()
    assert "s3cret" not in text
    assert '"secret"' not in text


def test_a_server_that_cannot_be_reached_is_told_of(tmp_path):
    arguments = ["ws://127.0.0.1:1/", "-o", "s.har", "-p", "0"]
    with running("fastwsh.record", *arguments, cwd=tmp_path) as process:
        with pytest.raises(fastwsh.ConnectRefusedError):
            ask(process.url)
        process.err.wait_for(r"fastwsh.record: 127.0.0.1:1 refused the connection")


@pytest.mark.parametrize(
    ("module", "arguments", "status", "text"),
    [
        ("record", ["http://a/", "-o", "s.har"], 1, "cannot record 'http://a/'"),
        ("record", ["ws://a/", "-o", "none/s.har"], 1, "cannot write none/s.har: No such file"),
        ("record", ["ws://a/", "-o", "other.txt"], 1, "is there, and is no HAR file"),
        ("record", ["ws://a/"], 2, "-o"),
        ("record", ["ws://a/", "-o", "s.har", "--redact", "x"], 2, "write module:function"),
        ("record", ["ws://a/", "-o", "s.har", "--redact", "no_such:x"], 2, "no_such"),
        ("record", ["ws://a/", "-o", "s.har", "--key", "k"], 2, "--key needs --cert"),
        ("record", ["ws://a/", "-o", "s.har", "--certificate", "c"], 2, "go together"),
        ("record", ["ws://a/", "-o", "s.har", "-p", "70000"], 2, "70000"),
        ("record", ["ws://a/", "-o", "s.har", "--host", "192.0.2.1"], 1, "192.0.2.1"),
        ("replay", ["none.har"], 1, "cannot read none.har: No such file"),
        ("replay", ["other.txt"], 1, "other.txt is no HAR file"),
        ("replay", ["empty.har"], 1, "empty.har has no WebSocket connection"),
        ("replay", ["firefox.har"], 1, "as Firefox exports it"),
        ("replay", ["empty.har", "--speed", "-1"], 2, "--speed"),
        ("replay", ["empty.har", "--may-differ", "x", "--ignore", "id"], 2, "leave one out"),
        ("replay", ["empty.har", "--may-differ", "("], 2, "--may-differ"),
    ],
)
def test_what_cannot_be_is_one_sentence(tmp_path, module, arguments, status, text):
    (tmp_path / "other.txt").write_text("other")
    (tmp_path / "empty.har").write_text('{"log": {"entries": []}}')
    entry = {"request": {"url": "wss://a/"}, "response": {"status": 101}}
    (tmp_path / "firefox.har").write_text(json.dumps({"log": {"entries": [entry]}}))
    done = run(f"fastwsh.{module}", "-p", "0", *arguments, cwd=tmp_path)
    assert done.returncode == status
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert status == 2 or done.stderr.count("\n") == 1


@pytest.mark.parametrize("module", ["record", "replay"])
def test_help_is_the_manual(module, tmp_path):
    done = run(f"fastwsh.{module}", "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert f"python -m fastwsh.{module}" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


@pytest.mark.parametrize("is_good", [True, False])
def test_once_ends_with_the_outcome(is_good, tmp_path):
    messages = [har.Message(True, 1.0, har.TEXT, '{"id": 1, "op": "a"}')]
    har.write(tmp_path / "s.har", [har.Conversation("ws://a/x", 1.0, messages=messages)] * 2)
    arguments = ["s.har", "-p", "0", "--once", "--ignore", "id", "--path", "x"]
    with running("fastwsh.replay", *arguments, cwd=tmp_path) as process:
        for number in range(2):
            with fastwsh.connect(process.url) as connection:
                op = "a" if is_good or not number else "b"
                connection.send(json.dumps({"id": number, "op": op}))
        assert process.wait(DEADLINE_SECONDS) == (0 if is_good else 1)
        assert bool(re.search("connection 2 of 2", process.err.text())) is not is_good
