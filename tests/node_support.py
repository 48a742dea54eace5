"""Programs in JavaScript, and the package ws, which Node.js programs use for WebSocket."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cached_folders import make_once
from wire import DEADLINE_SECONDS

# its checksum is npm's business: a version of a package does not change
_WS = "8.18.3"


def install_ws(cache: Path) -> Path:
    """Install ws into a folder, once; return that. Skips the test without npm, unless in CI."""
    return install(cache, f"ws@{_WS}")


def install(cache: Path, package: str) -> Path:
    """Do the same for any package, `name@version`; scripts of packages are not run."""
    target = cache / package.replace("@", "-")
    if target.is_dir():
        return target
    if not (shutil.which("npm") and shutil.which("node")):
        if os.environ.get("CI"):
            pytest.fail("node and npm are missing")
        pytest.skip("needs node and npm")

    def fill(folder: Path) -> None:
        quiet = ["--no-save", "--no-audit", "--no-fund", "--ignore-scripts"]
        command = ["npm", "install", *quiet, "--prefix", folder, package]
        subprocess.run(command, check=True, capture_output=True)

    return make_once(target, fill)


def run_node(package: Path, program: str, *arguments: str) -> str:
    """Run a program, in which `WebSocket` is that of ws; return what it prints."""
    return run_program(package, f"const WebSocket = require('ws');\n{program}", *arguments)


def run_program(package: Path, program: str, *arguments: str) -> str:
    """Run a program that finds the packages of a folder; return what it prints."""
    done = subprocess.run(
        ["node", "-e", program, "--", *arguments],
        cwd=package,
        check=True,
        capture_output=True,
        text=True,
        timeout=10 * DEADLINE_SECONDS,
    )
    return done.stdout
