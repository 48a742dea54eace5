"""A handler file is a module like others: its name, its file, its life, what it leaves."""

import dataclasses
import gc
import importlib
import logging
import pickle
import re
import sys
from pathlib import Path

import pytest

from fastwsh.loading import handler_modules, loader
from fastwsh.pywebsocket import dispatch
from handler_modules_support import FUNCTIONS, TOP, load, nothing_stays

__all__ = ["load", "nothing_stays"]


def test_has_the_names_of_a_module(load, tmp_path):
    a = load(a_wsh=FUNCTIONS)["/a"]
    assert a["__name__"] == f"{TOP}.a_wsh"
    assert a["__file__"] == str(tmp_path / "a_wsh.py")
    assert a["__package__"] == TOP
    spec = a["__spec__"]
    assert (spec.name, spec.origin, spec.parent) == (a["__name__"], a["__file__"], TOP)
    assert spec.loader.get_source(a["__name__"]) == FUNCTIONS
    assert vars(sys.modules[a["__name__"]]) is a
    assert importlib.import_module(a["__name__"]) is sys.modules[a["__name__"]]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("room/chat_wsh.py", "room.chat_wsh"),
        ("my-room/a b_wsh.py", "my-room.a b_wsh"),
        ("v1.2/a.b_wsh.py", "v1%2E2.a%2Eb_wsh"),
        ("100%/a%2E_wsh.py", "100%25.a%252E_wsh"),
        ("json/json_wsh.py", "json.json_wsh"),
        ("café_wsh.py", "café_wsh"),
        ("class_wsh.py", "class_wsh"),
    ],
)
def test_name_follows_the_path(tmp_path, path, name):
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    (file.parent / "beside.py").write_text("value = 5")
    file.write_text(f"from .beside import value{FUNCTIONS}")
    dispatcher = dispatch.Dispatcher(str(tmp_path))
    assert dispatcher.source_warnings() == []
    [suite] = dispatcher._handler_suite_map.values()
    assert suite.namespace["__name__"] == f"{TOP}.{name}"
    assert suite.namespace["value"] == 5
    del suite, dispatcher


def test_two_files_whose_names_are_escaped_alike_are_served(load, tmp_path):
    names = ["a.b_wsh.py", "a_b_wsh.py"]
    for name in names:
        (tmp_path / name).write_text(FUNCTIONS)
    loaded = load()
    assert {Path(one["__file__"]).name for one in loaded.values()} == set(names)
    assert len({one["__name__"] for one in loaded.values()}) == 2


def test_folders_at_the_same_time_have_packages_of_their_own(tmp_path):
    dispatchers = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "state.py").write_text(f"value = {name!r}")
        (folder / "a_wsh.py").write_text(
            f"from . import state\nfrom .state import value{FUNCTIONS}"
        )
        dispatchers.append(dispatch.Dispatcher(str(folder)))
    first, second = [one._handler_suite_map["/a"].namespace for one in dispatchers]
    assert (first["value"], second["value"]) == ("one", "two")
    assert first["__name__"] == f"{TOP}.a_wsh"
    assert re.fullmatch(rf"{TOP}\.root_[0-9a-f]{{8}}\.a_wsh", second["__name__"])
    name = second["__name__"]
    del dispatchers, first, second
    gc.collect()
    again = dispatch.Dispatcher(str(folder))
    # the first place is free, and what was imported there is forgotten
    assert again._handler_suite_map["/a"].namespace["__name__"] == f"{TOP}.a_wsh"
    assert again._handler_suite_map["/a"].namespace["value"] == "two"
    assert name not in sys.modules


def test_dispatchers_of_one_folder_share_nothing(tmp_path):
    (tmp_path / "state.py").write_text("names = []")
    (tmp_path / "a_wsh.py").write_text(f"from .state import names{FUNCTIONS}")
    dispatchers = [dispatch.Dispatcher(str(tmp_path), None, False) for _ in range(3)]
    loaded = [one._handler_suite_map["/a"].namespace for one in dispatchers]
    assert len({id(one["names"]) for one in loaded}) == 3
    assert all(sys.modules[one["__name__"]].names is one["names"] for one in loaded)
    del dispatchers, loaded


ANNOTATED = f"""
from __future__ import annotations
import typing
from dataclasses import dataclass, field
from enum import Enum
from typing import ClassVar, NamedTuple, TypedDict

class Colour(Enum):
    RED = 1

@dataclass
class Message:
    count: ClassVar[int] = 0
    text: str = ""
    tags: list[Tag] = field(default_factory=list)

class Tag(NamedTuple):
    name: str

class Shape(TypedDict):
    of: Tag

hints = typing.get_type_hints(Message)
{FUNCTIONS}
"""


def test_postponed_annotations_mean_what_they_say(load):
    a = load(a_wsh=ANNOTATED)["/a"]
    assert [field.name for field in dataclasses.fields(a["Message"])] == ["text", "tags"]
    tag = a["Tag"]
    assert a["hints"]["tags"] == list[tag]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_its_classes_and_functions(load, protocol):
    a = load(room__a_wsh=ANNOTATED)["/room/a"]
    values = [a["Message"]("x", [a["Tag"]("y")]), a["Colour"].RED, a["web_socket_transfer_data"]]
    assert pickle.loads(pickle.dumps(values, protocol)) == values


def test_logger_has_its_name_and_can_be_configured(load, caplog):
    a = load(a_wsh=f"import logging\nlog = logging.getLogger(__name__){FUNCTIONS}")["/a"]
    assert a["log"].name == f"{TOP}.a_wsh"
    with caplog.at_level(logging.DEBUG, TOP):
        a["log"].debug("hello")
    assert caplog.record_tuples == [(f"{TOP}.a_wsh", logging.DEBUG, "hello")]


def test_reload_replaces_it(tmp_path):
    path = tmp_path / "a_wsh.py"
    path.write_text(f"value = 1{FUNCTIONS}")
    dispatcher = dispatch.Dispatcher(str(tmp_path))
    name = f"{TOP}.a_wsh"
    before = sys.modules[name]
    path.write_text(f"value = 2{FUNCTIONS}")
    dispatcher.reload(str(path))
    assert (sys.modules[name].value, before.value) == (2, 1)
    path.write_text("value = 3\n1/0\n")
    assert dispatcher.reload(str(path)).error is not None
    assert sys.modules[name].value == 2
    path.write_text("value = 4\n")  # its functions are missing
    assert dispatcher.reload(str(path)).error is not None
    assert sys.modules[name].value == 2
    assert dispatcher._handler_suite_map["/a"].namespace is vars(sys.modules[name])
    dispatcher.unload(str(path))
    gc.collect()
    handler_modules._sweep()
    assert name not in sys.modules
    del dispatcher, before


@pytest.mark.parametrize(
    "source", ["x = (", "1/0", "import no_such_module", "x = 1", "import sys\nsys.exit()"]
)
def test_failed_load_leaves_nothing(tmp_path, source):
    (tmp_path / "a_wsh.py").write_text(source)
    dispatcher = dispatch.Dispatcher(str(tmp_path))
    assert len(dispatcher.source_warnings()) == 1
    assert f"{TOP}.a_wsh" not in sys.modules


def test_source_without_a_file_is_no_module():
    before = set(sys.modules)
    suite = dispatch._source_handler_file(f"name = __name__{FUNCTIONS}")
    assert suite.namespace["name"] == "builtins"
    assert "__file__" not in suite.namespace
    assert {name for name in set(sys.modules) - before if TOP in name} == set()


def test_source_with_a_path_is_a_module(tmp_path):
    suite = loader.load_source(f"name = __name__{FUNCTIONS}", str(tmp_path / "a_wsh.py"))
    assert suite.namespace["name"] == f"{TOP}.a_wsh"


def test_python2_handlers_are_modules_with_the_old_names(load):
    a = load(
        a_wsh=f"import logging\nname = unicode(__name__)\nmodule = __file__{FUNCTIONS}",
        b_wsh=f"from .a_wsh import name{FUNCTIONS}",
    )
    assert a["/b"]["name"] == f"{TOP}.a_wsh"
