"""What a terminal shows at start-up, and the names that a 404 suggests."""

import argparse
import io
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import WriteHandler, clean_environment
from fastwsh.output import banner
from wire import DEADLINE_SECONDS, Client

RESOURCES = ["/echo", "/echo_noext", "/chat", "/close", "/room/Lobby"]


class Terminal(io.StringIO):
    """A terminal to write on."""

    def isatty(self) -> bool:
        return True


class Suite:
    def __init__(self, path: str) -> None:
        self.path = path


class FakeDispatcher:
    def __init__(self, suites: dict[str, Suite], warnings: list[str]) -> None:
        self._handler_suite_map = suites
        self._warnings = warnings

    def source_warnings(self) -> list[str]:
        return self._warnings


class FakeServer:
    server_port = 9998

    def metrics_urls(self) -> list[str]:
        return ["http://127.0.0.1:9990/metrics"]


def shown(
    monkeypatch: pytest.MonkeyPatch,
    *,
    host: str = "",
    tls: bool = False,
    suites: dict[str, Suite] | None = None,
    warnings: list[str] | None = None,
    uds: str | None = None,
    http2: bool = False,
) -> str:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    options = argparse.Namespace(
        server_host=host,
        use_tls=tls,
        uds=uds,
        http2=http2,
        dispatcher=FakeDispatcher(suites or {}, warnings or []),
    )
    banner.show(FakeServer(), options)
    return terminal.getvalue()


@pytest.mark.parametrize(
    ("resource", "expected"),
    [
        ("/ehco", "/echo"),
        ("/echo/", "/echo"),
        ("/Echo", "/echo"),
        ("/ECHO?x=1", "/echo"),
        ("/chatt", "/chat"),
        ("/room/lobby", "/room/Lobby"),
    ],
)
def test_nearest_comes_first(resource: str, expected: str):
    assert banner.nearest(resource, RESOURCES)[0] == expected


@pytest.mark.parametrize("resource", ["/", "", "/favicon.ico", "/xyzzy"])
def test_nothing_is_near(resource: str):
    assert banner.nearest(resource, RESOURCES) == []


def test_banner_names_http_2_where_it_is_spoken(monkeypatch: pytest.MonkeyPatch):
    assert "\n  HTTP/2 and HTTP/1.1\n" in shown(monkeypatch, http2=True)
    assert "HTTP/2" not in shown(monkeypatch)


@pytest.mark.parametrize(
    ("http2", "line"),
    [
        (False, "HTTP/3 (UDP port 9443) and HTTP/1.1"),
        (True, "HTTP/3 (UDP port 9443), HTTP/2 and HTTP/1.1"),
    ],
)
def test_banner_names_the_port_of_http_3(monkeypatch: pytest.MonkeyPatch, http2: bool, line: str):
    endpoint = argparse.Namespace(port=9443)
    monkeypatch.setattr(FakeServer, "_http3", endpoint, raising=False)
    assert f"\n  {line}\n" in shown(monkeypatch, http2=http2)


def test_nearest_of_no_resources():
    assert banner.nearest("/echo", []) == []


def test_at_most_three_are_near():
    assert len(banner.nearest("/echo", [f"/echo{n}" for n in range(9)])) == 3


def test_clean_leaves_text_and_takes_controls():
    assert banner.clean("a\x1b[31mb\r\nc\x9bd\u202ee é 漢") == "a[31mbcde é 漢"


def test_shows_addresses_and_files(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    suites = {"/echo": Suite("/h/echo_wsh.py"), "/chat": Suite("/h/chat_wsh.py")}
    lines = shown(monkeypatch, suites=suites).splitlines()
    assert re.fullmatch(r"  http://localhost:9998/ +" + re.escape(str(Path.cwd())), lines[1])
    assert re.fullmatch(r"  ws://localhost:9998/chat +/h/chat_wsh\.py", lines[2])
    assert re.fullmatch(r"  ws://localhost:9998/echo +/h/echo_wsh\.py", lines[3])
    assert lines[4] == "  metrics on http://127.0.0.1:9990/metrics"


@pytest.mark.parametrize(
    ("host", "tls", "url"),
    [
        ("127.0.0.1", False, "http://127.0.0.1:9998/"),
        ("::1", False, "http://[::1]:9998/"),
        ("::", False, "http://localhost:9998/"),
        ("example.org", True, "https://example.org:9998/"),
    ],
)
def test_url_names_the_host(monkeypatch: pytest.MonkeyPatch, host: str, tls: bool, url: str):
    assert f"{url} " in shown(monkeypatch, host=host, tls=tls).replace("\x1b[0m", "")


class Listener:
    """A listening socket that only has an address."""

    def __init__(self, family: socket.AddressFamily, address: object) -> None:
        self.family = family
        self._address = address

    def getsockname(self) -> object:
        return self._address


@pytest.mark.parametrize(
    ("listeners", "url", "places"),
    [
        ([Listener(socket.AF_INET, ("0.0.0.0", 9998))], "ws://localhost:9998/echo", "0.0.0.0:9998"),
        ([Listener(socket.AF_INET6, ("::1", 9998, 0, 0))], "ws://[::1]:9998/echo", "[::1]:9998"),
        ([Listener(socket.AF_UNIX, "/run/x")], "/echo", "unix:/run/x"),
        (
            [Listener(socket.AF_UNIX, "x"), Listener(socket.AF_INET, ("127.0.0.1", 9998))],
            "ws://127.0.0.1:9998/echo",
            "unix:x, 127.0.0.1:9998",
        ),
    ],
)
def test_places_that_were_named_are_shown(
    monkeypatch: pytest.MonkeyPatch, listeners: list[Listener], url: str, places: str
):
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(FakeServer, "_sockets", [(one, ()) for one in listeners], raising=False)
    text = shown(monkeypatch, suites={"/echo": Suite("/h")}, uds="x")
    assert re.search(rf"^  {re.escape(url)} +/h$", text, re.MULTILINE)
    assert f"  listening on {places}\n" in text


def test_no_color_is_honoured(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in shown(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "")
    assert "\x1b[" in shown(monkeypatch)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in shown(monkeypatch)


def test_says_what_to_do_without_handlers(monkeypatch: pytest.MonkeyPatch):
    assert "no handlers" in shown(monkeypatch)


def test_failure_is_its_file_and_last_line(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    warning = (
        "/h/b\x1bad_wsh.py: Error\nTraceback:\n  File x\nZeroDivisionError: division by zero\n"
    )
    assert "  not loaded: /h/bad_wsh.py: Error ZeroDivisionError: division by zero\n" in shown(
        monkeypatch, warnings=[warning]
    )


def test_is_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]):
    options = argparse.Namespace(server_host="", use_tls=False, dispatcher=FakeDispatcher({}, []))
    banner.show(FakeServer(), options)
    assert capsys.readouterr() == ("", "")


def test_name_beyond_the_encoding_of_the_terminal_is_escaped(monkeypatch: pytest.MonkeyPatch):
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding="ascii", write_through=True) as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        banner.write(["é\udcff"])
        assert raw.getvalue() == b"\\xe9\\udcff\n"


def test_real_terminal_shows_the_handlers(tmp_path: Path, write_handler: WriteHandler):
    write_handler("echo", "pass")
    ours, theirs = pty.openpty()
    args = ["-w", "handlers", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "fastwsh", *args],
        cwd=tmp_path,
        env=clean_environment(NO_COLOR="1"),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:
        try:
            os.close(theirs)
            with os.fdopen(ours, encoding="utf-8", newline="\r\n") as terminal:
                lines = [
                    line.strip() for line in iter(terminal.readline, "Press Ctrl-C to stop.\r\n")
                ]
        finally:
            process.kill()
    assert re.fullmatch(
        rf"ws://127\.0\.0\.1:\d+/echo +{re.escape(str(tmp_path))}/handlers/echo_wsh\.py", lines[2]
    )


def test_a_terminal_is_told_how_to_stop_now(tmp_path: Path, write_handler: WriteHandler):
    write_handler(
        "sleeper", "import time\nrequest.ws_stream.send_message('here')\ntime.sleep(3600)\n"
    )
    ours, theirs = pty.openpty()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        subprocess.Popen(
            [sys.executable, "-m", "fastwsh", "-w", "handlers", f"--fd={listener.fileno()}"],
            cwd=tmp_path,
            env=clean_environment(NO_COLOR="1"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=theirs,
            pass_fds=[listener.fileno()],
        ) as process,
    ):
        try:
            os.close(theirs)
            with (
                os.fdopen(ours, encoding="utf-8", newline="\r\n") as terminal,
                Client(listener.getsockname()[1]) as client,
            ):
                client.handshake("/sleeper")
                assert client.read_frame().payload == b"here"
                process.send_signal(signal.SIGINT)
                assert "Stopping; press Ctrl-C again to stop now\r\n" in iter(terminal.readline, "")
                process.send_signal(signal.SIGINT)
                assert process.wait(DEADLINE_SECONDS) == 130
        finally:
            process.kill()
