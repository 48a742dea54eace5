"""pywebsocket3's own tests pass on fastwsh: its modules under that name, and its server.

The tests come from pywebsocket3's source package, its modules do not: the drop-in folder stands
for them. The servers run with `--strict-compat`.
"""

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import peer_suite_runner
from conftest import clean_environment
from embed_support import DROPIN

TESTS = {
    "test_dispatch": 16,
    "test_endtoend": 28,
    "test_extensions": 13,
    "test_handshake": 7,
    "test_handshake_hybi": 13,
    "test_http_header_util": 3,
    "test_memorizingfile": 4,
    "test_mock": 9,
    "test_msgutil": 52,
    "test_stream": 1,
    "test_util": 8,
}

# Stands where the tests look for pywebsocket3's standalone.py.
SERVER = """
import os, sys
command = [sys.executable, "-m", "fastwsh", "--strict-compat", *sys.argv[1:]]
os.execv(sys.executable, command)
"""

# What test_util looks at and the source package lacks.
MISSING_FILES = {"README": "Test data\n", "hello.pl": '#!/usr/bin/perl -wT\nprint "Hello\\n";\n'}


@pytest.fixture(scope="session")
def suite(pywebsocket3_source: Path) -> Iterator[Path]:
    """A copy of the tests and of the examples that they serve, with what it lacks."""
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        # A CGI program runs as somebody else where the server runs as root.
        top.chmod(0o755)
        copy_suite(pywebsocket3_source, top)
        yield top


def copy_suite(source: Path, top: Path) -> None:
    for part in ("test", "example"):
        shutil.copytree(source / part, top / part)
    for name, text in MISSING_FILES.items():
        (top / "test" / "testdata" / name).write_text(text, encoding="utf-8")
    (top / "test" / "server.py").write_text(SERVER, encoding="utf-8")
    # the interpreter of the CGI program
    (top / "bin").mkdir()
    (top / "bin" / "python").symlink_to(python_for_everybody())


def python_for_everybody() -> str:
    """A Python that every user can start; ours, if it is one."""
    for candidate in (os.path.realpath(sys.executable), shutil.which("python3", path=os.defpath)):
        if candidate is not None and all(
            Path(part).stat().st_mode & stat.S_IXOTH
            for part in (candidate, *Path(candidate).parents)
        ):
            return candidate
    return sys.executable


@pytest.mark.timeout(400)
@pytest.mark.parametrize("module", TESTS)
def test_passes(module: str, suite: Path, tmp_path: Path):
    results = tmp_path / "results.json"
    done = subprocess.run(
        [sys.executable, peer_suite_runner.__file__, suite / "test", module, results],
        check=False,
        cwd=suite,
        env=clean_environment(
            PYTHONPATH=os.pathsep.join(
                [str(DROPIN), *filter(None, [os.environ.get("PYTHONPATH")])]
            ),
            PATH=os.pathsep.join([str(suite / "bin"), os.environ["PATH"]]),
            PYTHONDONTWRITEBYTECODE="1",
        ),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    print(done.stdout)  # noqa: T201 (pytest shows it if the test fails)
    assert results.exists()
    outcome = json.loads(results.read_text(encoding="utf-8"))
    for name, text in outcome["failed"].items():
        print(f"--- {name}\n{text}")  # noqa: T201
    assert sorted(outcome["failed"]) == []
    assert len(outcome["passed"]) == TESTS[module]
