"""What Python warns of in a handler is told once, with the handler's file and line."""

import ast
import os
import warnings

import pytest

from fastwsh.concurrency import check
from fastwsh.loading import loader

FUNCTIONS = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request): pass
"""

SOURCES = {
    "of today": 'pattern = "\\d+"\n',
    "that needs a name of Python 2": 'pattern = unicode("\\d+")\n',
    "that needs a module of Python 2": 'import urlparse\npattern = "\\d+"\n',
    "of Python 2": 'pattern = "\\d+"\nprint "\\s"\n',
    "of Python 2, with an error at its begin": 'print "x"\npattern = "\\d+"\n',
    "of Python 2 that compiles": 'import sys\nprint >>sys.stderr, "x"\npattern = "\\d+"\n',
    "with tabs of Python 2": 'if 1:\n        x = "\\d+"\n\ty = 1\n',
}


@pytest.mark.parametrize("kind", SOURCES)
def test_an_invalid_escape_is_told_once(kind: str) -> None:
    if "Python 2" in kind:
        pytest.importorskip("fissix")
    source = SOURCES[kind]
    path = f"/handlers/{kind.replace(' ', '_')}_wsh.py"
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loader.load_source(source + FUNCTIONS, path)
    lines = [number for number, line in enumerate(source.splitlines(), 1) if "\\" in line]
    assert [(item.filename, item.lineno) for item in caught] == [(path, line) for line in lines]


def test_it_is_an_error_where_warnings_are_errors() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(loader.LoadError, match=r"SyntaxError: .*invalid escape .*:1\)"):
            loader.load_source('other = "\\d+"\n' + FUNCTIONS, "/handlers/strict_wsh.py")


@pytest.mark.parametrize(("kind", "count"), [("of today", 0), ("that needs a name of Python 2", 1)])
def test_a_source_is_parsed_once_at_most(
    kind: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = []
    parse = ast.parse
    monkeypatch.setattr(ast, "parse", lambda *args: parsed.append(args) or parse(*args))
    source = SOURCES[kind].replace("\\", "")
    loader.load_source(f"# parsed once\n{source}{FUNCTIONS}")
    assert len(parsed) == count


def test_a_source_is_checked_when_its_place_is_asked_for() -> None:
    suite = loader.load_source(f"import threading\n# checked late\n{FUNCTIONS}")
    assert not suite.check.is_done
    assert suite.check.why_threads() == "it imports threading (line 1)"
    assert suite.check.is_done
    assert suite.check.why_threads() == "it imports threading (line 1)"


def test_a_source_that_cannot_be_checked_now_is_checked_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    suite = loader.load_source(f"# checked the second time\n{FUNCTIONS}")
    with monkeypatch.context() as patch:
        patch.setattr(check, "why_threads", lambda _: os.fdopen(-1))
        reason = suite.check.why_threads()
    assert reason is not None
    assert reason.startswith("its source cannot be checked now (")
    assert suite.check.why_threads() is None
