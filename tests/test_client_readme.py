"""What the README says of the client works."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, Server, StartServer, clean_environment
from wire import DEADLINE_SECONDS

README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## A client\n")[1].split("\n## ")[0]
URL = "ws://localhost:9998/echo"


@pytest.fixture
def echo(start_server: StartServer, handler_root: Path) -> Server:
    """A server with the handler of the README's first screen."""
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    (handler_root / "echo_wsh.py").write_text(code[1], encoding="utf-8")
    return start_server("-w", "handlers")


def run(command: list[str]) -> str:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        env=clean_environment(),
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL))
def test_programs_of_the_readme_print_the_echo(echo: Server, code: str):
    assert URL in code
    assert run([sys.executable, "-c", code.replace(URL, echo.url("/echo"))]) == "hello\n"


@pytest.mark.parametrize("line", re.findall(r"```sh\n(.*?)\n```", SECTION, re.DOTALL))
def test_command_of_the_readme_prints_the_echo(echo: Server, line: str):
    assert URL in line
    words = shlex.split(line.replace(URL, echo.url("/echo")))
    assert words[0] == "python"
    assert run([os.fspath(sys.executable), *words[1:]]) == "hello\n"


def test_options_of_the_readme_exist():
    text = subprocess.run(
        [sys.executable, "-m", "fastwsh.client", "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=DEADLINE_SECONDS,
    ).stdout
    for option in re.findall(r"`(--[a-z-]+)`", SECTION):
        assert option in text
