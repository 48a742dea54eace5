"""The server's command line where the system denies it something: output, folder, descriptors."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import WriteHandler, clean_environment
from wire import DEADLINE_SECONDS

FULL = "cannot write to standard output: No space left on device"
CLOSED = "cannot write to standard output: it is closed"
SCRIPTS = {FULL: 'exec "$@" >/dev/full', CLOSED: 'exec "$@" >&-'}

PROGRAM = [sys.executable, "-m"]
SERVER = [*PROGRAM, "fastwsh"]


def shell(
    script: str, *args: str, cwd: Path, limit: float = DEADLINE_SECONDS
) -> "subprocess.CompletedProcess[str]":
    """Run a program by a line for the shell."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=limit,
        env=clean_environment(),
        cwd=cwd,
        check=False,
    )


@pytest.mark.parametrize("says", SCRIPTS, ids=["full", "closed"])
@pytest.mark.parametrize(
    ("module", "args"),
    [
        ("fastwsh", ["--help"]),
        ("fastwsh", ["--version"]),
        ("fastwsh", ["--print-dropin-path"]),
        ("fastwsh", ["--check", "-w", "handlers"]),
        ("fastwsh.publish", ["--help"]),
        ("fastwsh.record", ["--help"]),
        ("fastwsh.replay", ["--version"]),
    ],
)
def test_output_that_cannot_be_written(
    tmp_path: Path, write_handler: WriteHandler, says: str, module: str, args: list[str]
):
    if says == FULL and not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    write_handler("echo", "pass")
    done = shell(SCRIPTS[says], *PROGRAM, module, *args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (1, f"{module}: {says}\n")


def test_a_reader_that_leaves_ends_the_check_quietly(tmp_path: Path, write_handler: WriteHandler):
    write_handler("echo", "pass")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [*SERVER, "--check", "-w", "handlers"],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=DEADLINE_SECONDS,
            env=clean_environment(),
            cwd=tmp_path,
            check=False,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, b"")


def test_a_start_that_fails_without_standard_error_has_its_status(tmp_path: Path):
    done = shell('exec "$@" 2>&-', *SERVER, "-w", "nowhere", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")


IN_REMOVED_FOLDER = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'


def test_a_folder_that_was_removed_is_one_sentence(tmp_path: Path):
    done = shell(IN_REMOVED_FOLDER, *SERVER, "-p", "0", cwd=tmp_path)
    assert done.returncode == 1
    sentence = (
        r"fastwsh: cannot use the document root '.' \(.+\); name an existing folder with .+\n"
    )
    assert re.fullmatch(sentence, done.stderr), done.stderr


def test_a_named_folder_is_served_from_one_that_was_removed(
    tmp_path: Path, write_handler: WriteHandler
):
    write_handler("echo", "pass")
    args = ["--check", "-d", str(tmp_path), "-w", "handlers"]
    done = shell(IN_REMOVED_FOLDER, *SERVER, *args, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("1 loaded, 0 failed\n")


@pytest.mark.parametrize("limit", range(7, 14))
def test_too_few_descriptors_are_one_sentence(
    tmp_path: Path, write_handler: WriteHandler, limit: int
):
    write_handler("echo", "pass")
    script = f'ulimit -n {limit}; exec "$@"'
    done = shell(script, *SERVER, "-w", "handlers", "-p", "0", cwd=tmp_path)
    assert done.returncode == 1
    assert os.strerror(errno.EMFILE) in done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("limit", [*range(6, 13), 16, 20])
def test_too_few_descriptors_for_workers_are_one_sentence(
    tmp_path: Path, write_handler: WriteHandler, limit: int
):
    write_handler("echo", "pass")
    script = f'ulimit -n {limit}; exec "$@"'
    args = ["-w", "handlers", "-p", "0", "-H", "127.0.0.1", "--uds", "s", "--workers", "2"]
    done = shell(script, *SERVER, *args, cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(r"fastwsh: .*raise the limit of open files \(ulimit -n\)", last), last


_STARTS_NO_THREAD = """
import sys, threading
from fastwsh import cli

def refuse(thread):
    if thread.name == sys.argv[1]:
        raise RuntimeError("can't start new thread")
    start(thread)

start, threading.Thread.start = threading.Thread.start, refuse
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize("name", ["fastwsh-log", "fastwsh-serve", "fastwsh-reload"])
def test_a_thread_that_cannot_start_is_one_sentence(
    tmp_path: Path, write_handler: WriteHandler, name: str
):
    write_handler("echo", "pass")
    program = [sys.executable, "-c", _STARTS_NO_THREAD, name]
    args = ["-H", "127.0.0.1", "-p", "0", "-w", "handlers", "--reload"]
    done = shell('exec "$@"', *program, *args, cwd=tmp_path)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "gives it no more threads or memory" in line
    assert line.endswith("(ulimit -u, ulimit -v)")
