"""The console of the client behind a pseudo terminal."""

import os
import pty
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import clean_environment
from wire import DEADLINE_SECONDS

__all__ = ["Terminal", "console"]


class Terminal:
    """A console behind a pseudo terminal."""

    def __init__(self, process: subprocess.Popen[bytes], descriptor: int) -> None:
        self.process = process
        self.shown = ""
        self.descriptor = descriptor
        self._seen = 0

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Return the first match behind the last one."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not (match := re.compile(pattern).search(self.shown, self._seen)):
            left = deadline - time.monotonic()
            ready = select.select([self.descriptor], [], [], max(0, left))[0]
            if not ready or not self._read():
                pytest.fail(f"{pattern!r} is not shown in:\n{self.shown!r}")
        self._seen = match.end()
        return match

    def _read(self) -> bool:
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:
            return False
        self.shown += data.decode(errors="replace")
        return bool(data)

    def end(self) -> int:
        """Wait for the end; return the exit status."""
        while select.select([self.descriptor], [], [], DEADLINE_SECONDS)[0] and self._read():
            pass
        return self.process.wait(DEADLINE_SECONDS)


@contextmanager
def console(tmp_path: Path, *args: str, **env: str) -> Iterator[Terminal]:
    """Run the console; wait for its prompt."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "fastwsh.client", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=clean_environment(TERM="xterm", XDG_STATE_HOME=str(tmp_path), **env),
    )
    os.close(theirs)
    try:
        terminal = Terminal(process, ours)
        terminal.wait_for("connected to ws://.*; /help")
        terminal.wait_for("> ")
        yield terminal
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
        os.close(ours)
