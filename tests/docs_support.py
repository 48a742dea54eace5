"""Does what a page of the documentation says, in an empty folder, and compares what it shows.

- A block whose title is a file name is written there.
- `console`: each line with `$ ` is run; what follows is its output, `...` stands for anything. A
  server is started on a free port, which takes the place of the one in the text everywhere.
- `python` without a title is a program; "It prints" is its output.
- "The client sends" and "The server answers" are a handshake on a new connection, byte by byte, and
  "Frames" are bytes on the same connection: `>` from the client, `<` from the server.
- A link to localhost is opened in Chromium; "The page shows" waits for the text of `#log`, and
  "In the browser's console" evaluates each line with `> ` and waits for the value below it.
- "Save all as HAR" is the name under which the developer tools save what the pages have said.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from selenium.common.exceptions import TimeoutException
from selenium.webdriver import Chrome
from selenium.webdriver.support.wait import WebDriverWait

import docs_markdown as markdown
from conftest import Server, StartServer, clean_environment
from docs_markdown import Step
from metrics_support import metrics_port as find_metrics_port
from network_panel import NetworkPanel
from wire import DEADLINE_SECONDS, Client

_SERVER = ["python", "-m", "fastwsh"]
_METRICS = "--metrics-port"
# Servers of their own, which run beside the others.
_RECORDINGS = ["fastwsh.record", "fastwsh.replay"]
# What the shell says of a program that is not installed.
_NOT_FOUND = 127
# pytest-asyncio warns of a setting that a reader without it does not need.
_PYTEST_OPTIONS = "-p no:asyncio -p no:cacheprovider --color=no"
_PRINTS_AND_ENDS = {"--check", "--help", "--print-dropin-path", "--version"}


class Story:
    """The reader: a folder, the servers that run, a connection and a browser.

    Args:
        folder: Empty.
        start_server: The fixture.
        open_browser: Returns Chromium, or skips the test.
    """

    def __init__(
        self, folder: Path, start_server: StartServer, open_browser: Callable[[], Chrome]
    ) -> None:
        self._folder = folder
        self._start_server = start_server
        self._open_browser = open_browser
        self._servers: dict[str, Server] = {}
        # those of the page, and the real ones
        self._ports: dict[str, int] = {}
        self._printed = ""
        self._client: Client | None = None
        self._panel: NetworkPanel | None = None
        self._saves_har = False
        self._programs: dict[str, subprocess.Popen[str]] = {}

    def play(self, page: str) -> None:
        """Do what the page says."""
        if before := markdown.CONTINUES.get(page):
            for step in markdown.steps_of(markdown.read(before)):
                if step.is_file:
                    self._write(step)
        steps = markdown.steps_of(markdown.read(page))
        self._saves_har = any(step.title == markdown.SAVE_HAR for step in steps)
        for step in steps:
            what = step.title or step.language
            sys.stdout.write(f"--- docs/{page}, line {step.line}: {what}\n")
            self._method(step)(step)

    def end(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def close(self) -> None:
        """End everything that the page has started and `start_server` does not know."""
        self.end()
        if self._panel is not None:
            self._panel.close()
        for program in self._programs.values():
            program.kill()
            program.communicate()

    def _method(self, step: Step) -> Callable[[Step], None]:
        problem = markdown.why_unknown(step)
        assert problem is None, problem
        if step.is_file:
            return self._write
        if not step.title:
            return {"console": self._run, "python": self._execute, "link": self._open}[
                step.language
            ]
        return {
            markdown.BROWSER_CONSOLE: self._evaluate,
            markdown.PAGE_SHOWS: self._look,
            markdown.PRINTS: self._compare_output,
            markdown.CLIENT_SENDS: self._send_head,
            markdown.SERVER_ANSWERS: self._read_head,
            markdown.FRAMES: self._exchange,
            markdown.SAVE_HAR: self._save_har,
        }[step.title]

    # --- ports

    def _real(self, text: str) -> str:
        """Put the ports of the servers into what the page says."""
        for port, real in self._ports.items():
            text = re.sub(rf"(?<=:){port}\b", str(real), text)
        return text

    def _shown(self, text: str) -> str:
        """Put the ports of the page into what was printed."""
        for port, real in self._ports.items():
            text = re.sub(rf"(?<=:){real}\b", port, text)
        return text

    # --- files and commands

    def _write(self, step: Step) -> None:
        path = self._folder / step.title
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._real(step.code), encoding="utf-8")

    def _run(self, step: Step) -> None:
        for command, output in markdown.commands_of(step.code):
            if command in markdown.NOT_RUN:
                continue
            words = shlex.split(self._real(command))
            if words[:3] == _SERVER and not _PRINTS_AND_ENDS.intersection(words):
                self._serve(words[3:])
                continue
            if words[:2] == ["python", "-m"] and words[2] in _RECORDINGS:
                self._start(words)
                continue
            self._printed = self._call(["sh", "-c", self._real(command)])
            if output.strip():
                self._compare_output(Step(step.line, "text", "", output))

    def _serve(self, arguments: list[str]) -> None:
        self.end()
        place = arguments.index("-p")
        port = arguments[place + 1]
        if port in self._servers:
            server = self._servers.pop(port)
            server.send_signal(signal.SIGINT)
            assert server.wait() == 0
        rest = arguments[:place] + arguments[place + 2 :]
        metrics = rest.index(_METRICS) + 1 if _METRICS in rest else None
        if metrics is not None:
            metrics_port, rest[metrics] = rest[metrics], "0"
        server = self._servers[port] = self._start_server(*rest, cwd=self._folder)
        self._ports[port] = server.port
        if metrics is not None:
            self._ports[metrics_port] = find_metrics_port(server)

    def _start(self, words: list[str]) -> None:
        """Start a server that is not `fastwsh`, in place of one on the same port."""
        place = words.index("-p") + 1
        port, words[place] = words[place], "0"
        if port in self._programs:
            former = self._programs.pop(port)
            former.send_signal(signal.SIGINT)
            assert former.wait(DEADLINE_SECONDS) == 0
            former.communicate()
        program = self._programs[port] = subprocess.Popen(
            [sys.executable, *words[1:]],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self._folder,
            env=clean_environment(),
        )
        assert program.stdout is not None
        said = program.stdout.readline()
        found = re.search(r"clients connect to wss?://[^/]*:(\d+)/", said)
        assert found, said
        self._ports[port] = int(found[1])

    def _execute(self, step: Step) -> None:
        self._printed = self._call([sys.executable, "-c", self._real(step.code)])

    def _call(self, words: list[str]) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd=self._folder,
            env=clean_environment(PATH=path, PYTEST_ADDOPTS=_PYTEST_OPTIONS),
            timeout=10 * DEADLINE_SECONDS,
        )
        if done.returncode == _NOT_FOUND and os.environ.get("CI") != "true":
            pytest.skip(done.stdout)
        assert done.returncode == 0, f"{words[-1]}\n{done.stdout}"
        return self._shown(done.stdout)

    def _compare_output(self, step: Step) -> None:
        assert _is_like(self._printed, step.code), self._printed

    # --- the wire

    def _send_head(self, step: Step) -> None:
        self.end()
        (server, *_) = self._servers.values()
        self._client = server.connect()
        self._client.send(step.code.replace("\n", "\r\n").encode() + b"\r\n")

    def _read_head(self, step: Step) -> None:
        assert self._client is not None
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._client.read(1)
        assert head.count(b"\n") == head.count(b"\r\n")
        assert _is_like(head.decode().replace("\r\n", "\n"), step.code), head

    def _exchange(self, step: Step) -> None:
        assert self._client is not None
        for line in step.code.splitlines():
            data = bytes.fromhex(re.split(r"\s{2,}", line[1:].strip())[0])
            if line.startswith(">"):
                self._client.send(data)
            else:
                assert line.startswith("<"), line
                assert self._client.read(len(data)) == data

    # --- the browser

    def _open(self, step: Step) -> None:
        browser = self._open_browser()
        if step.code.startswith("https:"):
            # The certificate is the reader's own; a test must not make this machine trust it.
            browser.execute_cdp_cmd("Security.setIgnoreCertificateErrors", {"ignore": True})
        if self._saves_har and self._panel is None:
            self._panel = NetworkPanel(browser)
        browser.get(self._real(step.code))

    def _look(self, step: Step) -> None:
        self._wait_for("document.getElementById('log').textContent.trim()", step.code.strip())

    def _save_har(self, step: Step) -> None:
        assert self._panel is not None
        self._panel.save(self._folder / step.code.strip())

    def _evaluate(self, step: Step) -> None:
        for part in re.split(r"^> ", step.code, flags=re.MULTILINE)[1:]:
            expression, _, value = part.partition("\n")
            if value.strip():
                self._wait_for(expression, json.loads(value))
            else:
                self._value_of(expression)

    def _value_of(self, expression: str) -> Any:
        # An indirect eval, as in the console: it sees what the page's scripts have declared.
        return self._open_browser().execute_script("return (0, eval)(arguments[0])", expression)

    def _wait_for(self, expression: str, expected: Any) -> None:
        seen: Any = None

        def is_there(_: Chrome) -> bool:
            nonlocal seen
            seen = self._value_of(expression)
            if isinstance(seen, str):
                seen = self._shown(seen)
            return bool(seen == expected)

        try:
            WebDriverWait(self._open_browser(), DEADLINE_SECONDS, 0.05).until(is_there)
        except TimeoutException:
            pytest.fail(f"{expression} is {seen!r}, not {expected!r}")


def _is_like(text: str, pattern: str) -> bool:
    """Whether this is the text: `...` stands for anything, spaces for any number of them."""
    words = re.split(r"(\.\.\.| +)", pattern.strip())
    regex = "".join(".*" if w == "..." else " +" if w.isspace() else re.escape(w) for w in words)
    return re.fullmatch(regex, text.strip(), re.DOTALL) is not None
