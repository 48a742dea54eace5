"""The page of `--inspect` in Chromium: broken links, what strangers send, and keys alone."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By

import fastwsh
from browser.inspector_page import InspectorPage, connect, echoing
from fastwsh.inspector.site import Site
from fastwsh.testing import WsServer, running_server
from wire import CLOSE, CONTINUATION, TEXT, Client


@pytest.fixture
def server() -> Iterator[WsServer]:
    with echoing() as running:
        yield running


@pytest.fixture
def inspector(browser: Chrome, server: WsServer) -> InspectorPage:
    return InspectorPage(browser, server.inspector_url)


@pytest.fixture
def feeds(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The connections of pages, of servers that are made after this."""
    found: list[Any] = []
    run_feed = Site._run_feed

    def record(site: Site, request: Any) -> None:
        found.append(request.connection)
        run_feed(site, request)

    monkeypatch.setattr(Site, "_run_feed", record)
    return found


def test_the_page_goes_on_when_its_link_breaks(feeds: list[Any], browser: Chrome, server: WsServer):
    inspector = InspectorPage(browser, server.inspector_url)
    with connect(server) as client:
        for number in range(3):
            client.send(f"message {number}")
            client.recv(timeout=5)
        inspector.open(1)
        inspector.wait_for(lambda: len(inspector.frames()) == 6, "the frames")
        # which asks for what comes behind them
        inspector.click("pause")
        inspector.click("pause")
        feeds[0].reset()
        client.send("while it was broken")
        client.recv(timeout=5)
        inspector.wait_for(lambda: len(feeds) == 2, "the next connection")
        inspector.wait_for(lambda: inspector.text("feed-state") == "live", "the state")
        inspector.wait_for(lambda: len(inspector.frames()) == 8, "all frames")
        assert inspector.frames()[-1] == ("sent", "text", "while it was broken")
        assert len({tuple(row) for row in inspector.rows("frame-scroll")}) == 8
        inspector.write("poke-data", "by hand")
        inspector.do("text")
        assert client.recv(timeout=5) == "by hand"
        inspector.go("log")
        inspector.wait_for(lambda: "sent a text" in inspector.text("log-lines"), "the log")
        feeds[1].reset()
        inspector.wait_for(lambda: len(feeds) == 3, "the next connection")
        inspector.wait_for(lambda: inspector.text("log-count") == "1", "the log, once")
    inspector.driver.get_log("browser")  # the connections that have broken


def test_the_page_says_that_the_server_has_gone_and_that_another_has_come(
    inspector: InspectorPage, server: WsServer
):
    port = urlsplit(server.inspector_url or "").port
    inspector.go("log")
    server.stop()
    inspector.wait_for(lambda: "the server has gone" in inspector.text("feed-state"), "the end")
    with running_server(inspect=port) as other:
        inspector.wait_for(
            lambda: "another server is here now" in inspector.text("feed-state"), "the other"
        )
        assert InspectorPage(inspector.driver, other.inspector_url).text("feed-state") == "live"
    inspector.driver.get_log("browser")  # the attempts that have failed


_EVIL = "<img src=x onerror='document.title=1'><b>bold</b>\u202e\x00</script>"


def test_what_strangers_send_is_shown_as_text(inspector: InspectorPage, server: WsServer):
    server.handler("/<b>bold</b>")(lambda connection: connection.recv())
    server.handler("/fails")(lambda _: (_ for _ in ()).throw(ValueError(_EVIL)))
    resource = "/echo?<img/src=x><b>bold</b>"
    headers = [("X-Evil", "<b>bold</b>"), ("Sec-WebSocket-Protocol", "x")]
    with Client(server.port) as client:
        client.handshake(resource, headers)
        client.send_frame(TEXT, _EVIL.encode())
        assert client.read_frame().payload == _EVIL.encode()
        client.send_frame(TEXT, "grü".encode()[:3], fin=False)
        client.send_frame(CONTINUATION, "grü".encode()[3:])
        assert client.read_frame().payload == "grü".encode()
        client.send_frame(TEXT, b"y" * 200_000)
        assert len(client.read_frame().payload) == 200_000
        inspector.open(1)
        inspector.wait_for(lambda: len(inspector.frames()) == 7, "the frames")
        frames = inspector.frames()
        assert frames[0][2].startswith("<img src=x onerror=")
        # a part of a character
        assert [frame[1:] for frame in frames[2:4]] == [
            ("text", "67 72 c3"),
            ("continuation", "bc"),
        ]
        inspector.driver.find_element(By.CSS_SELECTOR, "#frame-scroll tr[aria-rowindex]").click()
        inspector.wait_for(lambda: "<b>bold</b>" in inspector.text("payload-text"), "the payload")
        inspector.driver.find_element(By.CSS_SELECTOR, "[aria-rowindex='7']").click()
        inspector.wait_for(
            lambda: "of which the first 64 KiB are kept" in inspector.text("payload-title"), "part"
        )
        inspector.driver.find_element(By.CSS_SELECTOR, "#heads summary").click()
        assert "<b>bold</b>" in inspector.text("request-head")
        client.send_frame(CLOSE, b"\x0f\xa0" + b"<b>bold</b>")
        assert client.read_frame().opcode == CLOSE
    with connect(server, "/fails") as failing, pytest.raises(fastwsh.ConnectionClosed):
        failing.recv(timeout=5)
    inspector.wait_for(lambda: "4000 <b>bold</b>" in inspector.frames()[-2][2], "the close")
    inspector.go("log")
    inspector.wait_for(lambda: "<b>bold</b>" in inspector.text("log-lines"), "the log")
    inspector.go("connections")
    inspector.wait_for(lambda: len(inspector.rows("connection-scroll")) == 2, "the connections")
    inspector.write("find", "<b>bold</b>")
    inspector.wait_for(lambda: inspector.numbers() == ["1"], "the one with this path")
    inspector.go("overview")
    inspector.wait_for(lambda: "/<b>bold</b>" in inspector.text("handlers"), "the handlers")
    script = "return document.querySelectorAll('main b, main img, main script').length"
    assert inspector.driver.execute_script(script) == 0
    assert inspector.driver.get_log("browser") == []
    server.take_errors()


def test_everything_can_be_reached_by_keys(inspector: InspectorPage, server: WsServer):
    keys = ActionChains(inspector.driver)

    def press(*pressed: str) -> None:
        for key in pressed:
            keys.send_keys(key).perform()

    def focused() -> str:
        script = "const it = document.activeElement; return it.id || it.textContent.trim()"
        found: str = inspector.driver.execute_script(script)
        return found

    def tab_to(name: str) -> None:
        for _ in range(60):
            press(Keys.TAB)
            if focused().startswith(name):
                return
        raise AssertionError(f"{name} is not reached")

    with connect(server, "/echo?keys") as client:
        for text in ("one", '{"a": 1}'):
            client.send(text)
            client.recv(timeout=5)
        press(Keys.TAB)
        assert focused() == "Skip to the content"
        press(Keys.ENTER)
        assert focused() == "main"
        inspector.driver.execute_script("document.activeElement.blur()")
        tab_to("Connections")
        press(Keys.ENTER)
        inspector.wait_for(lambda: inspector.numbers() == ["1"], "the connection")
        press("/")
        assert focused() == "find"
        tab_to("connection-scroll")
        press(Keys.END, Keys.HOME, Keys.ENTER)
        inspector.wait_for(lambda: len(inspector.frames()) == 4, "the frames")
        tab_to("frame-scroll")
        press(Keys.HOME, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ENTER)
        inspector.wait_for(lambda: inspector.text("payload-text") == '{"a": 1}', "the payload")
        tab_to("JSON")
        press(Keys.SPACE)
        assert '"a": 1' in inspector.text("payload-text").splitlines()[1]
        tab_to("poke-data")
        press("by keys")
        keys.key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()
        assert client.recv(timeout=5) == "by keys"
        tab_to("poke-preset")
        press("a reserved", Keys.TAB, Keys.TAB)
        assert focused() == "Send raw"
        press(Keys.ENTER)
        inspector.wait_for(lambda: "reserved opcode" in inspector.text("poke-result"), "the frame")
        inspector.wait_for(lambda: len(inspector.rows("frame-scroll")) >= 8, "the notes")
        press(Keys.ESCAPE)
        assert not inspector.element("payload").is_displayed()
        press(Keys.ESCAPE)
        inspector.wait_for(lambda: inspector.element("find").is_displayed(), "the way back")
