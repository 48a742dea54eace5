"""Handler files are found, decoded and executed by pywebsocket's rules."""

import locale
import subprocess
import sys

import pytest

from fastwsh.loading import loader
from fastwsh.pywebsocket import dispatch

HANDLER = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    return {result}
"""


def write(path, result="None", prefix=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(prefix + HANDLER.format(result=result), encoding="utf-8")
    return path


def resources(*args, **kwargs):
    """Return what each resource's handler returns."""
    files = loader.load_handlers(*map(str, args), **kwargs)
    assert [file.warning for file in files if file.error] == []
    return {file.resource: file.suite.transfer_data(None) for file in files if file.resource}


def test_path_of_a_file_is_its_resource(tmp_path):
    write(tmp_path / "echo_wsh.py", "1")
    write(tmp_path / "sub" / "deep" / "echo_wsh.py", "2")
    write(tmp_path / "sp ace_wsh.py", "3")
    write(tmp_path / "\xe9_wsh.py", "4")
    write(tmp_path / "_wsh.py", "5")
    write(tmp_path / "echo.py", "6")
    write(tmp_path / "echo_wsh.pyc", "7")
    assert resources(tmp_path) == {
        "/echo": 1,
        "/sub/deep/echo": 2,
        "/sp ace": 3,
        "/\xe9": 4,
        "/": 5,
    }


def test_what_editors_and_file_systems_leave_is_passed_over(tmp_path):
    write(tmp_path / "echo_wsh.py", "1")
    (tmp_path / ".#echo_wsh.py").symlink_to("user@host.123:456")
    (tmp_path / "._echo_wsh.py").write_bytes(b"\x00\x05\x16\x07")
    write(tmp_path / ".hidden_wsh.py", "2")
    assert resources(tmp_path) == {"/echo": 1, "/.hidden": 2}


def test_only_the_exact_suffix_makes_a_resource(tmp_path):
    write(tmp_path / "UPPER_WSH.PY", prefix="import sys; sys.upper_was_loaded = True\n")
    assert resources(tmp_path) == {}
    # It is executed all the same.
    assert sys.upper_was_loaded
    del sys.upper_was_loaded


def test_scan_is_limited_to_a_folder_but_resources_are_not(tmp_path):
    write(tmp_path / "echo_wsh.py")
    write(tmp_path / "sub" / "echo_wsh.py", "2")
    assert resources(tmp_path, tmp_path / "sub") == {"/sub/echo": 2}
    assert resources(tmp_path / "sub") == {"/echo": 2}


def test_linked_file_serves_the_resource_of_the_link(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    inner = write(root / "inner_wsh.py", "1")
    outer = write(outside / "outer_wsh.py", "2")
    (root / "link_wsh.py").symlink_to(inner)
    (root / "out_wsh.py").symlink_to(outer)
    assert resources(root) == {"/inner": 1, "/link": 1, "/out": 2}
    assert resources(root, allow_outside_root=False) == {"/inner": 1, "/link": 1}


def test_link_that_is_passed_over_is_told_to_who_asks(tmp_path, caplog):
    (tmp_path / "a_wsh.py").symlink_to("/nowhere")
    with caplog.at_level("DEBUG", "pywebsocket3.dispatch.Dispatcher"):
        assert loader.load_handlers(str(tmp_path), allow_outside_root=False) == []
    [message] = caplog.messages
    assert message.startswith(f"{tmp_path / 'a_wsh.py'} is passed over")


def test_linked_folder_is_not_scanned(tmp_path):
    write(tmp_path / "outside" / "echo_wsh.py")
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "link").symlink_to(tmp_path / "outside")
    assert resources(tmp_path / "root") == {}


def test_root_may_itself_be_a_link(tmp_path):
    write(tmp_path / "real" / "echo_wsh.py", "1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert resources(tmp_path / "link", allow_outside_root=False) == {"/echo": 1}


def test_relative_root_is_seen_from_the_current_folder(tmp_path, monkeypatch):
    write(tmp_path / "sub" / "echo_wsh.py", "1")
    monkeypatch.chdir(tmp_path)
    [file] = loader.load_handlers("sub")
    assert (file.path, file.resource) == (str(tmp_path / "sub" / "echo_wsh.py"), "/echo")


def test_files_come_in_the_order_of_their_paths(tmp_path):
    for name in ("b_wsh.py", "a_wsh.py", "d/a_wsh.py", "c/b_wsh.py"):
        write(tmp_path / name)
    assert list(resources(tmp_path)) == ["/a", "/b", "/c/b", "/d/a"]


def test_folder_whose_name_goes_on_is_another_folder(tmp_path):
    write(tmp_path / "h1-private" / "secret_wsh.py")
    (tmp_path / "h1").mkdir()
    (tmp_path / "h1" / "link_wsh.py").symlink_to(tmp_path / "h1-private" / "secret_wsh.py")
    (tmp_path / "h1" / "own_wsh.py").symlink_to(write(tmp_path / "h1" / "own.py"))
    found = resources(tmp_path / "h1", allow_outside_root=False)
    assert list(found) == ["/own"]
    with pytest.raises(dispatch.DispatchException, match="h1-private"):
        dispatch.Dispatcher(str(tmp_path / "h1"), str(tmp_path / "h1-private"))
    assert loader.make_resource_converter("/h1")("/h1-private/a_wsh.py") is None


def test_converter_accepts_backslashes_and_refuses_other_paths():
    convert = loader.make_resource_converter("/a/../a/b///")
    assert convert("/a/b/h_wsh.py") == "/h"
    assert convert("/a/b\\c\\h_wsh.py") == "/c/h"
    assert convert("/a/b/h.py") is None
    assert convert("/a/b/h_WSH.py") is None
    assert convert("a/b/h_wsh.py") is None


def test_each_file_has_a_namespace_of_its_own(tmp_path):
    write(tmp_path / "a_wsh.py", "state", prefix="state = []\n")
    write(tmp_path / "b_wsh.py", "'state' in globals()")
    files = {file.resource: file.suite for file in loader.load_handlers(str(tmp_path))}
    files["/a"].transfer_data(None).append(1)
    assert files["/a"].transfer_data(None) == [1]
    assert files["/a"].namespace["state"] == [1]
    assert files["/b"].transfer_data(None) is False


def test_file_is_executed_once_for_each_dispatcher(tmp_path):
    write(tmp_path / "a_wsh.py", "state", prefix="state = []\n")
    first, second = (dispatch.Dispatcher(str(tmp_path)) for _ in range(2))
    state = first.get_handler_suite("/a").transfer_data(None)
    assert first.get_handler_suite("/a").transfer_data(None) is state
    assert second.get_handler_suite("/a").transfer_data(None) is not state


def test_traceback_names_the_real_file_and_line(tmp_path):
    path = write(tmp_path / "a_wsh.py", "1 / 0")
    [file] = loader.load_handlers(str(tmp_path))
    with pytest.raises(ZeroDivisionError) as caught:
        file.suite.transfer_data(None)
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == (str(path), 6)


def test_urllib_parse_is_there_after_import_urllib():
    code = (
        "from fastwsh.loading import loader; "
        "loader.load_source('import urllib\\nurllib.parse.quote\\n'"
        "'def web_socket_do_extra_handshake(r): pass\\n'"
        "'def web_socket_transfer_data(r): pass')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_handler_imports_pywebsocket_under_both_names(tmp_path):
    prefix = "import pywebsocket3.stream\nfrom mod_pywebsocket import stream\n"
    write(tmp_path / "a_wsh.py", "stream is pywebsocket3.stream", prefix=prefix)
    assert resources(tmp_path) == {"/a": True}


def test_handler_may_import_while_it_runs(tmp_path):
    write(tmp_path / "a_wsh.py", "__import__('mod_pywebsocket.msgutil').__name__")
    assert resources(tmp_path) == {"/a": "fastwsh.pywebsocket"}


def test_passive_handler_is_optional(tmp_path):
    define = "def web_socket_passive_closing_handshake(request):\n    return 3000, 'bye'\n"
    write(tmp_path / "none_wsh.py")
    write(tmp_path / "own_wsh.py", prefix=define)
    write(tmp_path / "bad_wsh.py", prefix="web_socket_passive_closing_handshake = 'no'\n")
    answers = {
        file.resource: file.suite.passive_closing_handshake(None)
        for file in loader.load_handlers(str(tmp_path))
    }
    assert answers == {"/none": (1000, ""), "/own": (3000, "bye"), "/bad": (1000, "")}


@pytest.fixture
def latin1(tmp_path):
    (tmp_path / "a_wsh.py").write_bytes(HANDLER.format(result="'\xe9'").encode("latin-1"))
    return tmp_path


def test_encoding_option_is_obeyed(latin1):
    assert resources(latin1, encoding="latin-1") == {"/a": "\xe9"}


def test_encoding_option_is_final(latin1):
    [file] = loader.load_handlers(str(latin1), encoding="utf-8")
    assert "cannot be decoded" in file.warning
    assert "--handler-encoding" in file.warning


def test_unknown_encoding_is_a_lookup_error(latin1):
    with pytest.raises(LookupError, match="no-such"):
        loader.load_handlers(str(latin1), encoding="no-such")


@pytest.mark.skipif(
    locale.getpreferredencoding(False).lower() not in ("utf-8", "utf8"), reason="needs UTF-8"
)
def test_file_that_the_locale_cannot_decode_says_its_encoding(latin1):
    path = latin1 / "a_wsh.py"
    path.write_bytes(b"# -*- coding: latin-1 -*-\n" + path.read_bytes())
    assert resources(latin1) == {"/a": "\xe9"}


def test_utf8_is_read_where_the_locale_is_ascii(tmp_path):
    write(tmp_path / "a_wsh.py", "'\u2019'")
    code = (
        "import sys; from fastwsh.loading import loader; [f] = loader.load_handlers(sys.argv[1]); "
        "print(ascii(f.suite.transfer_data(None)))"
    )
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    output = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), **environment},
    )
    assert output.stdout.strip() == r"'\u2019'"


@pytest.mark.parametrize("content", [b"\xef\xbb\xbf%s", b"%s"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"])
def test_byte_order_mark_and_line_ends_do_not_matter(tmp_path, content, line_end):
    source = HANDLER.format(result="'''a\nb'''").encode().replace(b"\n", line_end)
    (tmp_path / "a_wsh.py").write_bytes(content % source)
    assert resources(tmp_path) == {"/a": "a\nb"}
