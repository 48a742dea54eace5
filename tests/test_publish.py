"""`python -m fastwsh.publish`: one message by a backplane."""

import re
import time
from pathlib import Path

import pytest

from backplane_support import bridged, url
from fastwsh.publish import main as publish
from wire import DEADLINE_SECONDS

__all__ = ["url"]


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
