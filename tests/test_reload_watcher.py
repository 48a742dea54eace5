"""What a look at the handler files makes of their changes; no server, no clock."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from fastwsh.loading.map_file import alias_handlers
from fastwsh.loading.reload import Watcher
from fastwsh.pywebsocket.dispatch import Dispatcher, DispatchException

MODULE = """\
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    if request is not None:
        request.answered_by = {answer!r}
    return {answer!r}
"""


class Asking:
    """A request as far as a dispatcher looks at it."""

    server_terminated = True
    answered_by: str | None = None

    def __init__(self, resource: str) -> None:
        self.ws_resource = resource


class Folder:
    """A folder of handlers, a dispatcher that has loaded it, and who looks at it."""

    def __init__(self, root: Path, caplog: pytest.LogCaptureFixture) -> None:
        self.root = root
        self._caplog = caplog
        caplog.set_level(logging.INFO, "fastwsh.server")

    def load(self, *, allow_outside: bool = True, map_file: Path | None = None) -> None:
        self.dispatcher = Dispatcher(str(self.root), None, allow_outside)
        if map_file is not None:
            alias_handlers(self.dispatcher, str(map_file))
        self.watcher = Watcher(self.dispatcher)

    def path(self, name: str) -> Path:
        return self.root / f"{name}_wsh.py"

    def write(self, name: str, answer: str) -> None:
        self.path(name).write_text(MODULE.format(answer=answer), encoding="utf-8")

    def look(self, times: int = 2) -> None:
        for _ in range(times):
            self.watcher.look()

    def served(self) -> dict[str, str]:
        suites = self.dispatcher._handler_suite_map
        return {path: suite.transfer_data(None) for path, suite in suites.items()}

    def log(self) -> list[str]:
        """The lines since the last call."""
        lines = [r.getMessage() for r in self._caplog.records if r.name == "fastwsh.server"]
        self._caplog.clear()
        return lines


@pytest.fixture
def folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Folder:
    root = tmp_path / "handlers"
    root.mkdir()
    folder = Folder(root, caplog)
    folder.write("echo", "one")
    folder.write("other", "other")
    folder.load()
    return folder


def test_nothing_is_loaded_again_without_a_change(folder: Folder):
    before = dict(folder.dispatcher._handler_suite_map)
    folder.look(3)
    assert folder.dispatcher._handler_suite_map == before
    assert folder.log() == []


def test_a_changed_file_is_loaded_alone(folder: Folder):
    other = folder.dispatcher.get_handler_suite("/other")
    folder.write("echo", "another")
    folder.look()
    assert folder.served() == {"/echo": "another", "/other": "other"}
    assert folder.dispatcher.get_handler_suite("/other") is other
    assert folder.log() == ["Reloaded /echo"]


def test_a_change_counts_when_it_was_seen_twice(folder: Folder):
    folder.write("echo", "half of it")
    folder.look(1)
    folder.write("echo", "all of what is written")
    folder.look(1)
    assert folder.served()["/echo"] == "one"
    folder.look(1)
    assert folder.served()["/echo"] == "all of what is written"
    assert folder.log() == ["Reloaded /echo"]


def test_a_file_that_is_replaced_in_two_steps_is_never_missing(folder: Folder):
    folder.path("echo").rename(folder.root / "echo.bak")
    folder.look(1)
    folder.write("echo", "replaced")
    folder.look()
    assert folder.served()["/echo"] == "replaced"
    assert folder.log() == ["Reloaded /echo"]


def test_a_file_that_is_replaced_by_one_like_it_is_loaded(folder: Folder):
    status = folder.path("echo").stat()
    folder.write("next", "two")
    folder.path("next").replace(folder.path("echo"))
    os.utime(folder.path("echo"), ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder.path("echo").stat().st_size == status.st_size
    folder.look()
    assert folder.served()["/echo"] == "two"


def test_a_new_file_is_served(folder: Folder):
    (folder.root / "deep").mkdir()
    folder.write("deep/er", "new")
    folder.look()
    assert folder.served()["/deep/er"] == "new"
    assert folder.log() == ["New handler /deep/er"]


def test_a_deleted_file_is_served_no_more(folder: Folder):
    folder.path("echo").unlink()
    folder.look()
    assert folder.served() == {"/other": "other"}
    assert folder.log() == ["Handler of /echo is gone"]
    folder.write("echo", "back")
    folder.look()
    assert folder.served()["/echo"] == "back"
    assert folder.log() == ["New handler /echo"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x = (\n", "SyntaxError: '(' was never closed (echo_wsh.py:1)"),
        ("\n1 / 0\n", "ZeroDivisionError: division by zero (echo_wsh.py:2)"),
        ("x = 1\n", "web_socket_do_extra_handshake is not defined"),
        ("raise KeyError('\\x1b[31m')\n", "KeyError: '\\x1b[31m' (echo_wsh.py:1)"),
        ("import sys\nsys.exit()\n", "SystemExit (echo_wsh.py:2)"),
    ],
)
def test_a_broken_edit_is_one_warning_and_changes_nothing(folder: Folder, text: str, reason: str):
    folder.path("echo").write_text(text, encoding="utf-8")
    folder.look(4)
    assert folder.served()["/echo"] == "one"
    [warning] = folder.log()
    path = folder.path("echo")
    assert warning == f"Cannot load {path}: {reason}; the version from before goes on"
    assert len(folder.dispatcher.source_warnings()) == 1
    folder.write("echo", "repaired")
    folder.look()
    assert folder.served()["/echo"] == "repaired"
    assert folder.log() == ["Reloaded /echo"]
    assert folder.dispatcher.source_warnings() == []


def test_a_broken_file_that_goes_takes_the_version_from_before_along(folder: Folder):
    folder.path("echo").write_text("x = (\n", encoding="utf-8")
    folder.look()
    folder.path("echo").unlink()
    folder.look()
    assert folder.served() == {"/other": "other"}
    assert folder.log()[1:] == ["Handler of /echo is gone"]
    assert folder.dispatcher.source_warnings() == []


def test_a_new_file_that_is_broken_is_not_served(folder: Folder):
    folder.path("new").write_text("x = (\n", encoding="utf-8")
    folder.look()
    [warning] = folder.log()
    assert warning.endswith("(new_wsh.py:1); it is not served")
    assert "/new" not in folder.served()


def test_a_file_that_was_broken_at_the_start_can_be_repaired(folder: Folder):
    folder.path("echo").write_text("x = (\n", encoding="utf-8")
    folder.load()
    folder.log()
    folder.look()
    assert folder.log() == []
    folder.write("echo", "repaired")
    folder.look()
    assert folder.served()["/echo"] == "repaired"
    assert folder.log() == ["New handler /echo"]


def test_a_file_that_changed_while_others_were_loaded_is_loaded_again(folder: Folder):
    folder.write("a", "x")
    path = folder.path("a")
    # the second handler of the scan writes the first one
    text = f"with open({str(path)!r}, 'a') as file:\n    file.write('# changed')\n"
    folder.path("b").write_text(text + MODULE.format(answer="b"), encoding="utf-8")
    folder.load()
    folder.look()
    assert folder.log() == ["Reloaded /a"]


class TestAliases:
    @pytest.fixture
    def aliased(self, folder: Folder, tmp_path: Path) -> Folder:
        map_file = tmp_path / "map"
        map_file.write_text(
            "/alias /echo\n/of-alias /alias\n/other /echo\n/later /new\n", encoding="utf-8"
        )
        folder.load(map_file=map_file)
        folder.log()
        return folder

    def test_follow_the_handler_that_they_name(self, aliased: Folder):
        aliased.write("echo", "another")
        aliased.look()
        assert aliased.served() == dict.fromkeys(
            ("/echo", "/alias", "/of-alias", "/other"), "another"
        )

    def test_go_and_come_with_it(self, aliased: Folder):
        aliased.path("echo").unlink()
        aliased.look()
        assert aliased.served() == {}
        aliased.write("echo", "back")
        aliased.look()
        assert aliased.served() == dict.fromkeys(("/echo", "/alias", "/of-alias", "/other"), "back")

    def test_of_a_handler_that_comes_later_are_served_then(self, aliased: Folder):
        aliased.write("new", "new")
        aliased.look()
        assert aliased.served()["/later"] == "new"

    def test_go_before_a_file_of_their_name(self, aliased: Folder):
        aliased.write("other", "changed")
        aliased.look()
        assert aliased.served()["/other"] == "one"


def test_what_a_program_added_goes_on(folder: Folder):
    added = folder.dispatcher.get_handler_suite("/other")
    folder.dispatcher.add_handler("/echo", added)
    folder.write("echo", "changed")
    folder.look()
    assert folder.dispatcher.get_handler_suite("/echo") is added


def test_links_that_lead_out_are_not_loaded(folder: Folder, tmp_path: Path):
    outside = tmp_path / "outside_wsh.py"
    outside.write_text(MODULE.format(answer="outside"), encoding="utf-8")
    folder.path("new").symlink_to(outside)
    folder.load(allow_outside=False)
    folder.look()
    assert folder.log() == []
    folder.path("echo").unlink()
    folder.path("echo").symlink_to(outside)
    folder.look()
    assert folder.served() == {"/other": "other"}
    assert folder.log() == ["Handler of /echo is gone"]


def test_a_watcher_that_was_stopped_loads_nothing(folder: Folder):
    folder.write("echo", "changed")
    folder.watcher.stop()
    folder.look()
    assert folder.served()["/echo"] == "one"


def test_looks_where_it_began_whatever_the_current_folder_is(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.chdir(tmp_path)
    folder.root = Path("handlers")
    folder.load()
    monkeypatch.chdir("/")
    folder.root = tmp_path / "handlers"
    folder.look()
    assert folder.log() == []
    folder.write("echo", "changed")
    folder.look()
    assert folder.served()["/echo"] == "changed"


class TestConnectionUnderWay:
    """It was accepted for one version, and finds another one."""

    def test_to_an_event_loop_is_refused_for_a_plain_function(self, folder: Folder):
        with pytest.raises(DispatchException, match="was replaced") as caught:
            asyncio.run(folder.dispatcher.do_extra_handshake_async(Asking("/echo")))
        assert caught.value.status == 503

    def test_to_a_thread_is_refused_for_a_coroutine_function(self, folder: Folder):
        text = folder.path("echo").read_text("utf-8")
        folder.path("echo").write_text(text.replace("def web_socket_t", "async def web_socket_t"))
        folder.look()
        # as a server does that can have an event loop
        folder.dispatcher._has_event_loop = True
        with pytest.raises(DispatchException, match="was replaced") as caught:
            folder.dispatcher.do_extra_handshake(Asking("/echo"))
        assert caught.value.status == 503

    def test_keeps_the_handler_that_it_began_with(self, folder: Folder):
        request = Asking("/echo")
        folder.dispatcher.do_extra_handshake(request)
        folder.path("echo").unlink()
        folder.look()
        folder.dispatcher.transfer_data(request)
        assert request.answered_by == "one"

    def test_gets_another_handler_if_its_extra_handshake_says_so(self, folder: Folder):
        request = Asking("/echo")
        folder.dispatcher.do_extra_handshake(request)
        request.ws_resource = "/other"
        folder.dispatcher.transfer_data(request)
        assert request.answered_by == "other"
