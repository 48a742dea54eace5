"""The machine that measures: what it is, its cores, and how busy others keep it."""

import contextlib
import os
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# Others that use more cores than this disturb a run.
QUIET_CORES: Final = 0.25
# A better place in the scheduler than anything that does not ask for one.
_AUTOGROUP_NICE: Final = -12
_FILES_BESIDE_CONNECTIONS: Final = 200


class Clock:
    """The processor time that the whole machine uses from now on."""

    def __init__(self) -> None:
        self._busy = _busy_seconds()
        self._started = time.monotonic()

    def busy_seconds(self) -> float:
        """Return the processor time since the start."""
        return _busy_seconds() - self._busy

    def seconds(self) -> float:
        """Return the time since the start."""
        return max(time.monotonic() - self._started, 0.01)


def wait_until_quiet(longest_seconds: float) -> None:
    """Wait until next to nothing runs, or for so long."""
    end = time.monotonic() + longest_seconds
    while time.monotonic() < end:
        clock = Clock()
        time.sleep(0.2)
        if clock.busy_seconds() / clock.seconds() < QUIET_CORES:
            return
        time.sleep(0.3)


def session_seconds(session: int) -> float:
    """Return the processor time of the processes of a session so far."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def two_cores() -> tuple[int, int] | None:
    """Return a core for the server and one for the client, if there are two."""
    cores = sorted(os.sched_getaffinity(0))
    return (cores[0], cores[1]) if len(cores) > 1 else None


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Have the processes that are started in here run on one core, if one is given."""
    before = os.sched_getaffinity(0)
    if core is not None:
        os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def prefer(session: int) -> None:
    """Give a session a better place in the scheduler, which root may."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{session}/autogroup").write_text(str(_AUTOGROUP_NICE), encoding="ascii")


def allow_connections(connections: int) -> bool:
    """Raise the limit on open files for what is started from now on; false if that is refused."""
    wanted = connections + _FILES_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return True
    if hard != resource.RLIM_INFINITY:
        hard = max(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):
        return False
    return True


def description() -> str:
    """Name the processor, the number of cores and the kernel."""
    cores = len(os.sched_getaffinity(0))
    return f"{_processor()}, {cores} core{'s'[: cores != 1]}; Linux {platform.release()}"


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.machine()


def _busy_seconds() -> float:
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    fields = [int(field) for field in first.split()[1:9]]
    # Everything but idle and iowait; steal counts, as somebody else's.
    return (sum(fields) - fields[3] - fields[4]) / os.sysconf("SC_CLK_TCK")
