"""Chromium opens a WebSocket on the connection of HTTP/2 that its page came by."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from browser.conftest import _SWITCHES, PACKAGES
from conftest import StartServer, WriteHandler, find_program
from wire import DEADLINE_SECONDS

HANDLER = """\
while (message := request.ws_stream.receive_message()) is not None:
    request.ws_stream.send_message(f"{request.protocol} {request.method} {message}")
"""

PAGE = """\
<!DOCTYPE html><title>open</title><script>
const told = [];
const socket = new WebSocket(`wss://${location.host}/told`);
socket.onopen = () => socket.send("hello");
socket.onmessage = (event) => { told.push(event.data); socket.close(1000, "bye"); };
socket.onclose = (event) => {
  const [page] = performance.getEntriesByType("navigation");
  told.push(page.nextHopProtocol, socket.extensions.split(";")[0], event.code, event.wasClean);
  document.title = JSON.stringify(told);
};
</script>
"""


@pytest.fixture
def trusting_browser(tmp_path: Path) -> Iterator[Chrome]:
    """A browser for which every certificate is good."""
    options = ChromeOptions()
    options.binary_location = find_program("chromium", *PACKAGES)
    for switch in [*_SWITCHES, "--ignore-certificate-errors"]:
        options.add_argument(switch)
    options.add_argument(f"--user-data-dir={tmp_path / 'chromium'}")
    driver = Chrome(options, Service(find_program("chromedriver", *PACKAGES)))
    yield driver
    driver.quit()


TOLD = ["HTTP/2 CONNECT hello", "h2", "permessage-deflate", 1000, True]
"""What the page shows in the end."""


@pytest.fixture
def page(tmp_path: Path, start_server: StartServer, write_handler: WriteHandler) -> str:
    """The URL of the page, on a server of its handler."""
    certificate = trustme.CA().issue_cert("localhost")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "tls.pem")
    (tmp_path / "page.html").write_text(PAGE)
    write_handler("told", HANDLER)
    server = start_server("--ssl-certfile", "tls.pem", "-w", "handlers", "--http2")
    return f"https://localhost:{server.port}/page.html"


def test_page_and_websocket_share_a_connection(page: str, trusting_browser: Chrome):
    trusting_browser.get(page)
    WebDriverWait(trusting_browser, DEADLINE_SECONDS).until(lambda b: b.title.startswith("["))
    assert json.loads(trusting_browser.title) == TOLD
