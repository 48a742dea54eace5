"""What is released, and the checks of it; see release/ and .github/workflows/."""

import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
RELEASE = ROOT / "release"
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
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


def program(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


def profiled_compiler(folder: Path) -> str:
    facts = "host: here-linux\nrelease: 1.85.1\nLLVM version: 19.1.7"
    return program(
        folder / "rustc", f'case $1 in -vV) echo "{facts}";; *) echo {folder}/sysroot;; esac'
    )


def test_llvm_profdata_is_of_the_version_of_the_compiler(tmp_path, monkeypatch):
    import profiling

    rustc = profiled_compiler(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    assert "apt-get install llvm-19" in profiling.remedy(rustc)
    program(tmp_path / "bin/llvm-profdata", "echo 'Debian LLVM version 18.1.8'")
    program(tmp_path / "bin/llvm-profdata-19", "echo 'Debian LLVM version 18.1.8'")
    assert profiling.find_tool(rustc) is None
    own = program(tmp_path / "bin/llvm-profdata", "echo 'Debian LLVM version 19.1.7'")
    assert profiling.find_tool(rustc) == own
    named = program(tmp_path / "bin/llvm-profdata-19", "echo 'Debian LLVM version 19.1.7'")
    assert profiling.find_tool(rustc) == named
    folder = tmp_path / "sysroot/lib/rustlib/here-linux/bin"
    tool = program(folder / "llvm-profdata", "echo '  LLVM version 19.1.7-rust'")
    assert profiling.find_tool(rustc) == tool


@pytest.mark.parametrize("fails", [None, "maturin", "training.py", "merge"])
def test_a_profile_is_gathered_with_the_flags_of_the_wheels(tmp_path, monkeypatch, fails):
    import profiling

    calls = []
    run = subprocess.run

    def note(command, **options):
        if command[0].endswith("rustc"):
            return run(command, **options)
        calls.append((command, options.get("env")))
        if "maturin" in command:
            wheel(tmp_path / "counting", "fastwsh-1.0.whl")
        is_wrong = fails is not None and any(part.endswith(fails) for part in command)
        return subprocess.CompletedProcess(command, int(is_wrong))

    (tmp_path / "counting").mkdir()
    monkeypatch.setattr(profiling.subprocess, "run", note)
    environ = {"RUSTC": profiled_compiler(tmp_path)}
    found = profiling.gather("/profdata", ["-Cx"], environ, tmp_path)
    assert found == (None if fails else tmp_path / "profile.profdata")
    command, environ = calls[0]
    assert command[command.index("--target") + 1] == "here-linux"
    flags = environ["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
    assert flags == ["-Cx", f"-Cprofile-generate={tmp_path / 'counts'}"]
    if fails != "maturin":
        trained = next(environ for command, environ in calls if "training.py" in command[-1])
        assert trained["LLVM_PROFILE_FILE"].startswith(str(tmp_path / "counts"))


@pytest.mark.parametrize("gathered", [True, False])
def test_a_wheel_is_built_with_the_profile(tmp_path, monkeypatch, gathered):
    import check_systems
    import profiling
    import wheels

    profile = tmp_path / "profile.profdata" if gathered else None
    built = []
    monkeypatch.setattr(check_systems, "compiler", lambda _: profiled_compiler(tmp_path))
    monkeypatch.setattr(profiling, "find_tool", lambda _: "/profdata")
    monkeypatch.setattr(profiling, "gather", lambda *_: profile)
    monkeypatch.setattr(wheels, "build", lambda *arguments: built.append(arguments) or True)
    assert wheels.build_all(["a", "b"], None, tmp_path, tmp_path) is gathered
    assert [arguments[0] for arguments in built] == ["a", "b"] * gathered
    for *_, environ in built:
        flags = environ["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
        assert {f"-Cprofile-use={profile}", *profiling.LIMITS} <= set(flags)


def test_without_the_tool_a_wheel_has_no_profile_and_a_line_says_so(tmp_path, monkeypatch, capsys):
    import check_systems
    import profiling
    import wheels

    monkeypatch.setattr(check_systems, "compiler", lambda _: profiled_compiler(tmp_path))
    monkeypatch.setattr(profiling, "find_tool", lambda _: None)
    monkeypatch.setattr(wheels, "build", lambda *_: True)
    assert wheels.build_all(["a"], None, tmp_path, tmp_path)
    assert capsys.readouterr().out.startswith("wheels.py: without a profile: rustup component add")


def test_the_training_of_a_profile_runs(tmp_path):
    command = [sys.executable, str(ROOT / "benches/training.py"), "--share", "0.001"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def crate(folder: Path, name: str, license_: str | None, text: str) -> dict[str, object]:
    (folder / name).mkdir()
    (folder / name / "LICENSE-MIT").write_text(text, "utf-8")
    (folder / name / "license.rs").write_text("no licence", "utf-8")
    return {
        "name": name,
        "version": "1.0",
        "license": license_,
        "license_file": None,
        "manifest_path": str(folder / name / "Cargo.toml"),
    }


def test_each_text_of_a_licence_is_there_once(tmp_path):
    import crate_licenses

    crates = [crate(tmp_path, "a", "MIT", "text"), crate(tmp_path, "b", "MIT", "text\n")]
    text = crate_licenses.collect([*crates, crate(tmp_path, "c", "ISC", "other")])
    assert "- a 1.0: MIT\n- b 1.0: MIT\n- c 1.0: ISC\n" in text
    assert "Of a 1.0, b 1.0:\n\ntext\n" in text
    assert text.count("\ntext\n") == text.count("\nother\n") == 1
    assert "no licence" not in text


def test_a_crate_without_a_licence_is_not_shipped(tmp_path):
    import crate_licenses

    with pytest.raises(SystemExit, match=r"a 1\.0 states no licence"):
        crate_licenses.collect([crate(tmp_path, "a", None, "text")])


def test_what_is_compiled_in_is_listed_and_tools_are_not():
    import crate_licenses

    names = {crate["name"] for crate in crate_licenses.shipped_crates()}
    assert {"tokio", "rustls", "pyo3", "ring"} <= names
    assert not {"fastwsh", "criterion", "proptest"} & names


def compiler(folder: Path, sysroot: Path) -> str:
    path = folder / "rustc"
    path.write_text(
        f'#!/bin/sh\ncase "$*" in *libdir*) echo {sysroot}/lib;; *) echo {sysroot};; esac\n'
    )
    path.chmod(0o755)
    return str(path)


def test_the_standard_library_is_taken_as_it_is_there(tmp_path):
    import check_systems

    rustc = compiler(tmp_path, tmp_path)
    assert check_systems.standard_library(rustc, "t") is None
    source = tmp_path / "lib/rustlib/src/rust/library"
    source.mkdir(parents=True)
    (source / "Cargo.lock").touch()
    assert check_systems.standard_library(rustc, "t") is True
    (tmp_path / "lib/libstd-1234.rlib").touch()
    assert check_systems.standard_library(rustc, "t") is False


def test_a_system_without_its_parts_is_left_out_with_a_reason(tmp_path, monkeypatch, capsys):
    import check_systems

    monkeypatch.setattr(check_systems, "compiler", lambda _: compiler(tmp_path, tmp_path / "none"))
    assert check_systems.check("aarch64-apple-darwin", tmp_path)
    printed = capsys.readouterr().out
    assert printed.startswith("left out  aarch64-apple-darwin: ")
    assert "rustup component add rust-src" in printed


def test_free_threaded_cpython_is_checked_without_it(tmp_path, monkeypatch, capsys):
    import check_systems

    calls = []

    def note(command, **options):
        calls.append(Path(options["env"]["PYO3_CONFIG_FILE"]).read_text("utf-8"))
        return subprocess.CompletedProcess(command, len(calls) - 1)

    monkeypatch.setattr(check_systems.subprocess, "run", note)
    assert check_systems.check("free-threaded", tmp_path)
    assert not check_systems.check("free-threaded", tmp_path)
    assert all("Py_GIL_DISABLED" in config for config in calls)
    assert capsys.readouterr().out == "compiles  free-threaded\nfailed    free-threaded\n"


def test_a_tree_without_a_compiler_is_an_error(tmp_path, monkeypatch):
    import check_systems

    monkeypatch.setenv("FASTWSH_DEBIAN_TREE", str(tmp_path))
    with pytest.raises(SystemExit, match=r"has no usr/bin/rustc: install rustc and rust-src"):
        check_systems.compiler(tmp_path)


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_grant_little_and_pin_what_they_use(path: Path):
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert set(job["permissions"]) <= {"contents", "id-token"}
        assert job["permissions"].get("contents", "read") == "read"
        assert "timeout-minutes" in job
    uses = re.findall(r"uses: (.*)", text)
    for use in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", use), use
    # what is used twice is used in one version
    assert len({use.split("@")[0] for use in uses}) == len(set(uses))


def test_only_a_tag_publishes_and_only_what_all_jobs_have_built():
    jobs = yaml.safe_load((ROOT / ".github/workflows/wheels.yml").read_text("utf-8"))["jobs"]
    allowed = [name for name, job in jobs.items() if "id-token" in job["permissions"]]
    assert allowed == ["publish"]
    assert "refs/tags/v" in jobs["publish"]["if"]
    assert set(jobs["publish"]["needs"]) == set(jobs) - {"publish"}


def test_every_python_that_is_named_is_tested():
    jobs = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text("utf-8"))["jobs"]
    tested = set(jobs["test"]["strategy"]["matrix"]["python"])
    prefix = "Programming Language :: Python :: 3."
    named = {kind[len(prefix) - 2 :] for kind in PROJECT["classifiers"] if kind.startswith(prefix)}
    assert {"3.11", "3.12", "3.13"} <= named <= tested
