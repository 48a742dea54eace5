"""The test runners of browser vendors, with their command lines, on the drop-in folder."""

import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embed_support import (
    DROPIN,
    ECHO_HANDLER,
    assert_echoes,
    free_port,
    http_get,
    running,
    wait_until_accepting,
)

CGI_SCRIPT = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\nquery=%s' "$QUERY_STRING"
"""

STANDALONE = DROPIN / "mod_pywebsocket" / "standalone.py"


def write_cgi_script(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(CGI_SCRIPT, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def layout_tests() -> Iterator[Path]:
    """`http/tests` with a handler, as in Blink's and WebKit's trees."""
    with tempfile.TemporaryDirectory() as folder:
        # Where the server runs as root, CGI programs run as somebody else.
        Path(folder).chmod(0o755)
        root = Path(folder) / "http" / "tests"
        handlers = root / "websocket" / "tests"
        handlers.mkdir(parents=True)
        (handlers / "echo_wsh.py").write_text(ECHO_HANDLER, encoding="utf-8")
        yield root


def test_blink(tmp_path: Path, layout_tests: Path):
    tests = layout_tests / "websocket" / "tests"
    # two of Blink's handlers have curly quotes in their licence
    handler = "# \N{LEFT DOUBLE QUOTATION MARK}AS IS\N{RIGHT DOUBLE QUOTATION MARK}\n"
    (tests / "echo-host_wsh.py").write_text(handler + ECHO_HANDLER, encoding="utf-8")
    (tests / "handler_map.txt").write_text("/ /echo-host\n", encoding="utf-8")
    (tests / "page.html").write_text("<p>page</p>", encoding="utf-8")
    write_cgi_script(tests / "script.cgi")
    log = tmp_path / "pywebsocket.ws.log-err.txt"
    with free_port() as port:
        command = ["-u", STANDALONE, "--server-host", "localhost", "--port", str(port)]
        command += ["--document-root", tests, "--scan-dir", tests, "--cgi-paths", "/"]
        command += ["--log-file", log, "--websock-handlers-map-file", tests / "handler_map.txt"]
        command += ["--handler-encoding", "utf-8"]
        with running(*command, cwd=tmp_path, PYTHONPATH=str(DROPIN), LC_ALL="C") as runner:
            wait_until_accepting(runner, port)
            assert_echoes(port)
            assert_echoes(port, "/echo-host")
            assert_echoes(port, "/")
            assert http_get(port, "/page.html") == (200, b"<p>page</p>")
            assert http_get(port, "/script.cgi?a=1") == (200, b"query=a=1")
            assert log.exists()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_webkit(tmp_path: Path, layout_tests: Path, host: str):
    tests = layout_tests / "websocket" / "tests"
    (layout_tests / "cookies.txt").write_text("plain", encoding="utf-8")
    write_cgi_script(tests / "hybi" / "script.cgi")
    log = tmp_path / "pywebsocket.ws.log-err.txt"
    with free_port() as port:
        command = ["-u", STANDALONE, "--server-host", host, "--port", str(port)]
        command += ["--document-root", layout_tests, "--scan-dir", tests]
        command += ["--cgi-paths", "/websocket/tests", "--log-file", log]
        with running(*command, cwd=tmp_path, PYTHONPATH=str(DROPIN)) as runner:
            wait_until_accepting(runner, port)
            assert_echoes(port, "/websocket/tests/echo")
            assert http_get(port, "/cookies.txt") == (200, b"plain")
            target = "/websocket/tests/hybi/script.cgi?b=2"
            assert http_get(port, target) == (200, b"query=b=2")
            assert log.exists()


def test_telemetry(tmp_path: Path):
    example = tmp_path / "example"
    example.mkdir()
    (example / "echo_wsh.py").write_text(ECHO_HANDLER, encoding="utf-8")
    with free_port() as port:
        command = ["-m", "mod_pywebsocket.standalone", "--port", str(port)]
        command += ["--log-level", "debug", "-d", "example"]
        with running(*command, cwd=tmp_path, PYTHONPATH=str(DROPIN)) as program:
            wait_until_accepting(program, port)
            assert_echoes(port)


# Like the wrapper around mochitest's server: its own handler of SIGINT is in place first.
MOCHITEST_WRAPPER = """
import signal
import sys

sys.path = ["pywebsocket"] + sys.path
import standalone

if len(sys.argv) >= 2 and sys.argv[1] == "--interactive":
    del sys.argv[1]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
else:
    signal.signal(signal.SIGINT, lambda number, frame: sys.exit(1))

standalone._main()
"""


class TestMochitest:
    """Firefox: the wrapper imports `standalone`; the handlers are links to the source tree."""

    @pytest.fixture
    def command(self, tmp_path: Path) -> Callable[..., list[str | os.PathLike[str]]]:
        source = tmp_path / "source"
        source.mkdir()
        (source / "file_websocket_wsh.py").write_text(ECHO_HANDLER, encoding="utf-8")
        handlers = tmp_path / "mochitest" / "tests"
        handlers.mkdir(parents=True)
        (handlers / "file_websocket_wsh.py").symlink_to(source / "file_websocket_wsh.py")
        (tmp_path / "pywebsocket").symlink_to(DROPIN / "mod_pywebsocket")
        wrapper = tmp_path / "pywebsocket_wrapper.py"
        wrapper.write_text(MOCHITEST_WRAPPER, encoding="utf-8")

        def build(port: int, *first: str) -> list[str | os.PathLike[str]]:
            args = [wrapper, *first, "-H", "127.0.0.1", "-p", str(port), "-w", handlers]
            args += ["-l", handlers / "websock.log", "--log-level=debug"]
            return [*args, "--allow-handlers-outside-root-dir"]

        return build

    def test_serves_and_logs(self, tmp_path: Path, command):
        with free_port() as port, running(*command(port), cwd=tmp_path) as wrapper:
            wait_until_accepting(wrapper, port)
            assert_echoes(port, "/file_websocket")
            log = (tmp_path / "mochitest" / "tests" / "websock.log").read_text(encoding="utf-8")
            assert "[INFO] pywebsocket3.handshake: Established (RFC 6455 protocol)" in log

    def test_own_handler_of_sigint_is_called(self, tmp_path: Path, command):
        with free_port() as port, running(*command(port), cwd=tmp_path) as wrapper:
            wait_until_accepting(wrapper, port)
            wrapper.send_signal(signal.SIGINT)
            assert wrapper.wait() == 1
            assert wrapper.log.text() == ""

    def test_ignores_sigint_under_a_debugger(self, tmp_path: Path, command):
        with free_port() as port, running(*command(port, "--interactive"), cwd=tmp_path) as wrapper:
            wait_until_accepting(wrapper, port)
            wrapper.send_signal(signal.SIGINT)
            assert_echoes(port, "/file_websocket")
            wrapper.send_signal(signal.SIGTERM)
            assert wrapper.wait() == 0
