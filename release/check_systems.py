#!/usr/bin/env python3
"""Check that the crate compiles for other systems, as far as the parts for that are here.

    python3 release/check_systems.py [TARGET ...]

The target `free-threaded` is this system, with CPython without a global interpreter lock, which
need not be here. cargo compiles nothing but Rust for all this, and links nothing. It needs the
standard library of each target: compiled (`rustup target add TARGET`), or as source (`rustup
component add rust-src`, or on Debian `apt-get install rust-src`). If the compiler of this machine
has neither, FASTWSH_DEBIAN_TREE can name a Debian system in a folder, made for instance by

    debootstrap --variant=minbase --include=libc6-dev,rustc,rust-src trixie FOLDER

whose compiler is then used. A target without its parts is left out, and the output says why.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# What compiles for which target: on Windows the protocol alone, see docs/systems.md.
TARGETS = {
    "aarch64-apple-darwin": ("--all-targets", "--features", "python"),
    "x86_64-unknown-freebsd": ("--lib", "--features", "python"),
    "x86_64-pc-windows-msvc": ("--lib", "--no-default-features"),
}

FREE_THREADED = "free-threaded"

# What PyO3 would ask the interpreter.
_FREE_THREADED_CPYTHON = """implementation=CPython
version=3.14
shared=true
build_flags=Py_GIL_DISABLED
"""

# Build scripts of crates call a C compiler, whose output is needed only for linking.
_NO_COMPILER = """#!/bin/sh
while [ $# -gt 0 ]; do case "$1" in -o) : > "$2"; shift;; esac; shift; done
"""

# Debian's compiler wants the libraries of its own system.
_TREES_COMPILER = """#!/bin/sh
tree={tree}
exec "$tree"/usr/lib64/ld-linux-x86-64.so.2 \\
    --library-path "$tree"/usr/lib/x86_64-linux-gnu "$tree"/usr/bin/rustc --sysroot "$tree"/usr "$@"
"""


def main() -> int:
    """Check the targets; one that fails does not hide the results of the others."""
    known = [*TARGETS, FREE_THREADED]
    targets = sys.argv[1:] or known
    unknown = [target for target in targets if target not in known]
    if unknown:
        print(f"check_systems.py: {unknown[0]} is none of {', '.join(known)}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        results = [check(target, Path(folder)) for target in targets]
    return 0 if all(results) else 1


def check(target: str, folder: Path) -> bool:
    """Check one target, or say why it is left out; return whether nothing has failed."""
    if target == FREE_THREADED:
        return check_free_threaded(folder)
    rustc = compiler(folder)
    source = standard_library(rustc, target)
    if source is None:
        print(f"left out  {target}: {rustc} has no standard library for it: {remedy(target)}")
        return True
    no_compiler = script(folder / "no-compiler", _NO_COMPILER)
    variable = re.sub(r"\W", "_", target)
    environ = {
        **{name: value for name, value in os.environ.items() if name != "PYO3_PYTHON"},
        f"CC_{variable}": no_compiler,
        f"AR_{variable}": no_compiler,
        "PYO3_CROSS_PYTHON_VERSION": "3.11",
        "PYO3_NO_PYTHON": "1",
        "RUSTC": rustc,
        # the compiled dependencies of two compilers do not go together
        "CARGO_TARGET_DIR": str(
            ROOT / "target" / ("systems" if rustc == "rustc" else "systems-tree")
        ),
    }
    command = ["cargo", "check", "--quiet", "--locked", "--target", target, *TARGETS[target]]
    if source:
        command.insert(2, "-Zbuild-std")
        environ["RUSTC_BOOTSTRAP"] = "1"
    return succeeds(command, environ, target)


def check_free_threaded(folder: Path) -> bool:
    """Check the extension module for free-threaded CPython; return whether it compiles."""
    config = folder / "free-threaded.txt"
    config.write_text(_FREE_THREADED_CPYTHON, encoding="utf-8")
    environ = {
        **os.environ,
        "CARGO_TARGET_DIR": str(ROOT / "target/systems"),
        "PYO3_CONFIG_FILE": str(config),
    }
    command = ["cargo", "check", "--quiet", "--locked", "--lib", "--features", "python"]
    return succeeds(command, environ, FREE_THREADED)


def succeeds(command: list[str], environ: dict[str, str], target: str) -> bool:
    """Run cargo, and tell the result."""
    done = subprocess.run(command, check=False, cwd=ROOT, env=environ)
    print(f"{'failed  ' if done.returncode else 'compiles'}  {target}", flush=True)
    return done.returncode == 0


def standard_library(rustc: str, target: str) -> bool | None:
    """Tell whether to compile the standard library: not if it is there; None if it is missing."""
    command = [rustc, "--print", "target-libdir", "--target", target]
    compiled = subprocess.run(command, check=False, capture_output=True, text=True)
    if compiled.returncode == 0 and any(Path(compiled.stdout.strip()).glob("libstd-*")):
        return False
    return True if has_source(rustc) else None


def has_source(rustc: str) -> bool:
    """Tell whether the source of the standard library is there."""
    return (sysroot(rustc) / "lib/rustlib/src/rust/library/Cargo.lock").is_file()


def sysroot(rustc: str) -> Path:
    """Return the folder that a compiler takes libraries from."""
    command = [rustc, "--print", "sysroot"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Path(done.stdout.strip())


def remedy(target: str) -> str:
    """Say how to get what is missing."""
    return f"rustup target add {target}, or rustup component add rust-src, or FASTWSH_DEBIAN_TREE"


def compiler(folder: Path) -> str:
    """Return the command of the compiler to use; a script for it may be written to the folder."""
    tree = os.environ.get("FASTWSH_DEBIAN_TREE")
    if not tree:
        return "rustc"
    if not (Path(tree) / "usr/bin/rustc").exists():
        sys.exit(
            f"FASTWSH_DEBIAN_TREE={tree} has no usr/bin/rustc: install rustc and rust-src there"
        )
    return script(
        folder / "rustc", _TREES_COMPILER.format(tree=shlex.quote(str(Path(tree).resolve())))
    )


def script(path: Path, text: str) -> str:
    """Write a program."""
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


if __name__ == "__main__":
    sys.exit(main())
