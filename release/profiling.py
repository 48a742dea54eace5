"""What a server does most, so that the compiler makes that quick, and all else small.

A module that counts is built for this machine, benches/training.py runs with it, and llvm-profdata
adds up what it has counted. The result goes for all targets, as the code is the same but for a few
functions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent

# LLVM takes for hot what makes up 99 % of all that was counted, and for cold what was hardly
# counted at all. Code that runs once per connection would grow by inlining then: a wheel would be
# 240 KB larger, for 1 % fewer instructions per message.
LIMITS = (
    "-Cllvm-args=-profile-summary-cutoff-hot=950000",
    "-Cllvm-args=-profile-summary-cutoff-cold=999000",
)

# What the training needs besides fastwsh: it makes certificates.
_REQUIREMENT = "trustme"


def find_tool(rustc: str) -> str | None:
    """Return the llvm-profdata that reads what this compiler's modules write, or None."""
    facts = _output(rustc, "-vV")
    version = re.search(r"^LLVM version: (\d+)", facts, re.MULTILINE)
    host = re.search(r"^host: (.+)$", facts, re.MULTILINE)
    if version is None or host is None:
        return None
    of_rustup = Path(_output(rustc, "--print", "sysroot").strip(), "lib/rustlib", host[1], "bin")
    for tool in (str(of_rustup / "llvm-profdata"), f"llvm-profdata-{version[1]}", "llvm-profdata"):
        path = shutil.which(tool)
        if path and re.search(rf"LLVM version {version[1]}\b", _output(path, "--version")):
            return path
    return None


def remedy(rustc: str) -> str:
    """Say how to get that tool."""
    version = re.search(r"LLVM version: (\d+)", _output(rustc, "-vV"))
    package = f"llvm-{version[1]}" if version else "llvm"
    return f"rustup component add llvm-tools, or on Debian apt-get install {package}"


def gather(tool: str, flags: Sequence[str], environ: dict[str, str], scratch: Path) -> Path | None:
    """Build a module that counts, and run the training with it.

    Args:
        tool: The llvm-profdata to use.
        flags: The wheels' flags for the compiler.
        environ: The environment of the wheels' build. The profile knows functions by names that
            depend on it.
        scratch: A folder for what is made.

    Returns:
        The file for `-Cprofile-use`; None if a step failed, which has said why.
    """
    built, counts, result = (scratch / name for name in ("counting", "counts", "profile.profdata"))
    generate = [*flags, f"-Cprofile-generate={counts}"]
    maturin = [sys.executable, "-m", "maturin", "build", "--release", "--locked"]
    # with a target, the flags are not for the programs that the build runs
    maturin += ["--target", _host(environ["RUSTC"])]
    maturin += ["--compatibility", "linux", "--out", str(built)]
    if not _run(maturin, {**environ, "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(generate)}):
        return None
    python = scratch / "environment/bin/python"
    [wheel] = built.glob("*.whl")
    done = (
        _run([sys.executable, "-m", "venv", str(scratch / "environment")])
        and _run([str(python), "-m", "pip", "install", "--quiet", str(wheel), _REQUIREMENT])
        and _run(
            [str(python), str(ROOT / "benches/training.py")],
            {**os.environ, "LLVM_PROFILE_FILE": str(counts / "%m_%p.profraw")},
        )
        and _run([tool, "merge", "-o", str(result), str(counts)])
    )
    return result if done else None


def _host(rustc: str) -> str:
    host = re.search(r"^host: (.+)$", _output(rustc, "-vV"), re.MULTILINE)
    return host[1] if host else ""


def _run(command: Sequence[str], environ: dict[str, str] | None = None) -> bool:
    return subprocess.run(command, check=False, cwd=ROOT, env=environ).returncode == 0


def _output(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout
