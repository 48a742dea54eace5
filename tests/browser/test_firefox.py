"""Firefox opens a WebSocket on the connection of HTTP/2 that its page came by.

Firefox is driven over its own WebSocket (WebDriver BiDi), by the client of fastwsh. So it needs no
program of its own to drive it.
"""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import fastwsh
from browser.test_http2 import TOLD, page
from conftest import Output, find_program
from wire import DEADLINE_SECONDS

__all__ = ["page"]  # the fixture

# Nothing that reaches for the network, or draws by a graphics card.
PREFERENCES = """\
user_pref("app.normandy.enabled", false);
user_pref("app.update.disabledForTesting", true);
user_pref("browser.shell.checkDefaultBrowser", false);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("gfx.webrender.software", true);
user_pref("network.captive-portal-service.enabled", false);
user_pref("network.connectivity-service.enabled", false);
user_pref("network.http.http3.enable", false);
user_pref("services.settings.server", "data:,");
user_pref("toolkit.telemetry.enabled", false);
"""


class Firefox:
    """A session with a running Firefox, in its first tab."""

    def __init__(self, url: str) -> None:
        self._connection = fastwsh.connect(f"{url}/session", max_message_bytes=None)
        self._number = 0
        # certificates of the tests' own are good
        always = {"acceptInsecureCerts": True}
        self.call("session.new", capabilities={"alwaysMatch": always})
        self._tab = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **params: Any) -> Any:
        """Carry out a command; return its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": params}
        self._connection.send(json.dumps(command))
        while True:
            message = json.loads(self._connection.recv(DEADLINE_SECONDS))
            if message.get("id") == self._number:
                assert message["type"] == "success", message
                return message["result"]

    def open(self, url: str) -> None:
        self.call("browsingContext.navigate", context=self._tab, url=url, wait="complete")

    @property
    def title(self) -> str:
        target = {"context": self._tab}
        found = self.call(
            "script.evaluate", expression="document.title", target=target, awaitPromise=False
        )
        title: str = found["result"]["value"]
        return title

    def close(self) -> None:
        self.call("browser.close")
        self._connection.close()


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    program = find_program("firefox-esr", "firefox-esr")
    profile = tmp_path / "firefox"
    profile.mkdir()
    (profile / "user.js").write_text(PREFERENCES)
    command = [program, "--headless", "--no-remote", "--profile", str(profile)]
    command += ["--remote-debugging-port", "0", "about:blank"]
    with subprocess.Popen(
        command,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        try:
            assert process.stderr is not None
            url = Output(process.stderr).wait_for(r"BiDi listening on (ws://127\.0\.0\.1:\d+)")[1]
            browser = Firefox(url)
            yield browser
            browser.close()
            process.wait(DEADLINE_SECONDS)
        finally:
            process.kill()


def test_page_and_websocket_share_a_connection(page: str, firefox: Firefox):
    firefox.open(page)
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not (title := firefox.title).startswith("["):
        assert time.monotonic() < deadline, title
        time.sleep(0.05)
    assert json.loads(title) == TOLD
