"""The scripts of `release/`, and wheels and compilers that only look like some."""

import zipfile
from pathlib import Path

import pytest

__all__ = ["RELEASE", "ROOT", "compiler", "profiled_compiler", "program", "scripts", "wheel"]

ROOT = Path(__file__).parent.parent
RELEASE = ROOT / "release"


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """Let tests import what is in `release/`."""
    monkeypatch.syspath_prepend(str(RELEASE))


def wheel(folder: Path, name: str, **changes: bytes | None) -> Path:
    """Write a wheel; a change of None leaves a file out."""
    files = {
        "fastwsh/_core.abi3.so": b"\x7fELF libgcc_s.so.1 crates/tokio-1/src/lib.rs /rustc/1234/std",
        "fastwsh/py.typed": b"",
        "fastwsh/LICENSES-OF-CRATES.txt": b"-",
        "fastwsh-1.0.dist-info/licenses/LICENSE": b"-",
        "fastwsh-1.0.dist-info/sboms/fastwsh.cyclonedx.json": b"{}",
        **changes,
    }
    path = folder / name
    with zipfile.ZipFile(path, "w") as archive:
        for key, value in files.items():
            if value is not None:
                archive.writestr(key, value)
    return path


def program(path: Path, text: str) -> str:
    """Write a shell script that stands for a program; return its path."""

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def compiler(folder: Path, sysroot: Path) -> str:
    """Write a rustc that only says where its libraries are; return its path."""
    return program(
        folder / "rustc",
        f'case "$*" in *libdir*) echo {sysroot}/lib;; *) echo {sysroot};; esac',
    )


def profiled_compiler(folder: Path) -> str:
    """Write a rustc 1.85.1 with LLVM 19 that says what it is; return its path."""

    facts = "host: here-linux\nrelease: 1.85.1\nLLVM version: 19.1.7"
    return program(
        folder / "rustc", f'case $1 in -vV) echo "{facts}";; *) echo {folder}/sysroot;; esac'
    )
