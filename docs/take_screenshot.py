"""Write images/console.png, the screenshot of the README: the console page of the examples.

    python docs/take_screenshot.py

Port 9998 must be free, as the page shows its URL. Needs what `tests/browser` needs.
"""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "images" / "console.png"
SIZE = {"width": 1280, "height": 750, "deviceScaleFactor": 1, "mobile": False}
MESSAGES = ["Hello, fastwsh", '{"join": "lobby"}', "Grüße ✓"]

sys.path.insert(0, str(ROOT / "tests"))

from browser.console_page import ConsolePage  # noqa: E402 (needs the path above)


def wait_for_port() -> None:
    """Return when the server listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", 9998)):
            return
        time.sleep(0.05)
    raise SystemExit("the server does not listen on port 9998")


def main() -> None:
    """Send a few messages to /echo and take the picture."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server"):
        options.add_argument(switch)
    server = subprocess.Popen(
        [sys.executable, "-m", "fastwsh", "-H", "localhost", "-p", "9998", "-d", "examples"],
        cwd=ROOT,
    )
    browser = Chrome(options, Service(shutil.which("chromedriver")))
    try:
        wait_for_port()
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
        browser.get("http://localhost:9998/")
        page = ConsolePage(browser)
        page.connect()
        page.click("measure")
        page.wait_for(lambda: page.text("latency") != "\N{EN DASH}", "a round trip")
        page.click("clear")
        for message in MESSAGES:
            before = len(page.frames())
            page.send(message)
            page.wait_for(lambda expected=before + 2: len(page.frames()) == expected, "the echo")
        TARGET.write_bytes(browser.get_screenshot_as_png())
    finally:
        browser.quit()
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
