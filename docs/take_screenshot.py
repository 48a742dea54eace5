"""Write images/console.png and images/inspector.png, the screenshots of the README.

They show the console page of the examples, and the inspector of a server with some clients.

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
from selenium.webdriver.common.by import By

import fastwsh
from fastwsh.testing import running_server

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
SIZE = {"width": 1280, "height": 750, "deviceScaleFactor": 1, "mobile": False}
MESSAGES = ["Hello, fastwsh", '{"join": "lobby"}', "Grüße ✓"]

sys.path.insert(0, str(ROOT / "tests"))

from browser.console_page import ConsolePage  # noqa: E402 (needs the path above)
from browser.inspector_page import InspectorPage  # noqa: E402


def wait_for_port() -> None:
    """Return when the server listens."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("localhost", 9998)):
            return
        time.sleep(0.05)
    raise SystemExit("the server does not listen on port 9998")


def start_browser() -> Chrome:
    """Start Chromium, without a window."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for switch in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-proxy-server"):
        options.add_argument(switch)
    browser = Chrome(options, Service(shutil.which("chromedriver")))
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", SIZE)
    return browser


def take_console(browser: Chrome) -> None:
    """Send a few messages to /echo and take the picture."""
    server = subprocess.Popen(
        [sys.executable, "-m", "fastwsh", "-H", "localhost", "-p", "9998", "-d", "examples"],
        cwd=ROOT,
    )
    try:
        wait_for_port()
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
        (IMAGES / "console.png").write_bytes(browser.get_screenshot_as_png())
    finally:
        server.terminate()
        server.wait()


def take_inspector(browser: Chrome) -> None:
    """Let a client say something, send it something by hand, and take the picture."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {**SIZE, "height": 900})
    with running_server(ROOT / "examples" / "echo_wsh.py", inspect=True) as server:
        page = InspectorPage(browser, server.inspector_url)
        with fastwsh.connect(server.url_for("/echo"), headers={"Cookie": "session=1"}) as client:
            for message in (*MESSAGES, b"\x00\x01\xfe\xff", '{"price": 17.5, "at": [1, 2, 3]}'):
                client.send(message)
                client.recv(timeout=5)
            page.open(1)
            page.write("poke-data", "sent by hand")
            page.do("text")
            page.do("ping")
            client.recv(timeout=5)
            page.wait_for(lambda: len(page.frames()) > 10, "the frames")
            page.wait_for(lambda: page.text("frame-count"), "their number")
            rows = browser.find_elements(By.CSS_SELECTOR, "#frame-scroll tr[aria-rowindex]")
            rows[8].click()
            browser.find_element(By.CSS_SELECTOR, "[data-as=json]").click()
            page.wait_for(lambda: "price" in page.text("payload-text"), "the payload")
            page.wait_for(lambda: page.text("open-count") == "1", "the number of connections")
            browser.execute_script("scrollTo(0, 0)")
            still = "return document.getAnimations().length === 0"
            page.wait_for(lambda: browser.execute_script(still), "the end of transitions")
            (IMAGES / "inspector.png").write_bytes(browser.get_screenshot_as_png())


def main() -> None:
    """Take both."""
    browser = start_browser()
    try:
        take_console(browser)
        take_inspector(browser)
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
