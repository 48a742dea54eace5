"""The tutorial page: what it alerts, and what it shows of readyState and bufferedAmount."""

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.wait import WebDriverWait

from browser.conftest import EXAMPLES
from conftest import Server
from wire import DEADLINE_SECONDS


def accept_alert(browser: Chrome) -> str:
    """Wait for an alert and press its button; return its text."""
    alert = WebDriverWait(browser, DEADLINE_SECONDS).until(expected_conditions.alert_is_present())
    text = alert.text
    alert.accept()
    return text


def shown(browser: Chrome, moment: str) -> tuple[str, str]:
    """Return readyState and bufferedAmount at a moment."""
    return (
        browser.find_element(By.ID, f"{moment}-state").text,
        browser.find_element(By.ID, f"{moment}-buffered").text,
    )


def test_alerts_and_shows_the_life_of_a_connection(browser: Chrome, server: Server) -> None:
    browser.get(server.url("/ws_client.html", scheme="http"))
    browser.find_element(By.LINK_TEXT, "Run the WebSocket test").click()
    assert accept_alert(browser) == "Connection is open"
    assert accept_alert(browser) == "Message received: Hello, server"
    assert accept_alert(browser) == "Connection is closed, code 1000"
    assert shown(browser, "created") == ("0", "0")
    assert shown(browser, "open") == ("1", "0")
    assert shown(browser, "sent") == ("1", str(len("Hello, server")))
    assert shown(browser, "message") == ("1", "0")
    assert shown(browser, "closing") == ("2", "0")
    assert shown(browser, "closed") == ("3", "0")


def test_alerts_the_close_if_nobody_answers(browser: Chrome, server: Server) -> None:
    browser.get(server.url("/ws_client.html", scheme="http"))
    server.process.kill()
    server.wait()
    browser.find_element(By.LINK_TEXT, "Run the WebSocket test").click()
    assert accept_alert(browser) == "Connection is closed, code 1006"
    assert shown(browser, "closed") == ("3", "0")


def test_talks_to_the_server_it_came_from(browser: Chrome, server: Server) -> None:
    browser.get(server.url("/ws_client.html", scheme="http"))
    assert browser.execute_script("return serverUrl()") == server.url("/echo")


def test_talks_to_port_9998_when_opened_from_disk(browser: Chrome) -> None:
    browser.get((EXAMPLES / "ws_client.html").as_uri())
    assert browser.execute_script("return serverUrl()") == "ws://localhost:9998/echo"
