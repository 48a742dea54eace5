"""mypy and pyright accept what `tests/typed/right.py` does, and nothing that `wrong.py` does."""

import inspect
import json
import re
import shutil
import subprocess
import sys
import tempfile
import typing
from collections.abc import Callable
from pathlib import Path

import pytest

import fastwsh
from cached_folders import make_once
from conftest import ALL_WAYS, ROOT
from fastwsh import handler_types, topics
from fastwsh.client import connect_sync
from fastwsh.refusal import Refusal
from fastwsh.testing import running_server

TYPED = Path(__file__).parent / "typed"
# All that it needs is node; the package of this name on PyPI downloads one of its own.
PYRIGHT = "pyright@1.1.414"
# The first start reads all of typeshed, on whatever machine this is.
SECONDS = 300

Check = Callable[[str], set[int]]
"""Returns the numbers of the lines of a file that have errors."""


def mypy(name: str) -> set[int]:
    pytest.importorskip("mypy", reason="mypy is not installed: pip install mypy")
    command = [sys.executable, "-m", "mypy", "--config-file=", "--strict", "--disallow-any-expr"]
    command += ["--no-error-summary", f"--cache-dir={ROOT / '.mypy_cache'}", name]
    done = subprocess.run(
        command, cwd=TYPED, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    sys.stdout.write(done.stdout)
    assert done.stderr == ""
    return {int(line) for line in re.findall(rf"^{name}:(\d+): error", done.stdout, re.MULTILINE)}


def find_pyright() -> str:
    """Return the program; it is installed into `.cache` by npm if need be."""
    found = shutil.which("pyright")
    if found:
        return found

    def install(folder: Path) -> None:
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), PYRIGHT]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)

    try:
        folder = make_once(ROOT / ".cache" / PYRIGHT, install)
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"pyright cannot be installed by npm: {error}")
    return str(folder / "node_modules" / ".bin" / "pyright")


def pyright(name: str) -> set[int]:
    program = find_pyright()
    settings = {"include": ["."], "typeCheckingMode": "strict", "pythonVersion": "3.11"}
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(TYPED / name, folder)
        Path(folder, "pyrightconfig.json").write_text(json.dumps(settings))
        command = [program, "--outputjson", "--pythonpath", sys.executable, "--project", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    sys.stdout.write(done.stdout + done.stderr)
    found = json.loads(done.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    return {
        one["range"]["start"]["line"] + 1
        for one in found["generalDiagnostics"]
        if one["severity"] == "error"
    }


CHECKERS = pytest.mark.parametrize("check", [mypy, pyright])


@CHECKERS
@pytest.mark.timeout(2 * SECONDS)
def test_what_is_right_is_accepted_and_nothing_is_any(check: Check):
    assert check("right.py") == set()


@CHECKERS
@pytest.mark.timeout(2 * SECONDS)
def test_each_mistake_is_found_and_nothing_else(check: Check):
    lines = (TYPED / "wrong.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    assert check("wrong.py") == wrong


def members(protocol: type) -> list[str]:
    """Return what the protocol says that there is."""
    names: set[str] = set()
    for part in protocol.__mro__:
        if part.__module__ == handler_types.__name__:
            names |= {*inspect.get_annotations(part), *vars(part)}
    return sorted(name for name in names if not name.startswith("_"))


@ALL_WAYS
def test_request_has_what_its_type_says(start_server, write_handler, concurrency):
    request = fastwsh.AsyncRequest if concurrency == "loop" else fastwsh.Request
    stream = fastwsh.AsyncStream if concurrency == "loop" else fastwsh.Stream
    # handlers set these, and the server looks at what is set
    hooks = {"on_ping_handler", "on_pong_handler"}
    write_handler(
        "a",
        f"names = {sorted({*members(request)} - hooks)!r}\n"
        f"stream_names = {members(stream)!r}\n"
        "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request):\n"
        "    missing = [name for name in names if not hasattr(request, name)]\n"
        "    missing += [n for n in stream_names if not hasattr(request.ws_stream, n)]\n"
        "    request.ws_stream.send_message(repr((len(names), missing)))\n",
    )
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake("/a")
        count, missing = eval(client.read_frame().payload)
    assert missing == []
    assert count > 20


def test_types_are_part_of_the_package():
    for name in ("Request", "AsyncRequest", "Stream", "AsyncStream", "Connection", "App"):
        assert name in fastwsh.__all__
        assert getattr(fastwsh, name) is getattr(handler_types, name)


def test_annotations_of_what_programs_call_can_be_evaluated():
    """As typeguard, Sphinx and dependency injection do."""
    functions = [fastwsh.serve.__init__, connect_sync, running_server, Refusal.__init__]
    functions += [getattr(topics, name) for name in topics.__all__]
    for function in functions:
        assert "return" in typing.get_type_hints(function)
