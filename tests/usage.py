"""What a server's process holds, to see that nothing of what ended stays."""

import gc
import re
import resource
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from conftest import Server
from wire import DEADLINE_SECONDS


@dataclass(frozen=True)
class Usage:
    """What the server's process holds."""

    threads: int
    descriptors: int
    memory_kib: int

    @classmethod
    def of(cls, server: Server) -> "Usage":
        return cls.of_process(server.process.pid)

    @classmethod
    def of_process(cls, pid: int) -> "Usage":
        process = Path("/proc", str(pid))
        rollup = (process / "smaps_rollup").read_text(encoding="ascii")
        memory = re.search(r"^Pss: +(\d+) kB$", rollup, re.MULTILINE)
        assert memory is not None
        return cls(
            threads=len(list((process / "task").iterdir())),
            descriptors=len(list((process / "fd").iterdir())),
            memory_kib=int(memory[1]),
        )


def wait_for_usage(server: Server, condition: Callable[[Usage], bool]) -> Usage:
    """Poll what the process holds, which nothing announces, until the condition is met."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition(usage := Usage.of(server)):
        if time.monotonic() > deadline:
            pytest.fail(f"the server holds {usage}")
        threading.Event().wait(0.05)
    return usage


def allow_descriptors(connections: int) -> None:
    """Let this process, and the servers it starts, have enough descriptors; skips if it cannot.

    A descriptor per connection and end, some more for the processes themselves.
    """
    wanted = connections + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        pytest.skip(f"the hard limit of {hard} open files is below the {wanted} needed")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def own_descriptors() -> int:
    """Descriptors of the tests' own process, without those of objects that nobody has any more."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def wait_for_own_descriptors(most: int) -> None:
    """Wait until the tests' own process has no more than so many, which nothing announces."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while (count := own_descriptors()) > most:
        if time.monotonic() > deadline:
            links = [
                link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink()
            ]
            open_ones = ", ".join(map(str, links))
            pytest.fail(f"{count} descriptors are open, {most} were to be left: {open_ones}")
        time.sleep(0.02)
