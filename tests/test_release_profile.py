"""The profile that the compiler gets for a wheel: its tool, how it is gathered, and used."""

import subprocess
import sys

import pytest

from release_support import ROOT, profiled_compiler, program, scripts, wheel

__all__ = ["scripts"]


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
def test_a_wheel_for_this_machine_is_built_with_the_profile(tmp_path, monkeypatch, gathered):
    import check_systems
    import profiling
    import wheels

    profile = tmp_path / "profile.profdata" if gathered else None
    built = []
    monkeypatch.setattr(check_systems, "compiler", lambda _: profiled_compiler(tmp_path))
    monkeypatch.setattr(profiling, "find_tool", lambda _: "/profdata")
    monkeypatch.setattr(profiling, "gather", lambda *_: profile)
    monkeypatch.setattr(wheels, "build", lambda *arguments: built.append(arguments) or True)
    targets = ["here-linux", "there-linux"]
    assert wheels.build_all(targets, None, tmp_path, tmp_path) is gathered
    assert [arguments[0] for arguments in built] == targets * gathered
    for target, *_, environ in built:
        flags = environ["CARGO_ENCODED_RUSTFLAGS"].split("\x1f")
        wanted = {f"-Cprofile-use={profile}", *profiling.LIMITS}
        assert wanted & set(flags) == (wanted if target == "here-linux" else set())
        assert (target == "here-linux") is set(wheels.WITHOUT_PROFILE).isdisjoint(flags)


def test_no_profile_is_made_for_other_machines_alone(tmp_path, monkeypatch):
    import check_systems
    import profiling
    import wheels

    monkeypatch.setattr(check_systems, "compiler", lambda _: profiled_compiler(tmp_path))
    monkeypatch.setattr(profiling, "find_tool", lambda _: "/profdata")
    monkeypatch.setattr(profiling, "gather", lambda *_: pytest.fail("it takes minutes"))
    monkeypatch.setattr(wheels, "build", lambda *_: True)
    assert wheels.build_all(["there-linux"], None, tmp_path, tmp_path)


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
