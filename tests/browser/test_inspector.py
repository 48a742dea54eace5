"""The page of `--inspect` in Chromium: each view, everything that it sends, and its looks."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

import fastwsh
from browser import axe
from browser.inspector_page import InspectorPage, connect, echoing
from fastwsh.testing import WsServer
from wire import BINARY, CLOSE, PING, TEXT, Client, Frame


@pytest.fixture
def server() -> Iterator[WsServer]:
    with echoing() as running:
        yield running


@pytest.fixture
def inspector(browser: Chrome, server: WsServer) -> InspectorPage:
    return InspectorPage(browser, server.inspector_url)


class TestViews:
    def test_the_overview(self, inspector: InspectorPage, server: WsServer):
        server.handler("/fails")(lambda _: 1 / 0)
        with connect(server) as client:
            for _ in range(5):
                client.send("hello")
                assert client.recv(timeout=5) == "hello"
            with connect(server, "/fails") as failing, pytest.raises(fastwsh.ConnectionClosed):
                failing.recv(timeout=5)
            inspector.wait_for(lambda: inspector.text("tile-open") == "1", "one connection")
            inspector.wait_for(lambda: inspector.text("tile-errors") == "1", "one failure")
        inspector.wait_for(lambda: "1000 by client" in inspector.text("closes"), "the close")
        assert "/echo a thread --concurrency is threads 0" in inspector.text("handlers")
        assert inspector.text("latency")
        inspector.wait_for(
            lambda: len(inspector.driver.find_elements(By.CSS_SELECTOR, ".plot canvas")) == 2,
            "the plots",
        )
        assert "received" in (inspector.element("plot-messages").get_attribute("aria-label") or "")
        inspector.go("log")
        inspector.wait_for(lambda: "division by zero" in inspector.text("log-lines"), "the error")
        server.take_errors()

    def test_connections_are_sorted_found_and_opened_by_keys(
        self, inspector: InspectorPage, server: WsServer
    ):
        with ExitStack() as stack:
            clients = [stack.enter_context(connect(server, f"/echo?n={n}")) for n in range(30)]
            clients[7].send("busy")
            assert clients[7].recv(timeout=5) == "busy"
            inspector.go("connections")
            inspector.wait_for(lambda: "30 connections" in inspector.text("matching"), "all")
            inspector.wait_for(
                lambda: inspector.numbers()[:1] == ["30"],
                "the newest first",
            )
            head = inspector.driver.find_elements(By.CSS_SELECTOR, "#connection-head button")
            next(button for button in head if "messages" in button.text).click()
            inspector.wait_for(
                lambda: inspector.numbers()[:1] == ["8"],
                "order",
            )
            find = inspector.element("find")
            find.send_keys("n=7")
            inspector.wait_for(lambda: "1 connection " in inspector.text("matching"), "the filter")
            find.send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
            inspector.wait_for(lambda: "30 connections" in inspector.text("matching"), "all again")
            first = "#connection-scroll tr[aria-rowindex='2']"
            inspector.driver.find_element(By.CSS_SELECTOR, first).send_keys(
                Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER
            )
            inspector.wait_for(
                lambda: "#8 /echo?n=7" in inspector.text("connection-title"), "the connection"
            )
            inspector.element("main").send_keys(Keys.ESCAPE)
            inspector.wait_for(lambda: inspector.element("find").is_displayed(), "the way back")

    def test_a_connection_and_its_frames(self, inspector: InspectorPage, server: WsServer):
        with connect(server, headers={"Cookie": "session=secret"}) as client:
            for message in ('{"a": [1, 2]}', b"\x00\xff", "grüße"):
                client.send(message)
                client.recv(timeout=5)
            inspector.open(1)
            expected = [
                *(("received", "text", '{"a": [1, 2]}'), ("sent", "text", '{"a": [1, 2]}')),
                *(("received", "binary", "00 ff"), ("sent", "binary", "00 ff")),
                *(("received", "text", "grüße"), ("sent", "text", "grüße")),
            ]
            inspector.wait_for(lambda: inspector.frames() == expected, "the frames")
            rows = inspector.driver.find_elements(
                By.CSS_SELECTOR, "#frame-scroll tr[aria-rowindex]"
            )
            rows[0].click()
            inspector.wait_for(lambda: inspector.text("payload-text") == '{"a": [1, 2]}', "text")
            as_json, as_hex = (
                inspector.driver.find_element(By.CSS_SELECTOR, f"[data-as={kind}]")
                for kind in ("json", "hex")
            )
            as_json.click()
            assert inspector.text("payload-text").splitlines()[1:3] == ['  "a": [', "    1,"]
            as_hex.click()
            assert inspector.text("payload-text").startswith("000000  7b 22 61 22")
            inspector.click("payload-close")
            Select(inspector.element("frame-direction")).select_by_value("in")
            inspector.write("frame-find", "GRÜ")
            inspector.wait_for(lambda: inspector.frames() == [expected[4]], "the filter")
            inspector.element("frame-find").send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
            Select(inspector.element("frame-direction")).select_by_value("")
            inspector.wait_for(lambda: inspector.frames() == expected, "all frames")
            inspector.click("pause")
            client.send("while paused")
            client.recv(timeout=5)
            inspector.wait_for(
                lambda: "4 messages" in inspector.text("connection-facts"), "the numbers"
            )
            assert inspector.frames() == expected
            inspector.click("pause")
            inspector.wait_for(lambda: len(inspector.frames()) == 8, "the rest")
            inspector.driver.find_element(By.CSS_SELECTOR, "#heads summary").click()
            assert "cookie: [redacted]" in inspector.text("request-head").lower()
            assert "101" in inspector.text("response-head")
            inspector.click("show-secrets")
            inspector.wait_for(lambda: "secret" in inspector.text("request-head"), "the secret")


class TestPokes:
    def test_messages_pings_and_raw_bytes(self, inspector: InspectorPage, server: WsServer):
        with Client(server.port) as client:
            client.handshake("/echo")
            inspector.open(1)
            inspector.write("poke-data", "grüße")
            inspector.do("text")
            assert client.read_frame() == Frame(TEXT, "grüße".encode())
            inspector.do("ping")
            assert client.read_frame() == Frame(PING, "grüße".encode())
            inspector.do("binary")
            assert "no bytes in hex" in inspector.text("poke-result")
            inspector.write("poke-data", "00 ff")
            inspector.do("binary")
            assert client.read_frame() == Frame(BINARY, b"\x00\xff")
            inspector.write("poke-raw", "83 02 68 69")
            inspector.do("raw")
            assert client.read_frame() == Frame(3, b"hi")
            inspector.wait_for(
                lambda: ("sent", "text (by hand)", "grüße") in inspector.frames(), "the frame"
            )
            inspector.go("log")
            inspector.wait_for(
                lambda: "#1: sent raw bytes: 83 02 68 69" in inspector.text("log-lines"), "the log"
            )

    def test_each_wrong_frame_reaches_the_client(self, inspector: InspectorPage, server: WsServer):
        count = len(Select(inspector.element("poke-preset")).options)
        assert count > 10
        with Client(server.port) as client:
            client.handshake("/echo")
            inspector.open(1)
            for index in range(1, count):
                select = Select(inspector.element("poke-preset"))
                option = select.options[index]
                title, value = option.text, option.get_attribute("value") or ""
                select.select_by_index(index)
                inspector.do("raw")
                assert f"sent {title}: " in inspector.text("poke-result")
                assert client.read(len(bytes.fromhex(value))) == bytes.fromhex(value)

    def test_a_close(self, inspector: InspectorPage, server: WsServer):
        with Client(server.port) as client:
            client.handshake("/echo")
            inspector.open(1)
            inspector.write("close-code", "4001")
            inspector.write("close-reason", "by hand")
            inspector.do("close")
            frame = client.read_frame()
            assert (frame.opcode, frame.payload) == (CLOSE, b"\x0f\xa1by hand")
            client.send_close(4001)
            inspector.wait_for(
                lambda: inspector.text("connection-state") == "4001 by server", "the end"
            )
            button = inspector.driver.find_element(By.CSS_SELECTOR, "[data-do=text]")
            assert not button.is_enabled()

    def test_stall_throttle_and_full_speed(self, inspector: InspectorPage, server: WsServer):
        with Client(server.port) as client:
            client.handshake("/echo")
            inspector.open(1)
            inspector.do("stall")
            client.send_frame(TEXT, b"not read yet")
            inspector.write("poke-data", "x" * 500)
            inspector.do("text")
            inspector.wait_for(
                lambda: "Waits to be sent\n504 B" in inspector.text("connection-facts"), "the stall"
            )
            assert inspector.text("connection-state") == "stalled"
            inspector.write("rate", "2000")
            inspector.do("throttle")
            assert client.read_frame() == Frame(TEXT, b"x" * 500)
            inspector.wait_for(
                lambda: inspector.text("connection-state") == "throttled", "the state"
            )
            inspector.do("full")
            assert client.read_frame() == Frame(TEXT, b"not read yet")
            inspector.wait_for(lambda: inspector.text("connection-state") == "open", "the state")

    @pytest.mark.parametrize("action", ["reset", "half-close", "drop"])
    def test_ends(self, inspector: InspectorPage, server: WsServer, action: str):
        with Client(server.port) as client:
            client.handshake("/echo")
            inspector.open(1)
            inspector.do(action)
            if action == "drop":
                client.send_frame(TEXT, b"the first from here on")
            assert client.read_to_end() == b""
        inspector.wait_for(lambda: "by server" in inspector.text("connection-state"), "the end")

    def test_what_is_kept_is_downloaded(
        self, inspector: InspectorPage, server: WsServer, tmp_path: Path
    ):
        inspector.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
        )
        with connect(server) as client:
            client.send("hello")
            assert client.recv(timeout=5) == "hello"
            inspector.open(1)
            inspector.click("export-one")
            inspector.wait_for((tmp_path / "connection-1.har").exists, "the HAR file")
            inspector.click("export-test")
            inspector.wait_for((tmp_path / "test_echo.py").exists, "the test")
            inspector.go("connections")
            inspector.wait_for(lambda: inspector.element("export-all").is_displayed(), "the table")
            inspector.click("export-all")
            inspector.wait_for((tmp_path / "connections.har").exists, "the HAR file of all")
        (entry,) = json.loads((tmp_path / "connection-1.har").read_text())["log"]["entries"]
        assert [one["data"] for one in entry["_webSocketMessages"]] == ["hello", "hello"]


class TestLooks:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize("width", [1280, 400])
    def test_axe_finds_nothing(
        self, inspector: InspectorPage, server: WsServer, scheme: str, width: int
    ):
        driver = inspector.driver
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            # a colour that is half way to another has less contrast
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        axe.load(driver)
        with connect(server) as client, connect(server) as other:
            client.send("hello")
            client.recv(timeout=5)
            other.close()
            for view, ready in [
                ("overview", lambda: inspector.text("latency")),
                ("connections", lambda: len(inspector.rows("connection-scroll")) == 2),
                ("connection/1", lambda: len(inspector.frames()) == 2),
                ("log", lambda: inspector.text("log-lines")),
            ]:
                inspector.go(view)
                inspector.wait_for(ready, view)
                if view == "connection/1":
                    driver.find_element(By.CSS_SELECTOR, "#heads summary").click()
                    driver.find_element(By.CSS_SELECTOR, "#frame-scroll tr[aria-rowindex]").click()
                    inspector.wait_for(lambda: inspector.text("payload-text"), "the payload")
                    inspector.do("ping")
                assert axe.violations(driver) == [], view
                overflow = driver.execute_script(
                    "return document.documentElement.scrollWidth - innerWidth"
                )
                assert overflow <= 0, view

    def test_nothing_is_loaded_from_elsewhere_and_nothing_goes_wrong(
        self, inspector: InspectorPage, server: WsServer
    ):
        with connect(server):
            for view in ("connections", "connection/1", "log", "overview"):
                inspector.go(view)
            loaded = inspector.driver.execute_script(
                "return performance.getEntriesByType('resource').map((entry) => entry.name)"
            )
            assert len(loaded) > 8
            base = inspector.driver.current_url.partition("#")[0]
            assert "token" not in base
            assert all(url.startswith((base, base.replace("http", "ws"))) for url in loaded)
        assert inspector.driver.get_log("browser") == []

    def test_the_theme_can_be_chosen(self, inspector: InspectorPage):
        body = inspector.driver.find_element(By.TAG_NAME, "body")
        colours = []
        for theme in ("light", "dark"):
            inspector.click("theme")
            assert inspector.text("theme") == f"Theme: {theme}"
            colours.append(body.value_of_css_property("background-color"))
        assert colours[0] != colours[1]
        inspector.click("theme")


def test_many_connections_and_messages_are_few_elements(inspector: InspectorPage, server: WsServer):
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server)) for _ in range(300)]
        inspector.go("connections")
        inspector.wait_for(lambda: "300 connections" in inspector.text("matching"), "all")
        scroll = "document.getElementById(arguments[0]).scrollTop = arguments[1]"
        inspector.driver.execute_script(scroll, "connection-scroll", 1_000_000)
        inspector.wait_for(lambda: inspector.numbers()[-1:] == ["1"], "the last")
        assert len(inspector.rows("connection-scroll")) < 80
        inspector.open(1)
        for number in range(3000):
            clients[0].send(f"message {number}")
            clients[0].recv(timeout=5)
        inspector.wait_for(lambda: "6,000 lines" in inspector.text("frame-count"), "all frames")
        inspector.wait_for(
            lambda: inspector.frames()[-1:] == [("sent", "text", "message 2999")], "the last"
        )
        assert len(inspector.rows("frame-scroll")) < 80
