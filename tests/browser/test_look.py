"""Labels, colours, widths, and that the pages load nothing from elsewhere."""

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

from browser import axe
from browser.conftest import EXAMPLES
from browser.console_page import ConsolePage
from conftest import Server
from fastwsh.testing import running_server

# WCAG 2 contrast of an element's text with the nearest background behind it.
_CONTRAST = """
const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (colour) => channels(colour).slice(0, 3)
  .map((value) => value / 255)
  .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
  .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
let behind = arguments[0];
while (channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
const [dark, light] = [getComputedStyle(arguments[0]).color,
  getComputedStyle(behind).backgroundColor].map(luminance).sort((a, b) => a - b);
return (light + 0.05) / (dark + 0.05);
"""


def emulate_scheme(browser: Chrome, scheme: str) -> None:
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def emulate_width(browser: Chrome, width: int) -> None:
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def test_everything_that_can_be_used_has_a_name(console: ConsolePage) -> None:
    for panel in ("console", "chat", "clock", "upload"):
        console.click(f"tab-{panel}")
        controls = console.driver.find_elements(
            By.CSS_SELECTOR, "button, input:not([type=file]), textarea, a, [role=log], [role=tab]"
        )
        for control in controls:
            if control.is_displayed():
                assert control.accessible_name, control.get_attribute("outerHTML")


def test_loads_nothing_from_elsewhere(console: ConsolePage, server: Server) -> None:
    loaded = console.driver.execute_script(
        "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert len(loaded) > 5
    for url in loaded:
        assert url.startswith((server.url("/", scheme="http"), "data:"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable(console: ConsolePage, server: Server, scheme: str) -> None:
    emulate_scheme(console.driver, scheme)
    console.try_to_connect("ws://")
    console.wait_for_text("notice", "invalid")
    console.connect(server.url("/echo"))
    console.send("Hello")
    console.wait_for_frame("↓", "text", "5 B", "Hello")
    selectors = ["h1", "h1 span", "label", ".hint", ".state", ".tabs button", "#send", "#connect"]
    selectors += [".chips button", ".entry .time", ".entry .preview", ".entry .type", ".totals dt"]
    selectors += ["#sent-messages", "#received-messages", ".entry.sent .arrow"]
    for selector in selectors:
        for element in console.driver.find_elements(By.CSS_SELECTOR, selector):
            if element.is_displayed() and element.is_enabled():
                contrast = console.driver.execute_script(_CONTRAST, element)
                assert contrast >= 4.5, (selector, element.text, contrast)


def test_follows_the_colour_scheme(console: ConsolePage) -> None:
    colours = set()
    for scheme in ("light", "dark"):
        emulate_scheme(console.driver, scheme)
        body = console.driver.find_element(By.TAG_NAME, "body")
        colours.add(body.value_of_css_property("background-color"))
    assert len(colours) == 2


@pytest.mark.parametrize("width", [320, 768, 1280, 1920])
def test_fits_the_window(console: ConsolePage, width: int) -> None:
    emulate_width(console.driver, width)
    console.connect()
    console.send("a text without any space in it".replace(" ", "") * 40)
    console.wait_for(lambda: len(console.frames()) == 2, "the echo")
    for panel in ("console", "chat", "clock", "upload"):
        console.click(f"tab-{panel}")
        overflow = console.driver.execute_script(
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert overflow == 0, panel


def test_works_when_opened_from_disk(browser: Chrome, server: Server) -> None:
    browser.get((EXAMPLES / "index.html").as_uri())
    console = ConsolePage(browser)
    assert console.element("url").get_property("value") == "ws://localhost:9998/echo"
    console.connect(server.url("/echo"))
    console.send("from a file")
    console.wait_for_frame("↓", "text", "11 B", "from a file")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(console: ConsolePage, server: Server, scheme: str, width: int) -> None:
    emulate_scheme(console.driver, scheme)
    emulate_width(console.driver, width)
    axe.load(console.driver)
    console.connect(server.url("/echo"))
    console.send("Hello")
    console.wait_for_frame("↓", "text", "5 B", "Hello")
    for panel in ("console", "chat", "clock", "upload"):
        console.click(f"tab-{panel}")
        assert axe.violations(console.driver) == [], panel
    console.driver.get(server.url("/ws_client.html", scheme="http"))
    axe.load(console.driver)
    assert axe.violations(console.driver) == []
    assert "fastwsh" in console.driver.find_element(By.TAG_NAME, "h1").text


def test_all_pages_have_the_same_colours(console: ConsolePage, server: Server) -> None:
    script = """const style = getComputedStyle(document.body);
        return [style.backgroundColor, style.color, style.fontFamily]"""
    with running_server(inspect=True) as inspected:
        looks = set()
        for scheme in ("light", "dark"):
            emulate_scheme(console.driver, scheme)
            pages = [server.url(path, scheme="http") for path in ("/", "/ws_client.html")]
            if scheme == "light":
                pages.append(inspected.inspector_url or "")
            else:
                pages.append((inspected.inspector_url or "").partition("?")[0])
            found = set()
            for page in pages:
                console.driver.get(page)
                found.add(tuple(console.driver.execute_script(script)))
            assert len(found) == 1
            looks |= found
        assert len(looks) == 2
