"""Headless Chromium, started once, and a server of the examples for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from browser.console_page import ConsolePage
from conftest import ROOT, Server, StartServer, find_program

EXAMPLES = ROOT / "examples"
PACKAGES = "chromium", "chromium-driver"

# Nothing but the pages under test: no welcome, no updates, no sync, no other transport.
_SWITCHES = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1280,820",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is in this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """One browser for all tests: starting it takes longer than most of them."""
    options = ChromeOptions()
    options.binary_location = find_program("chromium", *PACKAGES)
    for switch in _SWITCHES:
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The path of the driver is given, so that selenium does not look for one on the network.
    driver = Chrome(options, Service(find_program("chromedriver", *PACKAGES)))
    yield driver
    driver.quit()


@pytest.fixture
def browser(chromium: Chrome) -> Iterator[Chrome]:
    """The browser with one empty tab, no cookies and nothing in its log."""
    chromium.get_log("browser")  # which empties it
    yield chromium
    first, *others = chromium.window_handles
    for handle in others:
        chromium.switch_to.window(handle)
        chromium.close()
    chromium.switch_to.window(first)
    chromium.get("about:blank")
    chromium.execute_cdp_cmd("Network.clearBrowserCookies", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server of the example handlers and pages."""
    return start_server("-d", EXAMPLES, "-w", EXAMPLES)


@pytest.fixture
def console(browser: Chrome, server: Server) -> ConsolePage:
    """The console, loaded from the server."""
    browser.get(server.url("/", scheme="http"))
    assert browser.find_element(By.TAG_NAME, "h1").text == "fastwsh console"
    return ConsolePage(browser)
