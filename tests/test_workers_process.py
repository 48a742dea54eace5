"""A worker as its parent sees it: lines that are none, and a process that cannot be started."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from fastwsh.workers.process import WorkerProcess, _Relay


@pytest.mark.parametrize(
    "line",
    [
        b"12",
        b"null",
        b'"abc"',
        b'{"a": 1, "b": 2, "c": 3}',
        b"[1, 2, 3]",
        b'["log", "30", "text"]',
        b"[" * 100_000,
        b"a child \xff",
    ],
)
def test_line_of_a_child_is_a_warning(line: bytes):
    written: list[tuple[str, int, str]] = []

    async def main() -> None:
        relay = _Relay(lambda *said: written.append(said))
        relay.data_received(line + b'\n["log", 20, "of the worker"]\n')

    asyncio.run(main())
    told = line.decode(errors="backslashreplace")
    assert written == [("log", logging.WARNING, told), ("log", logging.INFO, "of the worker")]


def descriptors() -> list[Path]:
    """Those of this process, and the one that lists them."""
    return sorted(Path("/dev/fd").iterdir())


def test_process_that_cannot_be_told_its_settings_leaves_no_descriptor():
    def start_message(*_: object) -> Any:
        # as if the current folder had been removed
        raise FileNotFoundError(2, "No such file or directory")

    async def main() -> None:
        process = WorkerProcess(lambda *_: None, lambda *_: None)
        before = descriptors()
        with pytest.raises(FileNotFoundError):
            await process.run(".", start_message, lambda: None)
        assert descriptors() == before

    asyncio.run(main())
