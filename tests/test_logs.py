"""The two log formats: a record stays one record, whatever is in it."""

import argparse
import contextlib
import errno
import json
import logging
import os
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from conftest import run_fastwsh
from fastwsh.output import log_file, logs, outlets
from wire import DEADLINE_SECONDS

# Everything that could end a line, steer a terminal or pass for a record of ours.
HOSTILE = "a\r\n[2026-01-01 00:00:00,000] [CRITICAL] root: forged\x1b[31m\x00\x7f\x85\u2028\u202eb"


class Record:
    """A handler of `logging` on a logger of its own, and what it wrote."""

    def __init__(self, tmp_path: Path, log_format: str) -> None:
        self.path = tmp_path / "unit.log"
        self._root = logging.getLogger()
        self._before = list(self._root.handlers), self._root.level
        logs.configure(
            argparse.Namespace(
                log_file=str(self.path),
                log_max=0,
                log_count=0,
                log_level="debug",
                deflate_log_level="warn",
                log_format=log_format,
            )
        )
        self.handlers = [h for h in self._root.handlers if h not in self._before[0]]

    def text(self) -> str:
        return self.path.read_bytes().decode("utf-8")

    def remove(self) -> None:
        for handler in self.handlers:
            self._root.removeHandler(handler)
            handler.close()
        self._root.setLevel(self._before[1])


@pytest.fixture
def record(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Record]:
    """The log of this process; parametrized with the format."""
    record = Record(tmp_path, request.param)
    yield record
    record.remove()


def fail() -> None:
    raise ValueError(HOSTILE)


class TestText:
    """`--log-format text`, which is pywebsocket's format."""

    @pytest.mark.parametrize("record", ["text"], indirect=True)
    def test_message_cannot_pass_for_a_record(self, record: Record):
        logging.getLogger("peer").warning("got %s", HOSTILE)
        first, second = record.text().split("\n")[:-1]
        assert first.endswith(r"[WARNING] peer: got a\r")
        assert second == (
            r"    [2026-01-01 00:00:00,000] [CRITICAL] root: forged"
            r"\x1b[31m\x00\x7f\x85\u2028\u202eb"
        )

    @pytest.mark.parametrize("record", ["text"], indirect=True)
    def test_exception_cannot_either(self, record: Record):
        try:
            fail()
        except ValueError:
            logging.getLogger("peer").exception("failed")
        first, *rest = record.text().split("\n")[:-1]
        assert first.endswith("[ERROR] peer: failed")
        assert rest[0] == "    Traceback (most recent call last):"
        assert all(line.startswith("    ") for line in rest)
        assert re.search(r"[^\n\x20-\x7e]", record.text()) is None


class TestJson:
    """`--log-format json`."""

    @pytest.mark.parametrize("record", ["json"], indirect=True)
    def test_record_is_one_printable_line(self, record: Record):
        logging.getLogger("peer").warning("got %s", HOSTILE)
        text = record.text()
        assert re.fullmatch(r"[\x20-\x7e]+\n", text)
        entry = json.loads(text)
        assert list(entry) == ["time", "level", "logger", "message"]
        assert entry["level"] == "WARNING"
        assert entry["logger"] == "peer"
        assert entry["message"] == f"got {HOSTILE}"

    @pytest.mark.parametrize("record", ["json"], indirect=True)
    def test_time_is_iso_8601_in_utc(self, record: Record):
        logging.getLogger("peer").warning("now")
        time = json.loads(record.text())["time"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time)
        moment = datetime.fromisoformat(time)
        assert moment.utcoffset() == timedelta()
        assert abs(datetime.now(moment.tzinfo) - moment) < timedelta(minutes=1)

    @pytest.mark.parametrize("record", ["json"], indirect=True)
    def test_exception_is_a_member(self, record: Record):
        try:
            fail()
        except ValueError:
            logging.getLogger("peer").exception("failed")
        assert record.text().count("\n") == 1
        entry = json.loads(record.text())
        assert entry["message"] == "failed"
        assert entry["exception"].startswith("Traceback (most recent call last):\n")
        assert entry["exception"].endswith(f"ValueError: {HOSTILE}")

    @pytest.mark.parametrize("record", ["json"], indirect=True)
    def test_text_beyond_unicode_is_written(self, record: Record, monkeypatch: pytest.MonkeyPatch):
        # pytest would capture it, and not everything that it reports to can take it
        monkeypatch.setattr(logging.getLogger(), "handlers", record.handlers)
        logging.getLogger("peer").warning("\udcff")
        assert json.loads(record.text())["message"] == "\udcff"


def test_a_log_file_tells_how_many_lines_it_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "own.log"
    file = log_file.open_log_file(str(path), argparse.Namespace(), "--log-file")
    file.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    whole, file.stream = file.stream, Path("/dev/full").open("w")  # noqa: SIM115 (closed below)
    for number in range(3):
        file.handle(logging.makeLogRecord({"msg": f"lost {number}", "levelname": "INFO"}))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "No space left on device" in said
    full, file.stream = file.stream, whole
    with contextlib.suppress(OSError):
        full.close()
    file.handle(logging.makeLogRecord({"msg": "written", "levelname": "INFO"}))
    file.close()
    lines = path.read_text().splitlines()
    assert lines == ["INFO written", "WARNING 3 lines were lost: this file could not be written"]


def test_an_outlet_tells_of_each_text_that_it_took_and_could_not_write():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        outlet = outlets.Outlet(stream)
        errors: list[OSError] = []
        outlet.when_failed(errors.append)
        text, count = "x" * 1000, 400
        for _ in range(count):
            outlet.write(text)
        os.close(reader)
        assert outlet.drain(DEADLINE_SECONDS)
        # a pipe takes 64 KiB, which nobody knows to be lost
        assert len(errors) >= count - 66
        assert {error.errno for error in errors} == {errno.EPIPE}


def fill(path: str, folder: Path) -> set[str]:
    """Write more than a file may have; return the names in a folder."""
    handler = log_file.LogFile(path, maxBytes=100, backupCount=1, encoding="utf-8")
    try:
        for number in range(20):
            values = {"name": "x", "msg": f"line {number}", "levelno": logging.INFO}
            handler.handle(logging.makeLogRecord(values))
    finally:
        handler.close()
    return {each.name for each in folder.iterdir()}


def test_a_name_of_the_system_is_not_renamed(tmp_path: Path):
    """/dev/stderr, when it goes to a file: rotation would rename the link for all programs."""
    target = tmp_path / "target"
    with target.open("wb") as file:
        assert fill(f"/dev/fd/{file.fileno()}", tmp_path) == {"target"}
        assert target.read_text(encoding="utf-8").splitlines()[0] == "line 0"
        link = tmp_path / "link"
        link.symlink_to("/dev/fd")
        assert fill(f"{link}/{file.fileno()}", tmp_path) == {"target", "link"}
    assert fill(str(target), tmp_path) == {"target", "target.1", "link"}


@pytest.mark.parametrize("name", ["log", "link"])
def test_one_file_for_both_logs_is_refused(tmp_path: Path, name: str):
    (tmp_path / "link").symlink_to("log")
    given = "-p", "0", "--log-file", "log", "--access-log", name
    ended = run_fastwsh(*given, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == (
        f"fastwsh: --access-log {name!r} is the file of --log-file as well, and both would rotate "
        "it; name another one, or turn rotation off with --log-max 0\n"
    )


def test_files_that_are_not_rotated_may_be_the_same(tmp_path: Path):
    path = str(tmp_path / "log")
    with contextlib.ExitStack() as stack:
        for size in (0, 100):
            first, second = (log_file.LogFile(path, maxBytes=size) for _ in range(2))
            stack.callback(first.close)
            stack.callback(second.close)
            assert first.rotates_with(second) is (size > 0)
