"""The drop-in folder: both historical names, on fastwsh's own modules, however it is reached."""

import subprocess
import sys
from pathlib import Path

import pytest

from conftest import clean_environment
from embed_support import DROPIN, NAMES
from wire import DEADLINE_SECONDS


def run(*args: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, args)],
        check=False,
        cwd=cwd,
        env=clean_environment(**env),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )


def output(*args: str | Path, cwd: Path, **env: str) -> list[str]:
    done = run(*args, cwd=cwd, **env)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_command_line_prints_it(tmp_path: Path):
    assert output("-m", "fastwsh", "--print-dropin-path", cwd=tmp_path) == [str(DROPIN)]


def test_prints_it_although_other_options_could_not_work(tmp_path: Path):
    args = ("--print-dropin-path", "-d", "missing", "-p", "1")
    assert output("-m", "fastwsh", *args, cwd=tmp_path) == [str(DROPIN)]


def test_holds_nothing_but_the_two_names():
    assert sorted(path.name for path in DROPIN.iterdir()) == list(NAMES)
    for name in NAMES:
        modules = sorted(path.name for path in (DROPIN / name).glob("[!_]*"))
        assert modules == ["standalone.py"]


def test_packages_differ_in_their_name_only():
    for file in ("__init__.py", "standalone.py"):
        old, new = ((DROPIN / name / file).read_text(encoding="utf-8") for name in NAMES)
        assert old.replace("mod_pywebsocket", "pywebsocket3") == new


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("other", NAMES)
def test_names_are_one_set_of_modules(tmp_path: Path, name: str, other: str):
    code = f"""
import {name}
import {other}.handshake.base
from {name} import handshake, standalone
import fastwsh.pywebsocket
print({name} is {other} is fastwsh.pywebsocket)
print(handshake.base is {other}.handshake.base is fastwsh.pywebsocket.handshake.base)
print(standalone is fastwsh.pywebsocket.standalone)
"""
    assert output("-c", code, cwd=tmp_path, PYTHONPATH=str(DROPIN)) == ["True"] * 3


def test_uninstalling_leaves_no_trace_of_the_names(tmp_path: Path):
    code = """
import sys
import pywebsocket3.common
pywebsocket3.uninstall()
print([name for name in sys.modules if name.startswith(("pywebsocket3", "mod_pywebsocket"))])
"""
    assert output("-c", code, cwd=tmp_path, PYTHONPATH=str(DROPIN)) == ["[]"]


@pytest.mark.parametrize("name", NAMES)
class TestStandalone:
    """`--version` shows whose server starts."""

    def test_by_module_name(self, tmp_path: Path, name: str):
        args = ("-m", f"{name}.standalone", "--version")
        assert output(*args, cwd=tmp_path, PYTHONPATH=str(DROPIN))[0].startswith("fastwsh ")

    @pytest.mark.parametrize("path", [str(DROPIN), ""], ids=["on PYTHONPATH", "not"])
    def test_by_file_path(self, tmp_path: Path, name: str, path: str):
        args = ("-u", DROPIN / name / "standalone.py", "--version")
        assert output(*args, cwd=tmp_path, PYTHONPATH=path)[0].startswith("fastwsh ")

    def test_as_a_module_of_its_folder(self, tmp_path: Path, name: str):
        (tmp_path / "pywebsocket").symlink_to(DROPIN / name)
        code = f"""
import sys
sys.path = ["pywebsocket"] + sys.path
import standalone
import {name}.standalone
print(standalone is {name}.standalone)
standalone._main(["--version"])
"""
        same, version = output("-c", code, cwd=tmp_path)
        assert same == "True"
        assert version.startswith("fastwsh ")

    def test_failure_to_start_is_an_exit_status(self, tmp_path: Path, name: str):
        done = run(DROPIN / name / "standalone.py", "-d", "missing", cwd=tmp_path)
        assert done.returncode == 1
        assert done.stderr.startswith("fastwsh: ")


def test_is_used_in_the_place_of_a_vendored_copy(tmp_path: Path):
    # web-platform-tests put their copy in front of everything that PYTHONPATH names
    vendored = tmp_path / "third_party" / "pywebsocket3"
    vendored.parent.mkdir()
    vendored.symlink_to(DROPIN)
    code = """
import sys
sys.path.insert(0, "third_party/pywebsocket3")
from pywebsocket3 import standalone
print(standalone.__name__)
"""
    assert output("-c", code, cwd=tmp_path) == ["fastwsh.pywebsocket.standalone"]


def test_wins_over_an_installed_pywebsocket3(tmp_path: Path, pywebsocket3_source: Path):
    code = "import pywebsocket3.stream as s; print(s.__name__)"
    path = f"{DROPIN}:{pywebsocket3_source}"
    assert output("-c", code, cwd=tmp_path, PYTHONPATH=path) == ["fastwsh.pywebsocket.stream"]


@pytest.mark.parametrize("name", NAMES)
def test_finds_fastwsh_where_it_is_not_installed(tmp_path: Path, name: str):
    # -S leaves out the folder with the installed packages
    args = ("-S", DROPIN / name / "standalone.py", "--version")
    assert output(*args, cwd=tmp_path, PYTHONPATH="")[0].startswith("fastwsh ")
