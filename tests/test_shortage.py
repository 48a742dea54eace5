"""A system that has no more threads or descriptors for a server that is up."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import clean_environment
from wire import DEADLINE_SECONDS

# What happens once the server listens stands between the two parts.
PROGRAM = """\
import errno, os, signal, sys, threading
from fastwsh import cli
from fastwsh.output import banner
from fastwsh.server import WebSocketServer

def no_thread(thread):
    raise RuntimeError("can't start new thread")

def happen(server, options):
    {happens}

{patch}
banner.show = happen
sys.exit(cli.main(["-p", "0", "-H", "127.0.0.1", "--log-level", "info"]))
"""


def run(folder: Path, happens: str, patch: str = "") -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(happens=happens, patch=patch)],
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return ended.returncode, ended.stderr


def test_server_that_is_up_does_not_say_that_it_cannot_start(tmp_path: Path):
    serve = """\
def serve(server):
    server._is_listening = {is_listening}
    raise OSError(errno.EMFILE, "Too many open files")
WebSocketServer.serve_forever = serve
"""
    sentence = " (Too many open files); raise the limit of open files (ulimit -n)\n"
    for is_listening, what in ((True, "ends"), (False, "cannot start")):
        patch = serve.format(is_listening=is_listening)
        status, said = run(tmp_path, "pass", patch)
        assert status == 1
        assert f"fastwsh: the server {what}{sentence}" in said
        assert "Traceback" not in said


def test_server_stops_without_a_thread_for_it(tmp_path: Path):
    happens = "threading.Thread.start = no_thread; signal.raise_signal(signal.SIGTERM)"
    status, said = run(tmp_path, happens)
    assert status == 0
    assert "Stopping" in said
    assert "cannot start" not in said
    assert "Traceback" not in said


def test_worker_without_a_thread_says_so(tmp_path: Path):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys, threading\n"
        "start = threading.Thread.start\n"
        "def fail(thread):\n"
        "    if thread.name == 'fastwsh-worker':\n"
        '        raise RuntimeError("can\'t start new thread")\n'
        "    start(thread)\n"
        "if 'fastwsh.workers' in sys.orig_argv:\n"
        "    threading.Thread.start = fail\n"
    )
    environment = clean_environment()
    paths = [os.fspath(tmp_path), environment.get("PYTHONPATH", "")]
    ended = subprocess.run(
        [sys.executable, *("-m", "fastwsh", "-p", "0", "-H", "127.0.0.1", "--workers", "2")],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert ended.returncode == 1
    assert "fastwsh: the server cannot start (the system gives it no more threads" in ended.stderr
    assert "Traceback" not in ended.stderr
