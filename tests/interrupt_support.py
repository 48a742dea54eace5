"""Programs that SIGINT interrupts."""

import signal
import subprocess
import sys

from conftest import clean_environment
from wire import DEADLINE_SECONDS

__all__ = ["assert_is_interrupted"]


def assert_is_interrupted(program: str, url: str) -> None:
    """Run a program that says "ready"; when SIGINT comes, it must say "interrupted" and end."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, url],
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    )
    assert process.stdout is not None
    with process.stdout as out:
        assert out.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert out.read() == "interrupted\n"
    assert process.wait(DEADLINE_SECONDS) == 0
