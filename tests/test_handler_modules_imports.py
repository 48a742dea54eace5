"""What handlers import, also in processes that they start, and where programs look for it."""

import subprocess
import sys
from pathlib import Path

import pytest

import fastwsh
from conftest import ALL_WAYS, clean_environment, run_fastwsh
from fastwsh.config_error import ConfigError
from fastwsh.pywebsocket import dispatch
from fastwsh.testing import running_server
from handler_modules_support import ECHO, FUNCTIONS, TOP, load, nothing_stays
from wire import CLOSE, DEADLINE_SECONDS

__all__ = ["load", "nothing_stays"]


def test_imports_what_is_beside_it_and_above(load):
    loaded = load(
        state="names = []",
        room__own="from ..state import names",
        room__a_wsh=f"from . import own\nfrom ..state import names{FUNCTIONS}",
        b_wsh=f"def late():\n    from .room.own import names\n    return names\n{FUNCTIONS}",
    )
    a, b = loaded["/room/a"], loaded["/b"]
    assert a["names"] is a["own"].names is b["late"]()


def test_handlers_that_import_each_other_are_executed_once(load):
    loaded = load(
        a_wsh=f"from .chat_wsh import ROOMS\nfrom . import chat_wsh{FUNCTIONS}",
        chat_wsh=f"ROOMS = {{}}{FUNCTIONS}",
        d_wsh=f"from .chat_wsh import ROOMS{FUNCTIONS}",
    )
    a, chat, d = loaded["/a"], loaded["/chat"], loaded["/d"]
    assert a["ROOMS"] is chat["ROOMS"] is d["ROOMS"]
    assert vars(a["chat_wsh"]) is chat


def test_handlers_that_import_in_a_circle_are_executed_once(load):
    loaded = load(
        a_wsh=f"from . import b_wsh\nvalue = []{FUNCTIONS}",
        b_wsh=f"from . import a_wsh\ndef get(): return a_wsh.value\n{FUNCTIONS}",
    )
    assert loaded["/b"]["get"]() is loaded["/a"]["value"]


def test_broken_neighbour_is_named(tmp_path):
    (tmp_path / "a_wsh.py").write_text(f"from . import b_wsh{FUNCTIONS}")
    (tmp_path / "b_wsh.py").write_text(f"\n1/0{FUNCTIONS}")
    dispatcher = dispatch.Dispatcher(str(tmp_path))
    a, b = dispatcher.source_warnings()
    assert "a_wsh.py:1" in a
    assert "b_wsh.py:2" in a
    assert "ZeroDivisionError" in b
    assert not any(name.startswith(f"{TOP}.") for name in sys.modules)


@ALL_WAYS
@pytest.mark.parametrize("how", ["module", "script"])
def test_programs_import_from_the_handlers_and_the_current_folder(
    tmp_path, how, concurrency, write_handler
):
    write_handler("a", f"import beside, current\nprint(beside.__file__, current.__file__){ECHO}")
    (tmp_path / "handlers" / "beside.py").write_text("")
    # whatever is installed comes before what lies beside a handler
    (tmp_path / "handlers" / "json.py").write_text("1/0")
    (tmp_path / "current.py").write_text("import json")
    (tmp_path / "root").mkdir()
    arguments = ["--check", "-w", "../handlers", "-d", "root"]
    if how == "module":
        done = run_fastwsh(*arguments, cwd=tmp_path)
    else:
        done = subprocess.run(
            [Path(sys.executable).with_name("fastwsh"), *arguments],
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
            check=False,
        )
    assert done.stderr == ""
    assert done.stdout.splitlines()[0].split() == [
        str(tmp_path / "handlers" / "beside.py"),
        str(tmp_path / "current.py"),
    ]


def test_safe_path_keeps_the_current_folder_out(tmp_path, write_handler):
    write_handler("a", f"import current{ECHO}")
    (tmp_path / "current.py").write_text("")
    done = subprocess.run(
        [Path(sys.executable).with_name("fastwsh"), "--check", "-w", "handlers"],
        cwd=tmp_path,
        env=clean_environment(PYTHONSAFEPATH="1"),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert "No module named 'current'" in done.stdout


SPAWNS = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from . import beside

@dataclass
class Task:
    number: int

def work(task):
    return Task(beside.double(task.number))

def web_socket_do_extra_handshake(request): pass

def web_socket_transfer_data(request):
    with ProcessPoolExecutor(1, multiprocessing.get_context(METHOD)) as pool:
        request.ws_stream.send_message(repr(pool.submit(work, Task(21)).result()))
"""


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
@pytest.mark.parametrize("name", ["a", "v1.2/inner/a"])
def test_process_that_it_starts_finds_it(start_server, write_handler, handler_root, method, name):
    path = write_handler(name, f"METHOD = {method!r}\n{SPAWNS}")
    (path.parent / "beside.py").write_text("def double(number): return 2 * number")
    server = start_server("-w", handler_root)
    with server.connect() as client:
        client.handshake(f"/{name}")
        assert client.read_frame().payload == b"Task(number=42)"
        # when the process has ended
        assert client.read_frame().opcode == CLOSE


def test_process_finds_a_second_folder(tmp_path):
    (tmp_path / "a_wsh.py").write_text(f"def work(): return __name__\n{FUNCTIONS}")
    program = tmp_path / "program.py"
    program.write_text(
        "import multiprocessing, sys\n"
        "from fastwsh.pywebsocket.dispatch import Dispatcher\n"
        "if __name__ == '__main__':\n"
        "    sys.path.append(sys.argv[1])\n"
        "    several = [Dispatcher(sys.argv[1]) for _ in range(3)]\n"
        "    work = several[-1]._handler_suite_map['/a'].namespace['work']\n"
        "    with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "        print(pool.apply(work) == work())\n"
    )
    done = subprocess.run(
        [sys.executable, program, tmp_path],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_test_servers_import_alike_and_leave_nothing(tmp_path):
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / f"beside_{name}.py").write_text("")
        (folder / "own.py").write_text(f"name = {name!r}")
        (folder / "a_wsh.py").write_text(
            f"import beside_{name}\nfrom .own import name\n"
            f"def answer(): return name + __name__\n{ECHO}"
        )
    for name in ("one", "two"):
        # one handler of a folder alone, and the folder
        for source in (tmp_path / name / "a_wsh.py", tmp_path / name):
            with (
                running_server(source) as server,
                fastwsh.connect(server.url_for("/a")) as client,
            ):
                assert client.recv() == f"{name}{TOP}.a_wsh"
            assert str(tmp_path / name) not in sys.path
            assert f"{TOP}.a_wsh" not in sys.modules


def test_test_server_that_cannot_load_leaves_nothing(tmp_path):
    (tmp_path / "a_wsh.py").write_text("1/0")
    with pytest.raises(ConfigError, match="cannot be loaded"), running_server(tmp_path):
        pass
