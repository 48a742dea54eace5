"""The console: connecting, sending, what is shown of it, and what failures look like."""

import re
import signal
import socket
from pathlib import Path

from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from browser.conftest import EXAMPLES
from browser.console_page import ConsolePage
from conftest import Server, StartServer, WriteHandler


def test_offers_every_example_of_its_server(console: ConsolePage, server: Server) -> None:
    assert console.element("url").get_property("value") == server.url("/echo")
    chips = console.element("handlers").find_elements(By.TAG_NAME, "button")
    names = {path.name.removesuffix("_wsh.py") for path in EXAMPLES.glob("*_wsh.py")}
    assert {chip.text for chip in chips} == names
    for chip in chips:
        chip.click()
        assert console.element("url").get_property("value") == server.url(f"/{chip.text}")
        assert chip.get_attribute("aria-pressed") == "true"
        assert console.text("hint")


def test_shows_text_in_both_directions(console: ConsolePage) -> None:
    console.connect()
    console.send("Grüße, 世界 👋")
    console.wait_for_frame("↓", "text", "20 B", "Grüße, 世界 👋")
    assert console.frames() == [
        ("↑", "text", "20 B", "Grüße, 世界 👋"),
        ("↓", "text", "20 B", "Grüße, 世界 👋"),
    ]
    assert [entry.type for entry in console.entries()] == ["open", "open", "text", "text"]
    for entry in console.entries():
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", entry.time)
        assert entry.source == "console"
    for direction in ("sent", "received"):
        assert console.text(f"{direction}-messages") == "1"
        assert console.text(f"{direction}-bytes") == "20 B"
    assert not [line for line in console.driver.get_log("browser") if line["level"] == "SEVERE"]


def test_never_takes_text_for_markup(console: ConsolePage) -> None:
    attack = "<img src=x onerror='document.title=\"attacked\"'><b>bold</b>"
    console.connect()
    console.send(attack)
    frame = ("↓", "text", f"{len(attack)} B", attack)
    console.wait_for_frame(*frame)
    assert console.unfold(frame) == attack
    assert not console.driver.find_elements(By.CSS_SELECTOR, "#entries img, #entries b")
    assert console.driver.title == "fastwsh console"


def test_unfolds_a_long_text(console: ConsolePage) -> None:
    text = "0123456789" * 100
    console.connect()
    console.send(text)
    frame = ("↓", "text", "1000 B", text[:300] + "…")
    console.wait_for_frame(*frame)
    assert console.unfold(frame) == text


def test_sends_a_file_as_binary(console: ConsolePage, tmp_path: Path) -> None:
    path = tmp_path / "bytes.bin"
    path.write_bytes(bytes(range(256)) * 12)
    console.connect()
    console.send_file(path)
    preview = bytes(range(32)).hex(" ") + " …"
    console.wait_for_frame("↓", "binary", "3.00 KiB", preview)
    assert ("↑", "binary", "3.00 KiB", preview) in console.frames()
    dump = console.unfold(("↓", "binary", "3.00 KiB", preview)).splitlines()
    assert dump[4] == "000040  40 41 42 43 44 45 46 47 48 49 4a 4b 4c 4d 4e 4f  @ABCDEFGHIJKLMNO"
    assert dump[-1] == "… 1024 more bytes are not kept"


def test_negotiates_a_subprotocol(console: ConsolePage) -> None:
    console.connect(protocols="chat.v2, chat.v1")
    assert console.text("state") == "Connected · chat.v2"


def test_disconnects_with_1000(console: ConsolePage) -> None:
    console.connect()
    assert console.text("connect") == "Disconnect"
    console.click("connect")
    console.wait_for_text("state", "Closed · 1000 (normal closure)")
    assert console.text("connect") == "Connect"
    assert console.frames() == [
        ("↑", "close", "", "1000 (normal closure)"),
        ("↓", "close", "", "1000 (normal closure)"),
    ]


def test_disconnects_with_a_code_and_a_reason(console: ConsolePage, server: Server) -> None:
    console.connect(server.url("/close"))  # whose passive hook answers with the same
    console.driver.find_element(By.CSS_SELECTOR, "details.more summary").click()
    console.write("close-code", "4321")
    console.write("close-reason", "good bye")
    console.click("connect")
    console.wait_for_text("state", "Closed · 4321 (application's own) “good bye”")
    assert console.frames() == [
        ("↑", "close", "", "4321 (application's own) “good bye”"),
        ("↓", "close", "", "4321 (application's own) “good bye”"),
    ]


def test_refuses_a_code_that_a_page_may_not_send(console: ConsolePage) -> None:
    console.connect()
    console.driver.find_element(By.CSS_SELECTOR, "details.more summary").click()
    console.write("close-code", "1001")
    console.click("connect")
    console.wait_for_text("notice", "A page may close with 1000 and with 3000 to 4999.")
    assert console.text("state") == "Connected"


def test_shows_the_servers_close_code_and_reason(console: ConsolePage, server: Server) -> None:
    console.connect(server.url("/close"))
    console.send("4001 see you tomorrow")
    console.wait_for_text("state", "Closed · 4001 (application's own) “see you tomorrow”")
    assert console.frames()[-1] == (
        "↓",
        "close",
        "",
        "4001 (application's own) “see you tomorrow”",
    )
    assert not console.element("send").is_enabled()


def test_connects_again_after_a_close(console: ConsolePage) -> None:
    for _ in range(2):
        console.connect()
        console.click("connect")
        console.wait_for_text("state", "Closed · 1000")


def test_measures_the_latency_of_an_echo(console: ConsolePage) -> None:
    console.connect()
    console.click("measure")
    console.wait_for_text("latency", " ms")
    assert re.fullmatch(r"\d+(\.\d+)? ms", console.text("latency"))
    assert console.frames() == []  # the probes do not clutter the list
    console.wait_for(
        lambda: [entry.type for entry in console.entries()][-1] == "latency", "the summary"
    )
    summary = console.entries()[-1].preview
    assert re.fullmatch(r"[\d.]+ ms round trip, median of 20 \([\d.]+ ms to [\d.]+ ms\)", summary)


def test_says_that_there_is_no_echo_to_measure(console: ConsolePage, server: Server) -> None:
    console.connect(server.url("/clock"))
    console.click("measure")
    console.wait_for_text("latency", "no echo")


def test_explains_a_404(console: ConsolePage, server: Server) -> None:
    console.try_to_connect(server.url("/nowhere"))
    console.wait_for_text(
        "notice", "No handler answers at /nowhere: the server says 404 Not Found."
    )
    assert console.text("state") == "Not connected"
    entry = console.entries()[-1]
    assert entry.type == "error"
    assert entry.preview.endswith("404 Not Found. Close code 1006.")


def test_explains_that_a_file_is_no_handler(console: ConsolePage, server: Server) -> None:
    console.try_to_connect(server.url("/ws_client.html"))
    console.wait_for_text("notice", "/ws_client.html is a page or a file, not a WebSocket handler.")


def test_explains_a_refused_origin(console: ConsolePage, server: Server) -> None:
    # The page comes from 127.0.0.1, so its origin is not that of localhost.
    console.try_to_connect(f"ws://localhost:{server.port}/origin_check")
    origin = server.url("", scheme="http")
    console.wait_for_text(
        "notice",
        f"localhost:{server.port} is there, but it refused the connection. "
        f"It may not accept this page's origin ({origin}).",
    )


def test_is_let_in_as_a_page_of_the_same_host(console: ConsolePage, server: Server) -> None:
    console.connect(server.url("/origin_check"))
    origin = server.url("", scheme="http")
    welcome = f"Welcome, page from {origin}"
    console.wait_for_frame("↓", "text", f"{len(welcome)} B", welcome)


def test_explains_a_refused_subprotocol(console: ConsolePage, server: Server) -> None:
    console.try_to_connect(server.url("/clock"), protocols="tea")
    console.wait_for_text("notice", "or the subprotocols offered (tea)")


def test_explains_that_nobody_is_there(console: ConsolePage) -> None:
    with socket.socket() as taken:  # bound, but not listening
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        console.try_to_connect(f"ws://{host}/echo")
        console.wait_for_text("notice", f"Nobody answers at {host}.")


def test_explains_a_url_that_is_none(console: ConsolePage) -> None:
    console.try_to_connect("ws://")
    console.wait_for_text("notice", "invalid")
    assert console.text("state") == "Disconnected"


def test_explains_a_lost_connection(console: ConsolePage, server: Server) -> None:
    console.connect()
    server.send_signal(signal.SIGKILL)
    console.wait_for_text("notice", "The connection was lost: it ended without a close frame.")
    assert console.text("state") == "Closed · 1006 (connection lost)"


def test_shows_that_the_server_goes_away(console: ConsolePage, server: Server) -> None:
    console.connect()
    server.send_signal(signal.SIGTERM)
    console.wait_for_text("state", "Closed · 1001 (going away)")


def test_counts_visits_by_cookie(console: ConsolePage, server: Server) -> None:
    for visit in (1, 2, 3):
        console.connect(server.url("/cookie"))
        console.wait_for_frame("↓", "text", "14 B", f"Visit number {visit}")
        console.click("connect")
        console.wait_for_text("state", "Closed · 1000")


def test_shows_what_is_buffered(
    browser: Chrome,
    start_server: StartServer,
    write_handler: WriteHandler,
    handler_root: Path,
    tmp_path: Path,
) -> None:
    write_handler(
        "hold",
        """\
import threading

go = threading.Event()

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    if request.ws_resource.endswith("?go"):
        go.set()
    go.wait()
    while request.ws_stream.receive_message() is not None:
        pass
""",
    )
    server = start_server("-d", EXAMPLES, "-w", handler_root)
    browser.get(server.url("/", scheme="http"))
    console = ConsolePage(browser)
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate(48 << 20)  # more than the buffers between browser and handler hold
    console.connect(server.url("/hold"))
    console.send_file(large)
    console.wait_for_text("buffered", " MiB")
    with server.connect() as other:
        other.handshake("/hold?go")
        console.wait_for(lambda: console.text("buffered") == "0 B", "sending what was buffered")


def test_follows_the_newest_frame_until_scrolled_back(console: ConsolePage) -> None:
    at_end = (
        "const l = document.getElementById('log'); "
        "return l.scrollTop + l.clientHeight >= l.scrollHeight - 1"
    )
    console.connect()
    for number in range(30):
        console.send(f"message {number}")
    console.wait_for_frame("↓", "text", "10 B", "message 29")
    assert console.driver.execute_script(at_end)
    console.element("log").send_keys(Keys.HOME)
    console.wait_for(lambda: not console.element("autoscroll").is_selected(), "pausing")
    console.send("one more")
    console.wait_for_frame("↓", "text", "8 B", "one more")
    assert not console.driver.execute_script(at_end)
    console.click("autoscroll")
    assert console.driver.execute_script(at_end)


def test_clears_the_list(console: ConsolePage) -> None:
    console.connect()
    console.send("gone soon")
    console.wait_for_frame("↓", "text", "9 B", "gone soon")
    assert not console.element("empty").is_displayed()
    console.click("clear")
    assert console.entries() == []
    assert console.element("empty").is_displayed()
    assert console.text("sent-messages") == "1"


def test_can_be_used_by_keyboard(console: ConsolePage) -> None:
    console.element("url").send_keys(Keys.ENTER)
    console.wait_for_text("state", "Connected")
    # The focus is in the message already.
    message = console.driver.switch_to.active_element
    assert message == console.element("message")
    message.clear()
    message.send_keys("two", Keys.SHIFT + Keys.ENTER, Keys.NULL, "lines", Keys.ENTER)
    console.wait_for_frame("↓", "text", "9 B", "two\nlines")
    message.send_keys(Keys.ARROW_UP)
    assert message.get_property("value") == "two\nlines"
