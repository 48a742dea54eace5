"""SIGINT while a program loads its modules, or reads its options: no traceback, status 130."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import clean_environment
from wire import DEADLINE_SECONDS

# Python loads this module before the program; a program's import of the other one interrupts it.
SITE = """\
import os, signal, sys

class Interrupting:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == os.environ["INTERRUPTED_AT"]:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting)
"""


def ends(program: str, at: str, *arguments: str, folder: Path) -> tuple[int, str]:
    (folder / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    environment = clean_environment()
    path = f"{folder}:{environment.get('PYTHONPATH', '')}"
    ended = subprocess.run(
        [sys.executable, "-m", program, *arguments],
        cwd=folder,
        env={**environment, "PYTHONPATH": path, "INTERRUPTED_AT": at},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


@pytest.mark.parametrize(
    "module",
    [
        "fastwsh.process.gc_pause",
        "fastwsh.cli",
        "fastwsh._core",
        "fastwsh.options",
        "fastwsh.server",
        "fastwsh.workers.count",
        # while the options are read
        "configparser",
        # before it listens
        "fastwsh.output.access",
        "fastwsh.listening.places",
    ],
)
def test_server_ends_without_a_traceback(module: str, tmp_path: Path):
    (tmp_path / "config").write_text("[pywebsocket]\nport=0\n", encoding="utf-8")
    arguments = "--config", "config", "--access-log", "access", "--bind", "127.0.0.1:0"
    assert ends("fastwsh", module, *arguments, folder=tmp_path) == (128 + signal.SIGINT, "")


@pytest.mark.parametrize("program", ["client", "record", "replay"])
def test_other_programs_end_without_a_traceback(program: str, tmp_path: Path):
    module = f"fastwsh.{program}.program"
    assert ends(f"fastwsh.{program}", module, folder=tmp_path) == (128 + signal.SIGINT, "")


def test_program_that_runs_in_a_thread_leaves_signals_alone(tmp_path: Path):
    program = (
        "import runpy, sys, threading\n"
        "sys.argv[:] = ['fastwsh', '--version']\n"
        "run = lambda: runpy.run_module('fastwsh', run_name='__main__')\n"
        "thread = threading.Thread(target=run)\n"
        "thread.start()\n"
        "thread.join()\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("fastwsh ")
