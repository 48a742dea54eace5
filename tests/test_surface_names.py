"""`pywebsocket3` and `mod_pywebsocket` are this package, and only after `install()`."""

import importlib
import subprocess
import sys
import threading
import types

import pytest

from fastwsh import pywebsocket
from fastwsh.pywebsocket import _gone

SUBMODULES = [
    "_stream_base",
    "_stream_exceptions",
    "_stream_hybi",
    "common",
    "dispatch",
    "extensions",
    "handshake",
    "handshake._base",
    "handshake.base",
    "handshake.hybi",
    "http_header_util",
    "memorizingfile",
    "msgutil",
    "request_handler",
    "server_util",
    "standalone",
    "stream",
    "util",
    "websocket_server",
]
ALIASES = ["pywebsocket3", "mod_pywebsocket"]


@pytest.fixture(autouse=True)
def uninstalled():
    """Whatever other tests installed, each test here begins and ends without it."""
    pywebsocket.uninstall()
    yield
    pywebsocket.uninstall()


@pytest.fixture
def installed(uninstalled):
    pywebsocket.install()


def run(code, *options):
    """Run code in a new interpreter and return what it printed."""
    command = [sys.executable, *options, *(["-c", code] if code else [])]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("name", SUBMODULES)
def test_submodule_is_the_same_object_under_both_names(installed, alias, name):
    real = importlib.import_module(f"fastwsh.pywebsocket.{name}")
    assert importlib.import_module(f"{alias}.{name}") is real


@pytest.mark.parametrize("alias", ALIASES)
@pytest.mark.parametrize("name", _gone.MODULES)
@pytest.mark.parametrize("statement", ["import {0}.{1}", "from {0} import {1}"])
def test_module_that_is_gone_says_what_to_do_instead(installed, alias, name, statement):
    package, _, module = f"{alias}.{name}".rpartition(".")
    with pytest.raises(ImportError, match=f"{module} does not exist any more: .{{20}}"):
        exec(statement.format(package, module), {})


def test_module_that_never_was_is_missing_as_usual(installed):
    for name in ("mod_pywebsocket.nonsense", "pywebsocket3.handshake.nonsense"):
        with pytest.raises(ModuleNotFoundError, match="No module named"):
            importlib.import_module(name)
    with pytest.raises(ImportError, match="cannot import name"):
        exec("from mod_pywebsocket.handshake import nonsense", {})


def test_names_of_0_7_lead_to_what_does_the_job_today(installed):
    from mod_pywebsocket import _stream_hybi, extensions, server_util, standalone, stream
    from mod_pywebsocket._stream_base import StreamBase
    from mod_pywebsocket.handshake import _base, base

    assert _stream_hybi.Stream is stream.Stream is StreamBase
    assert _base.HandshakeException is base.HandshakeException
    assert standalone.WebSocketRequestHandler.__name__ == "WebSocketRequestHandler"
    assert standalone.ThreadMonitor is server_util.ThreadMonitor
    for name in extensions.__all__:
        if name.endswith(("Processor", "ProcessorBase")) and "PerMessageDeflate" not in name:
            with pytest.raises(NotImplementedError, match=f"{name} is gone.*permessage-deflate"):
                getattr(extensions, name)(None)


@pytest.mark.parametrize(
    ("host", "is_secure", "location"),
    [
        ("localhost:8880", False, "ws://localhost:8880/a?b"),
        ("localhost", False, "ws://localhost/a?b"),
        ("localhost:80", False, "ws://localhost/a?b"),
        ("localhost:80", True, "wss://localhost:80/a?b"),
        ("localhost:443", True, "wss://localhost/a?b"),
    ],
)
def test_location_is_the_uri_that_the_client_opened(installed, host, is_secure, location):
    from mod_pywebsocket.handshake._base import build_location

    request = types.SimpleNamespace(
        headers_in={"Host": host}, is_https=lambda: is_secure, unparsed_uri="/a?b"
    )
    assert build_location(request) == location


@pytest.mark.parametrize("alias", ALIASES)
def test_package_is_the_same_object_under_both_names(installed, alias):
    assert importlib.import_module(alias) is pywebsocket


def test_modules_keep_their_own_name_and_spec(installed):
    before = pywebsocket.common.__spec__
    module = importlib.import_module("mod_pywebsocket.common")
    assert module.__name__ == "fastwsh.pywebsocket.common"
    assert module.__spec__ is before
    assert importlib.import_module("pywebsocket3").__spec__.name == "fastwsh.pywebsocket"


def test_exceptions_are_caught_across_the_names(installed):
    from mod_pywebsocket import handshake as old
    from pywebsocket3 import handshake as new

    with pytest.raises(old.AbortedByUserException):
        raise new.AbortedByUserException


def test_dotted_import_binds_the_package(installed):
    namespace = {}
    exec("import mod_pywebsocket.msgutil", namespace)
    assert namespace["mod_pywebsocket"].msgutil is pywebsocket.msgutil


def test_submodules_are_attributes_without_an_import():
    assert run("import fastwsh.pywebsocket as p; print(p.stream.Stream.__name__)") == "Stream"


def test_star_import_binds_the_submodules_only(installed):
    namespace = {}
    exec("from mod_pywebsocket import *", namespace)
    del namespace["__builtins__"]
    assert sorted(namespace) == sorted(pywebsocket.__all__)
    assert namespace["msgutil"] is pywebsocket.msgutil


def test_unknown_submodule_is_not_found(installed):
    with pytest.raises(ModuleNotFoundError, match=r"pywebsocket3\.fast_masking"):
        importlib.import_module("pywebsocket3.fast_masking")
    with pytest.raises(ImportError, match="no_such_name"):
        exec("from pywebsocket3 import no_such_name", {})


def test_importing_fastwsh_does_not_install():
    code = "import sys, fastwsh, fastwsh.pywebsocket.dispatch; print('pywebsocket3' in sys.modules)"
    assert run(code) == "False"
    finders = "print([f for f in sys.meta_path if 'fastwsh' in type(f).__module__])"
    assert run(f"import sys, fastwsh.pywebsocket.dispatch; {finders}") == "[]"


def test_common_does_not_load_the_server():
    code = (
        "import sys, fastwsh.pywebsocket as p; p.install(); import pywebsocket3.common; "
        "print({'fastwsh.server', 'fastwsh.pywebsocket.stream', 'http.server'} & set(sys.modules))"
    )
    assert run(code) == "set()"


def test_install_wins_over_a_package_on_the_path(tmp_path):
    package = tmp_path / "pywebsocket3"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "common.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fastwsh.pywebsocket as p; "
        "p.install(); import pywebsocket3.common; print(pywebsocket3.common is p.common)"
    )
    assert run(code) == "True"


def test_install_replaces_modules_of_another_distribution(monkeypatch):
    foreign = types.ModuleType("pywebsocket3")
    foreign_common = types.ModuleType("pywebsocket3.common")
    unknown = types.ModuleType("pywebsocket3.fast_masking")
    for module in (foreign, foreign_common, unknown):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    pywebsocket.install()
    assert sys.modules["pywebsocket3"] is pywebsocket
    assert sys.modules["pywebsocket3.common"] is pywebsocket.common
    assert "pywebsocket3.fast_masking" not in sys.modules
    pywebsocket.uninstall()
    assert sys.modules["pywebsocket3"] is foreign
    assert sys.modules["pywebsocket3.common"] is foreign_common
    assert sys.modules["pywebsocket3.fast_masking"] is unknown


def test_uninstall_forgets_both_names():
    pywebsocket.install()
    importlib.import_module("mod_pywebsocket.common")
    pywebsocket.uninstall()
    assert not [name for name in sys.modules if name.partition(".")[0] in ALIASES]
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("mod_pywebsocket")


def test_install_and_uninstall_may_be_repeated():
    before = list(sys.meta_path)
    pywebsocket.install()
    pywebsocket.install()
    assert len(sys.meta_path) == len(before) + 1
    pywebsocket.uninstall()
    pywebsocket.uninstall()
    assert sys.meta_path == before


def test_install_puts_its_finder_first_again(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    pywebsocket.install()
    ours = sys.meta_path.pop(0)
    sys.meta_path.append(ours)
    pywebsocket.install()
    assert sys.meta_path.index(ours) == 0
    assert sys.meta_path.count(ours) == 1
    pywebsocket.uninstall()


def test_threads_may_import_both_names_at_once(installed):
    found = []
    start = threading.Barrier(8)

    def load(alias):
        start.wait()
        found.extend(importlib.import_module(f"{alias}.{name}") for name in SUBMODULES)

    threads = [threading.Thread(target=load, args=(ALIASES[i % 2],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 * len(SUBMODULES)
    assert len(set(map(id, found))) == len(SUBMODULES)


@pytest.mark.parametrize("alias", ALIASES)
def test_standalone_runs_as_a_module(alias):
    # What `-m` does, in a process where the names are installed.
    code = (
        "import sys, runpy, fastwsh.pywebsocket as p; p.install(); sys.argv = ['x', '--help']; "
        f"runpy.run_module('{alias}.standalone', run_name='__main__', alter_sys=True)"
    )
    assert "--websock-handlers" in run(code)
