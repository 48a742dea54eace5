"""The console's `--record`: what is said is in a HAR file, and errors are those of the server."""

import subprocess
import sys

import pytest

from conftest import clean_environment
from fastwsh.testing import har, running_server
from wire import DEADLINE_SECONDS


@pytest.fixture
def run(tmp_path):
    def run(*arguments, stdin=""):
        return subprocess.run(
            [sys.executable, "-m", "fastwsh.client", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env=clean_environment(),
            timeout=DEADLINE_SECONDS,
        )

    return run


@pytest.fixture
def real():
    with running_server() as server:

        @server.handler("/feed", subprotocols=["b"])
        def feed(connection):
            for message in connection:
                connection.send(message.upper())

        yield server


def test_what_is_said_is_recorded(run, real, tmp_path):
    url = real.url_for("/feed").replace("://", "://me:s3cret@")
    options = ["--record", "s.har", "--subprotocol", "b", "-H", "X-A: 1"]
    for _ in range(2):
        done = run(url, *options, "--send", "hello", "--expect", "1")
        assert (done.returncode, done.stdout, done.stderr) == (0, "HELLO\n", "")
    assert real.connections[0].headers["Authorization"].startswith("Basic ")
    first, second = har.read(tmp_path / "s.har")
    assert (first.url, first.subprotocol) == (real.url_for("/feed"), "b")
    assert ("x-a", "1") in [(name.lower(), value) for name, value in second.request_headers]
    assert [one.data for one in first.messages][:2] == ["hello", "HELLO"]
    assert [one.close_code for one in first.messages][2:] == [1000, 1000]
    assert dict(first.request_headers)["Authorization"] == har.REDACTED


def test_frames_are_recorded_as_well(run, real, tmp_path):
    done = run(real.url_for("/feed"), "--raw", "--record", "s.har", stdin="/ping x\n/close 1000\n")
    assert "pong" in done.stdout
    messages = har.read(tmp_path / "s.har")[0].messages
    # both sides speak at the same time
    said = {(one.from_client, one.opcode) for one in messages}
    assert said == {(True, 9), (True, 8), (False, 10), (False, 8)}


def test_the_errors_are_those_of_the_server(run, real):
    done = run(real.url_for("/none"), "--record", "s.har")
    assert done.returncode == 1
    assert f"127.0.0.1:{real.port} answered 404" in done.stderr
    done = run("ws://127.0.0.1:1/", "--record", "s.har")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "127.0.0.1:1 refused the connection" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["http://a/", "--record", "s.har"], "cannot record 'http://a/'"),
        (["ws://a/", "--record", "none/s.har"], "cannot write none/s.har: No such file"),
        (["ws://a/", "--record", "other.txt"], "is there, and is no HAR file"),
    ],
)
def test_what_cannot_be_is_one_sentence(run, tmp_path, arguments, text):
    (tmp_path / "other.txt").write_text("other")
    done = run(*arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert text in done.stderr
