"""Wheels: how they are built and packed, and what a wheel must and must not have."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from release_support import RELEASE, ROOT, compiler, scripts, wheel

__all__ = ["scripts"]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, None),
        ({"fastwsh/_core.abi3.so": None}, "the extension module is missing"),
        ({"fastwsh/LICENSES-OF-CRATES.txt": None}, "LICENSES-OF-CRATES.txt is missing"),
        ({"fastwsh-1.0.dist-info/licenses/LICENSE": None}, "/licenses/LICENSE is missing"),
        ({"fastwsh-1.0.dist-info/sboms/fastwsh.cyclonedx.json": None}, "bill of materials"),
        ({"fastwsh/_core.abi3.so": b"a /root/.cargo/registry/src/b.rs"}, "/root/.cargo/registry"),
        ({"fastwsh/_core.abi3.so": b"/home/me/fastwsh/src/a.rs"}, "/home/me/fastwsh/src/a.rs"),
        ({"fastwsh/_core.abi3.so": b"/Users/runner/work/x"}, "/Users/runner/work"),
        ({"fastwsh/_core.abi3.so": b"C:\\Users\\me\\x.rs"}, "Users"),
        ({"fastwsh/_core.abi3.so": b"it/tmp/tree/usr/library/alloc/src/slice.rsnext"}, "slice.rs"),
        ({"fastwsh/_core.abi3.so": b"/builds/x/ring/crypto/mem.c"}, "/builds/x/ring/crypto/mem.c"),
        (
            {"fastwsh/_core.abi3.so": b"/opt/etc/ssl/a.crtb/c.rs/usr/local/sslc/d.rs/var/x.conf"},
            None,
        ),
        ({"fastwsh/_core.abi3.so": os.urandom(4 << 20)}, "are more than"),
    ],
)
def test_a_wheel_is_small_and_honest(tmp_path, changes, fault):
    import wheels

    # neither abi3 nor linux, so that no checker for files of these is asked
    faults = wheels.check(
        wheel(tmp_path, "fastwsh-1.0-cp314-cp314-macosx_11_0_arm64.whl", **changes)
    )
    assert len(faults) == (fault is not None)
    assert fault is None or fault in faults[0]


@pytest.mark.parametrize(
    ("platform", "is_fault"), [("manylinux_2_28_x86_64", True), ("musllinux_1_2_x86_64", False)]
)
def test_a_wheel_for_glibc_has_no_unwinder_of_its_own(tmp_path, monkeypatch, platform, is_fault):
    """glibc's ending of a thread, as at the exit of CPython before 3.14, crashed in zig's."""
    import wheels

    monkeypatch.setattr(wheels, "run", lambda *_: [])
    name = f"fastwsh-1.0-cp311-abi3-{platform}.whl"
    faults = wheels.check(wheel(tmp_path, name, **{"fastwsh/_core.abi3.so": b"\x7fELF"}))
    assert ["unwinder of its own" in fault for fault in faults] == [True] * is_fault


def test_a_checker_that_is_missing_is_a_fault(tmp_path, monkeypatch):
    import wheels

    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda name: None)
    name = "fastwsh-1.0-cp311-abi3-manylinux_2_28_x86_64.whl"
    assert len(wheels.check(wheel(tmp_path, name))) == 2


@pytest.mark.parametrize(("missing", "status"), [(True, 0), (False, 0), (False, 1)])
def test_a_wheel_is_packed_and_a_fault_of_that_is_told(tmp_path, monkeypatch, missing, status):
    import wheels

    path = wheel(tmp_path, "fastwsh-1.0-cp314-cp314-macosx_11_0_arm64.whl")
    calls = []

    def run(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, status, "", "disk is full")

    monkeypatch.setattr(wheels.shutil, "which", lambda name: None if missing else f"/{name}")
    monkeypatch.setattr(wheels.subprocess, "run", run)
    told = "".join(wheels.pack(path))
    if missing:
        assert (calls, told) == ([], "not packed, as advzip is missing: install advancecomp")
    else:
        [command] = calls
        assert (command[0], command[-1]) == ("/advzip", str(path))
        assert told == ("advzip: disk is full" if status else "")


def test_a_folder_without_wheels_is_a_fault(tmp_path):
    command = [sys.executable, str(RELEASE / "wheels.py"), "--check", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f"wheels.py: {tmp_path} has no wheel\n")


@pytest.mark.parametrize("interpreter", [None, "python3.14t"])
def test_a_wheel_is_built_for_release_and_forgets_where(tmp_path, monkeypatch, interpreter):
    import check_systems
    import profiling
    import wheels

    calls = []
    monkeypatch.setenv("CARGO_PROFILE_RELEASE_LTO", "off")
    monkeypatch.setenv("RUSTFLAGS", "-g")
    monkeypatch.setattr(check_systems, "compiler", lambda _: compiler(tmp_path, tmp_path))
    (tmp_path / "lib/rustlib/src/rust/library").mkdir(parents=True)
    (tmp_path / "lib/rustlib/src/rust/library/Cargo.lock").touch()
    # the source is better, even if a compiled library is there
    (tmp_path / "lib/libstd-1234.rlib").touch()
    run = subprocess.run

    def note(command, **options):
        if "maturin" not in command:
            return run(command, **options)
        calls.append((command, options["env"]))
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(wheels.subprocess, "run", note)
    monkeypatch.setattr(profiling, "find_tool", lambda _: None)
    assert wheels.build_all(["x86_64-unknown-linux-musl"], interpreter, tmp_path, tmp_path)
    [(command, environ)] = calls
    assert {"--locked", "--release", "musllinux_1_2"} <= set(command)
    wanted = [] if interpreter is None else ["--interpreter", interpreter]
    assert command[command.index("9") + 1 :] == wanted
    assert not {"CARGO_PROFILE_RELEASE_LTO", "RUSTFLAGS"} & set(environ)
    assert environ["CARGO_UNSTABLE_BUILD_STD"] == "std,panic_unwind"
    flags = environ["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
    for source in (ROOT, tmp_path / "lib/rustlib/src/rust"):
        assert any(flag.startswith(f"--remap-path-prefix={source}=") for flag in flags)


def test_only_flags_differ_between_the_build_that_counts_and_a_wheel(tmp_path, monkeypatch):
    """cargo names functions by its arguments for the compiler, but not by the flags."""
    import check_systems
    import wheels

    calls = []
    monkeypatch.setattr(check_systems, "has_source", lambda _: True)
    monkeypatch.setattr(wheels, "link_unwinder", lambda *_: Path("/unwinder.so"))
    monkeypatch.setattr(
        wheels.subprocess,
        "run",
        lambda command, **options: (
            calls.append((command, options["env"])) or subprocess.CompletedProcess(command, 0)
        ),
    )
    environ = {"RUSTC": "rustc", "CARGO_ENCODED_RUSTFLAGS": "-Cx"}
    assert wheels.build("x86_64-unknown-linux-gnu", None, tmp_path, tmp_path, environ)
    [(command, environ)] = calls
    assert "--" not in command
    flags = environ["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
    assert flags == ["-Cx", "-Clink-arg=/unwinder.so"]


def test_the_workflow_builds_wheels_as_the_script_does():
    import profiling

    jobs = yaml.safe_load((ROOT / ".github/workflows/wheels.yml").read_text("utf-8"))["jobs"]
    [build] = [step for step in jobs["wheel"]["steps"] if "target" in step.get("with", {})]
    assert build["with"]["rustup-components"].split() == ["rust-src", "llvm-tools"]
    script = (RELEASE / "wheels.py").read_text("utf-8")
    for name, value in build["env"].items():
        if name != "RUSTFLAGS":
            assert f'"{name}": "{value}"' in script
    assert set(profiling.LIMITS) <= set(build["env"]["RUSTFLAGS"].split())
    maturin = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["maturin"]
    assert maturin["pgo-command"].endswith(" benches/training.py")
