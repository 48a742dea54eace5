"""Runs the client as a program that ends by itself."""

import subprocess
import sys

from conftest import clean_environment
from wire import DEADLINE_SECONDS


def run(
    *args: str, stdin: bytes | None = None, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run the client to its end; without `stdin`, its standard input is empty."""
    return subprocess.run(
        [sys.executable, "-m", "fastwsh.client", *args],
        input=stdin or b"",
        capture_output=True,
        timeout=DEADLINE_SECONDS,
        env=clean_environment(**(env or {})),
        check=False,
    )


def ends_with(done: subprocess.CompletedProcess[bytes], status: int, says: str) -> None:
    """Check the status, and that there is one sentence and no traceback."""
    text = done.stderr.decode()
    assert done.returncode == status, text
    assert says in text
    assert "Traceback" not in text
    assert all(line.startswith("fastwsh.client: ") for line in text.splitlines())
