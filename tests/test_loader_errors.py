"""A handler file that fails is a warning that says where and why; the others are loaded."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from fastwsh.loading import loader
from fastwsh.py2 import syntax
from fastwsh.pywebsocket import dispatch

GOOD = (
    "def web_socket_do_extra_handshake(request): pass\n"
    "def web_socket_transfer_data(request): pass\n"
)


@pytest.fixture
def warning(tmp_path):
    """Return a function that loads a source beside a good one, and returns its warning."""

    def load(source):
        bad = tmp_path / "bad_wsh.py"
        bad.write_text(source)
        (tmp_path / "good_wsh.py").write_text(GOOD)
        dispatcher = dispatch.Dispatcher(str(tmp_path))
        assert list(dispatcher._handler_suite_map) == ["/good"]
        [line] = dispatcher.source_warnings()
        return line.removeprefix(f"{bad}: ")

    return load


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("x = (\n", "SyntaxError: '(' was never closed (bad_wsh.py:1)"),
        (
            "if x:\ny\n",
            "IndentationError: expected an indented block after 'if' statement on line 1",
        ),
        ("\n\nreturn\n", "SyntaxError: 'return' outside function (bad_wsh.py:3)"),
        ("\nimport no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("\n\n1/0\n", "ZeroDivisionError: division by zero (bad_wsh.py:3)"),
        ("def f():\n  raise KeyError\nf()\n", "KeyError (bad_wsh.py:2)"),
        ("raise ValueError('two\\nlines')", "ValueError: two lines (bad_wsh.py:1)"),
        ("import sys\nsys.exit(3)\n", "SystemExit: 3 (bad_wsh.py:2)"),
        ("class E(BaseException): pass\nraise E\n", "E (bad_wsh.py:2)"),
        ("", "web_socket_do_extra_handshake is not defined."),
        ("web_socket_do_extra_handshake = 5\n", "web_socket_do_extra_handshake is not callable."),
        (
            "def web_socket_do_extra_handshake(request): pass\n",
            "web_socket_transfer_data is not defined.",
        ),
        (
            "def web_socket_do_extra_handshake(request): pass\nweb_socket_transfer_data = None\n",
            "web_socket_transfer_data is not callable.",
        ),
    ],
)
def test_failure_is_one_line_with_its_reason(warning, source, reason):
    assert warning(source).startswith(reason)
    assert "\n" not in warning(source)


def test_failure_in_an_imported_module_names_both_places(warning, tmp_path, monkeypatch):
    helper = tmp_path / "helper_of_bad.py"
    helper.write_text("\n\nraise ValueError('why')\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert warning("\nimport helper_of_bad\n") == (
        f"ValueError: why (bad_wsh.py:2, raised at {helper}:3)"
    )


def test_source_with_a_nul_is_a_warning(warning):
    assert "null bytes" in warning("x = '\0'\n")


def test_interrupt_is_not_swallowed(tmp_path):
    (tmp_path / "a_wsh.py").write_text("raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        dispatch.Dispatcher(str(tmp_path))


def test_interrupt_in_another_thread_is_one_of_the_handler(tmp_path):
    (tmp_path / "a_wsh.py").write_text("raise KeyboardInterrupt\n")
    (tmp_path / "b_wsh.py").write_text(GOOD)
    with ThreadPoolExecutor(1) as executor:
        files = executor.submit(loader.load_handlers, str(tmp_path)).result()
    assert [str(file.error) for file in files] == ["KeyboardInterrupt (a_wsh.py:1)", "None"]


def test_what_is_no_regular_file_is_a_warning(tmp_path):
    os.mkfifo(tmp_path / "a_wsh.py")
    (tmp_path / "b_wsh.py").symlink_to("/dev/zero")
    (tmp_path / "c_wsh.py").write_text(GOOD)
    files = loader.load_handlers(str(tmp_path))
    reason = "cannot be read: it is no regular file"
    assert [str(file.error) for file in files] == [reason, reason, "None"]


def test_broken_link_is_a_warning(tmp_path):
    (tmp_path / "a_wsh.py").symlink_to(tmp_path / "nowhere")
    [file] = loader.load_handlers(str(tmp_path))
    assert file.warning == f"{tmp_path / 'a_wsh.py'}: cannot be read: No such file or directory"


def test_folder_with_the_name_of_a_handler_is_scanned(tmp_path):
    (tmp_path / "a_wsh.py").mkdir()
    (tmp_path / "a_wsh.py" / "b_wsh.py").write_text(GOOD)
    [file] = loader.load_handlers(str(tmp_path))
    assert file.resource == "/a_wsh.py/b"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file_is_a_warning(tmp_path):
    path = tmp_path / "a_wsh.py"
    path.write_text(GOOD)
    path.chmod(0)
    [file] = loader.load_handlers(str(tmp_path))
    assert "cannot be read: Permission denied" in file.warning


def test_account_of_a_file_is_complete(tmp_path):
    (tmp_path / "bad_wsh.py").write_text("\n1/0\n")
    (tmp_path / "good_wsh.py").write_text(GOOD)
    bad, good = loader.load_handlers(str(tmp_path))
    assert (bad.path, bad.resource, bad.suite) == (str(tmp_path / "bad_wsh.py"), "/bad", None)
    assert bad.error.line == 2
    assert isinstance(bad.error.__cause__, ZeroDivisionError)
    assert (good.resource, good.error, good.warning) == ("/good", None, None)
    assert good.suite.path == str(tmp_path / "good_wsh.py")


def test_full_traceback_is_logged_for_who_asks(tmp_path, caplog):
    (tmp_path / "bad_wsh.py").write_text("1/0\n")
    with caplog.at_level("DEBUG", "pywebsocket3.dispatch.Dispatcher"):
        dispatch.Dispatcher(str(tmp_path))
    assert 'bad_wsh.py", line 1' in caplog.text


@pytest.mark.parametrize(
    "source",
    [
        'print "hello"\n',
        "print x, y\n",
        "if x: print x\n",
        "try:\n  pass\nexcept ValueError, e:\n  pass\n",
        "try:\n  pass\nexcept (A, B), e:\n  pass\n",
        'raise ValueError, "text"\n',
        "exec code in namespace\n",
        "x = `y`\n",
        "if x <> y: pass\n",
        "os.mkdir(p, 0755)\n",
        "x = 10L\n",
        "x = ur'abc'\n",
        "if x:\n\tif y:\n            pass\n        \tz\n",
    ],
)
def test_python_2_syntax_names_the_extra_that_translates_it(warning, monkeypatch, source):
    monkeypatch.setattr(syntax, "can_translate", lambda: False)
    line = warning(source)
    assert "it looks like Python 2: pip install fissix to have it translated" in line
    assert "(bad_wsh.py:" in line


@pytest.mark.parametrize("source", ["x = (\n", "def f(:\n  pass\n", "print(1 2)\n", "x = = 1\n"])
def test_other_broken_syntax_is_not_taken_for_python_2(warning, source):
    assert "Python 2" not in warning(source)


@pytest.mark.parametrize(("source", "line"), [("x = '\0'\n", 1), ("print 'old'\n\n# \0", 3)])
def test_null_byte_has_a_place(warning, source: str, line: int):
    assert f"null bytes (bad_wsh.py:{line})" in warning(source)
