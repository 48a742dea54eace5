"""What is released, and the checks of it; see release/ and .github/workflows/."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from release_support import ROOT, compiler, scripts

__all__ = ["scripts"]

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


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
