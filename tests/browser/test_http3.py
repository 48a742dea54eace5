"""Chromium opens a WebSocket over HTTP/3, to the server that its page comes from."""

import base64
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.wait import WebDriverWait

from browser.conftest import _SWITCHES, PACKAGES
from browser.test_http2 import HANDLER, PAGE
from conftest import StartServer, WriteHandler, find_program
from http3_support import CERTIFICATE, write_certificate
from wire import DEADLINE_SECONDS


class OpenBrowser(Protocol):
    """Starts Chromium for a server; it ends with the test."""

    def __call__(self, port: int) -> Chrome: ...


def key_hash() -> str:
    """What Chromium knows the server's key by."""
    certificate = x509.load_pem_x509_certificate(CERTIFICATE.cert_chain_pems[0].bytes())
    key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@pytest.fixture
def open_browser(tmp_path: Path) -> Iterator[OpenBrowser]:
    """Start browsers that use HTTP/3 for one port of 127.0.0.1, without asking TCP first."""
    drivers: list[Chrome] = []

    def start(port: int) -> Chrome:
        options = ChromeOptions()
        options.binary_location = find_program("chromium", *PACKAGES)
        switches = [switch for switch in _SWITCHES if switch != "--disable-quic"]
        switches += [
            "--enable-features=EnableWebsocketsOverHttp3",
            f"--origin-to-force-quic-on=127.0.0.1:{port}",
            f"--ignore-certificate-errors-spki-list={key_hash()}",
        ]
        for switch in switches:
            options.add_argument(switch)
        options.add_argument(f"--user-data-dir={tmp_path / 'chromium'}")
        drivers.append(Chrome(options, Service(find_program("chromedriver", *PACKAGES))))
        return drivers[-1]

    yield start
    for driver in drivers:
        driver.quit()


def test_page_and_websocket_come_over_http_3(
    tmp_path: Path,
    start_server: StartServer,
    write_handler: WriteHandler,
    open_browser: OpenBrowser,
):
    write_certificate(tmp_path / "tls.pem")
    (tmp_path / "page.html").write_text(PAGE)
    write_handler("told", HANDLER)
    server = start_server("--ssl-certfile", "tls.pem", "-w", "handlers", "--http3")
    browser = open_browser(server.port)
    browser.get(f"https://127.0.0.1:{server.port}/page.html")
    WebDriverWait(browser, DEADLINE_SECONDS).until(lambda b: b.title.startswith("["))
    assert json.loads(browser.title) == [
        "HTTP/3 CONNECT hello",
        *("h3", "permessage-deflate", 1000, True),
    ]
