#!/usr/bin/env python3
"""Build the wheels that can be built on this machine, and check them.

    python3 release/wheels.py [TARGET ...]     build into dist/, and check
    python3 release/wheels.py --check FOLDER   check the wheels of a folder

A wheel is for every CPython from 3.11 on. `--interpreter python3.14t` builds those for a
free-threaded one, which need not be here.

Needs maturin, ziglang, auditwheel and abi3audit (all on PyPI), advzip (advancecomp of Debian and
Homebrew), and the standard library of a target: `rustup target add TARGET`, or see
check_systems.py. A target without it is left out. With the source of the standard library (`rustup
component add rust-src`) a wheel is some 140 KB smaller: it has no code for backtraces then, which
would find no symbols. zig is the compiler and linker, so that the wheels run with old versions of
glibc and musl. If llvm-profdata is there for the compiler's version of LLVM (`rustup component add
llvm-tools`, or Debian's llvm-NN), a server is run first, and what it does most is made quick in
the wheel for machines like this one: profiling.py has the details. The workflow `wheels` builds for
more systems.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import check_systems
import crate_licenses
import profiling

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parent.parent

TARGETS = {
    "x86_64-unknown-linux-gnu": "manylinux_2_28",
    "aarch64-unknown-linux-gnu": "manylinux_2_28",
    "x86_64-unknown-linux-musl": "musllinux_1_2",
    "aarch64-unknown-linux-musl": "musllinux_1_2",
}

MOST_BYTES = 3 << 20

# Without a profile LLVM does not know what is seldom called, and inlines all up to a size. A bound
# below its own of 250 makes a wheel 12 KB smaller, for 1 % more instructions per short message.
WITHOUT_PROFILE = ("-Cllvm-args=-inline-threshold=225",)

# The system's unwinder, and the functions of it that Rust calls: `_Unwind_Resume` and so on.
LIBGCC = "libgcc_s.so.1"
UNWINDER = (
    *("Backtrace", "DeleteException", "FindEnclosingFunction", "GetCFA", "GetDataRelBase"),
    *("GetGR", "GetIP", "GetIPInfo", "GetLanguageSpecificData", "GetRegionStart"),
    *("GetTextRelBase", "RaiseException", "Resume", "SetGR", "SetIP"),
)

# Where a compiler keeps the source of the standard library.
SOURCE = "lib/rustlib/src/rust"

# Where machines that build keep sources; the standard library's own are below /rustc. In the second
# row only names of sources count, and not what follows a folder of certificates without a gap.
_PATHS = re.compile(
    rb"(?:/root|/home/[\w.-]+|/Users/[\w.-]+|/github/workspace|[A-Z]:\\+Users\\+[\w.-]+)[/\\][\w./\\-]*"
    rb"|/(?:__w|builds?|mnt|opt|private|srv|tmp|usr|var|work)/(?![\w/-]*ssl)"
    rb"(?:[\w/@+-]|\.(?=\d))*\.(?:rs|[chS](?!\w))"
)


def main() -> int:
    """Build and check."""
    parser = argparse.ArgumentParser(description="Build wheels for this machine, and check them.")
    parser.add_argument("--check", metavar="FOLDER", type=Path, help="check the wheels in a folder")
    parser.add_argument("--pack", action="store_true", help="make them smaller before the check")
    parser.add_argument("--interpreter", metavar="NAME", help="build for this CPython alone")
    parser.add_argument("targets", nargs="*", choices=[*TARGETS, []], help="all if none is given")
    arguments = parser.parse_args()
    folder: Path | None = arguments.check
    interpreter: str | None = arguments.interpreter
    targets: list[str] = arguments.targets
    if folder is None:
        folder = ROOT / "dist"
        crate_licenses.main()
        with tempfile.TemporaryDirectory() as scratch:
            wanted = [target for target in TARGETS if not targets or target in targets]
            if not build_all(wanted, interpreter, folder, Path(scratch)):
                return 1
    wheels = sorted(folder.glob("*.whl"))
    if not wheels:
        print(f"wheels.py: {folder} has no wheel", file=sys.stderr)
        return 1
    faults = []
    for wheel in wheels:
        found = pack(wheel) if arguments.pack or arguments.check is None else []
        faults += [f"{wheel.name}: {fault}" for fault in found + check(wheel)]
    for wheel in wheels:
        print(f"checked  {wheel.stat().st_size / (1 << 20):.2f} MiB  {wheel.name}")
    print("".join(f"fault    {fault}\n" for fault in faults), end="")
    return 1 if faults else 0


def build_all(targets: Sequence[str], interpreter: str | None, folder: Path, scratch: Path) -> bool:
    """Build the wheels, with a profile if there can be one; return whether nothing has failed."""
    rustc = check_systems.compiler(scratch)
    flags, environ = compiler_options(rustc)
    flags_of = {target: [*flags, *WITHOUT_PROFILE] for target in targets}
    tool = profiling.find_tool(rustc)
    if tool is None:
        print(f"wheels.py: without a profile: {profiling.remedy(rustc)}")
    elif (target := profiling.host(rustc)) in targets:
        profile = profiling.gather(tool, flags, environ, scratch)
        if profile is None:
            return False
        flags_of[target] = [*flags, f"-Cprofile-use={profile}", *profiling.LIMITS]
    built = []
    for target, own in flags_of.items():
        own_environ = environ | {"CARGO_ENCODED_RUSTFLAGS": "\x1f".join(own)}
        built.append(build(target, interpreter, folder, scratch, own_environ))
    return all(built)


def compiler_options(rustc: str) -> tuple[list[str], dict[str, str]]:
    """Return the flags of every build, and the environment of cargo."""
    cargo_home = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo"))
    flags = [
        f"--remap-path-prefix={cargo_home / 'registry/src'}=crates",
        f"--remap-path-prefix={ROOT}=fastwsh",
    ]
    environ = {
        # a wheel is what Cargo.toml says, whatever quicker builds here are made with
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CARGO_PROFILE_", "CARGO_BUILD_RUSTFLAGS", "RUSTFLAGS"))
        },
        "CARGO_ZIGBUILD_PYTHON_PATH": sys.executable,
        # as for every build with zig: the names of functions depend on it, and a profile has names
        "CARGO_UNSTABLE_TARGET_APPLIES_TO_HOST": "true",
        "CARGO_TARGET_APPLIES_TO_HOST": "false",
        # for both of what is called unstable
        "RUSTC_BOOTSTRAP": "1",
        "RUSTC": rustc,
    }
    if check_systems.has_source(rustc):
        flags.append(f"--remap-path-prefix={check_systems.sysroot(rustc) / SOURCE}=/rustc/std")
        environ |= {
            "CARGO_UNSTABLE_BUILD_STD": "std,panic_unwind",
            # without backtraces, and with the smaller way to sort
            "CARGO_UNSTABLE_BUILD_STD_FEATURES": "panic-unwind,optimize_for_size",
        }
    return flags, environ


def build(
    target: str, interpreter: str | None, folder: Path, scratch: Path, environ: dict[str, str]
) -> bool:
    """Build one wheel, or say why it is left out; return whether nothing has failed."""
    rustc = environ["RUSTC"]
    source = check_systems.has_source(rustc)
    if not source and check_systems.standard_library(rustc, target) is None:
        print(
            f"left out {target}: {rustc} has no standard library for it: rustup target add {target}"
        )
        return True
    command = [sys.executable, "-m", "maturin", "build", "--release", "--locked", "--zig"]
    command += ["--target", target, "--compatibility", TARGETS[target], "--out", str(folder)]
    command += ["--compression-level", "9"]
    if interpreter is not None:
        command += ["--interpreter", interpreter]
    if target.endswith("-gnu"):
        # among cargo's own arguments this would give all functions other names than in the profile
        link = f"\x1f-Clink-arg={link_unwinder(target, scratch)}"
        environ = {**environ, "CARGO_ENCODED_RUSTFLAGS": environ["CARGO_ENCODED_RUSTFLAGS"] + link}
    return subprocess.run(command, check=False, cwd=ROOT, env=environ).returncode == 0


def link_unwinder(target: str, scratch: Path) -> Path:
    """Make a library to link with, so that a wheel for glibc takes the system's unwinder.

    zig would link its own. glibc unwinds a thread with the system's when it ends it, as CPython
    before 3.14 has it do with a daemon thread at exit; the two do not understand each other.
    """
    library = scratch / "unwinder.so"
    source = "".join(f"void _Unwind_{name}(void) {{}}\n" for name in UNWINDER)
    (scratch / "unwinder.c").write_text(source, encoding="utf-8")
    architecture = target.partition("-")[0]
    command = [sys.executable, "-m", "ziglang", "cc", "-target", f"{architecture}-linux-gnu"]
    command += ["-shared", "-nostdlib", f"-Wl,-soname,{LIBGCC}", "-o", str(library)]
    subprocess.run([*command, str(scratch / "unwinder.c")], check=True)
    return library


def pack(wheel: Path) -> list[str]:
    """Compress the files of a wheel anew, which takes a minute; return what went wrong."""
    advzip = shutil.which("advzip")
    if advzip is None:
        return ["not packed, as advzip is missing: install advancecomp"]
    command = [advzip, "--recompress", "--shrink-insane", "--quiet", str(wheel)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return [f"advzip: {done.stdout}{done.stderr}".strip()] if done.returncode else []


def check(wheel: Path) -> list[str]:
    """Return what is wrong with a wheel."""
    faults = []
    if wheel.stat().st_size > MOST_BYTES:
        faults.append(f"{wheel.stat().st_size} bytes are more than {MOST_BYTES}")
    with zipfile.ZipFile(wheel) as files:
        names = files.namelist()
        for name in names:
            if name.endswith((".so", ".pyd")):
                module = files.read(name)
                found = set(_PATHS.findall(module))
                faults += [f"{name} names {path.decode()}" for path in sorted(found)[:5]]
                if "manylinux" in wheel.name and LIBGCC.encode() not in module:
                    faults.append(f"{name} has an unwinder of its own: link it with {LIBGCC}")
    if not any(name.endswith((".so", ".pyd")) for name in names):
        faults.append("the extension module is missing")
    wanted = ("fastwsh/LICENSES-OF-CRATES.txt", "/licenses/LICENSE", "fastwsh/py.typed")
    faults += [f"{end} is missing" for end in wanted if not any(n.endswith(end) for n in names)]
    if not any(".dist-info/sboms/" in name for name in names):
        faults.append("the bill of materials is missing")
    if "-abi3-" in wheel.name:
        faults += run("abi3audit", "--strict", str(wheel))
    if "linux" in wheel.name:
        # which libraries this machine has is no matter: for musl's, auditwheel would take glibc's
        with tempfile.TemporaryDirectory() as nothing:
            faults += run("auditwheel", "show", "--ldpaths", nothing, str(wheel))
    return faults


def run(module: str, *arguments: str) -> list[str]:
    """Run a checker; return what it says if it fails, or that it is missing."""
    if importlib.util.find_spec(module) is None:
        return [f"not checked by {module}: python -m pip install {module}"]
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return [f"{module}: {done.stdout}{done.stderr}".strip()] if done.returncode else []


if __name__ == "__main__":
    sys.exit(main())
