"""What a server does most, so that the compiler makes that quick, and all else small.

A module that counts is built for this machine, benches/training.py runs with it, and llvm-profdata
adds up what it has counted. The result goes for the target of this machine alone: with it, a wheel
for another one is larger than without.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import check_systems

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
    version = _llvm_version(rustc)
    if not version:
        return None
    libraries = check_systems.sysroot(rustc) / "lib/rustlib" / _fact(rustc, "host")
    of_rustup = str(libraries / "bin/llvm-profdata")
    for tool in (of_rustup, f"llvm-profdata-{version}", "llvm-profdata"):
        path = shutil.which(tool)
        if path and re.search(rf"LLVM version {version}\b", _output(path, "--version")):
            return path
    return None


def remedy(rustc: str) -> str:
    """Say how to get that tool."""
    version = _llvm_version(rustc)
    package = f"llvm-{version}" if version else "llvm"
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
    maturin += ["--target", host(environ["RUSTC"])]
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


def host(rustc: str) -> str:
    """Return the target for this machine, the only one that a profile goes for."""
    return _fact(rustc, "host")


def _llvm_version(rustc: str) -> str:
    return _fact(rustc, "LLVM version").partition(".")[0]


def _fact(rustc: str, name: str) -> str:
    """Return what `rustc -vV` says under a name, or nothing."""
    prefix = f"{name}: "
    lines = _output(rustc, "-vV").splitlines()
    return next((line.removeprefix(prefix) for line in lines if line.startswith(prefix)), "")


def _run(command: Sequence[str], environ: dict[str, str] | None = None) -> bool:
    return subprocess.run(command, check=False, cwd=ROOT, env=environ).returncode == 0


def _output(*command: str) -> str:
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout
