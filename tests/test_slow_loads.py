"""Handler files that take long to load, or never end: the log names them."""

import logging
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from fastwsh.loading import slow_loads
from fastwsh.pywebsocket.dispatch import Dispatcher
from fastwsh.running.lifespan import Lifespan
from waiting import wait_until

FUNCTIONS = """\
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    pass
"""


class Held:
    """A handler whose code goes on only when a file is there."""

    def __init__(self, folder: Path) -> None:
        self.mark = folder / "goes_on"
        self.path = folder / "slow_wsh.py"
        self.waiting = (
            f"    while not pathlib.Path({str(self.mark)!r}).exists():\n        time.sleep(0.001)\n"
        )

    def write(self, first_line: str) -> None:
        text = f"import pathlib, time\n{first_line}\n{self.waiting}{FUNCTIONS}"
        self.path.write_text(text, encoding="utf-8")


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Held:
    monkeypatch.setattr(slow_loads, "SLOW_SECONDS", 0.05)
    return Held(tmp_path)


def assert_told(work: Callable[[], object], held: Held, caplog: pytest.LogCaptureFixture) -> str:
    """Do something that waits, and return the one line that tells of it."""
    thread = threading.Thread(target=work)
    thread.start()
    try:
        wait_until(lambda: "takes longer" in caplog.text, "the log says nothing")
        # not again
        watching = [each for each in threading.enumerate() if each.name == "fastwsh-loading"]
        assert [each.is_alive() for each in watching] == [True]
    finally:
        held.mark.touch()
        thread.join()
        held.mark.unlink()
    wait_until(lambda: not watching[0].is_alive(), "the thread goes on")
    [line] = [record for record in caplog.records if "takes longer" in record.getMessage()]
    assert (line.name, line.levelno) == ("fastwsh.server", logging.WARNING)
    caplog.clear()
    return line.getMessage()


def test_start_and_reload_name_the_file_and_the_line(
    held: Held, caplog: pytest.LogCaptureFixture, tmp_path: Path
):
    held.write("if True:")
    loaded: list[Dispatcher] = []
    told = assert_told(lambda: loaded.append(Dispatcher(str(tmp_path))), held, caplog)
    assert re.search(
        rf"Loading {held.path} takes longer than 0.05 s and is at line [34]; .* mend it", told
    )
    [dispatcher] = loaded
    assert dispatcher.handlers[0].error is None
    assert assert_told(lambda: dispatcher.reload(str(held.path)), held, caplog) in {
        told,
        told.replace("line 3", "line 4"),
        told.replace("line 4", "line 3"),
    }


def test_startup_function_is_named(held: Held, caplog: pytest.LogCaptureFixture, tmp_path: Path):
    held.write("def web_socket_startup(app):")
    dispatcher = Dispatcher(str(tmp_path))
    lifespan = Lifespan(lambda function, app: function(app))
    suites = dispatcher._handler_suite_map.values()
    told = assert_told(lambda: lifespan.start(suites), held, caplog)
    assert told.startswith(f"web_socket_startup of {held.path} takes longer than 0.05 s and is at")


def test_files_that_load_quickly_are_not_named(
    held: Held, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(slow_loads, "SLOW_SECONDS", 3600)
    held.write("if False:")
    assert Dispatcher(str(tmp_path)).handlers[0].error is None
    assert not caplog.records


def test_file_is_loaded_without_a_thread_to_watch_it(
    held: Held, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    held.write("if False:")
    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert Dispatcher(str(tmp_path)).handlers[0].error is None
