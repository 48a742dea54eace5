"""What `fastwsh.testing` offers is what it says it offers."""

import ast
import graphlib
import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest

from fastwsh import pytest_plugin, testing

MODULES = sorted(found.name for found in pkgutil.iter_modules(testing.__path__))


@pytest.mark.parametrize("name", MODULES)
def test_a_module_lists_its_public_names(name: str) -> None:
    module = importlib.import_module(f"fastwsh.testing.{name}")
    defined = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    assert defined <= set(module.__all__)
    assert all(hasattr(module, key) for key in module.__all__)


def test_modules_import_each_other_in_one_direction() -> None:
    """Also for the sake of types."""
    folder = Path(testing.__path__[0])
    imports = {
        name: {
            node.module.removeprefix("fastwsh.testing.")
            for node in ast.walk(ast.parse((folder / f"{name}.py").read_text()))
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fastwsh.testi")
        }
        for name in MODULES
    }
    assert "recording" in imports["recorded"]
    graphlib.TopologicalSorter(imports).prepare()


def test_the_package_and_the_plugin_list_their_public_names() -> None:
    for module in (testing, pytest_plugin):
        assert all(hasattr(module, key) for key in module.__all__)
        assert list(module.__all__) == sorted(module.__all__)


@pytest.mark.parametrize("of", [testing.WsServer, testing.Connection, testing.Script])
def test_public_methods_are_described(of: type) -> None:
    public = [value for key, value in inspect.getmembers(of) if not key.startswith("_")]
    assert all(inspect.getdoc(value) for value in public)


def test_both_kinds_of_connection_have_the_same_methods() -> None:
    awaitable = importlib.import_module("fastwsh.testing.awaitable")
    ours, theirs = (
        {key for key in dir(of) if not key.startswith("_")}
        for of in (testing.Connection, awaitable.AsyncConnection)
    )
    assert ours == theirs
