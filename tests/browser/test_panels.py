"""The tabs, and the panels for clock and upload."""

import hashlib
from pathlib import Path

from selenium.webdriver import Keys

from browser.console_page import ConsolePage


def test_tabs_move_with_the_arrow_keys(console: ConsolePage) -> None:
    console.element("tab-console").send_keys(Keys.ARROW_RIGHT)
    chat = console.driver.switch_to.active_element
    assert chat.text == "Chat"
    assert console.element("panel-chat").is_displayed()
    assert not console.element("panel-console").is_displayed()
    chat.send_keys(Keys.END)
    assert console.element("panel-upload").is_displayed()
    console.driver.refresh()
    assert console.element("panel-upload").is_displayed()


def test_clock_runs_until_stopped(console: ConsolePage) -> None:
    console.click("tab-clock")
    console.click("clock-toggle")
    console.wait_for_text("clock-state", "Running")
    console.wait_for(lambda: int(console.text("clock-ticks")) >= 3, "three ticks")
    pushed = [entry for entry in console.entries() if entry.source == "clock"]
    assert console.text("clock-time").count(":") == 2
    console.click("clock-toggle")
    console.wait_for_text("clock-state", "Stopped")
    assert len([entry for entry in pushed if entry.type == "text"]) >= 3
    assert console.frames()[-1] == ("↓", "close", "", "1000 (normal closure)")


def test_upload_shows_progress_and_hash(console: ConsolePage, tmp_path: Path) -> None:
    content = bytes(range(256)) * 40_000
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    console.click("tab-upload")
    # A progress bar moves too fast to be looked at: have the page note where it has been.
    console.driver.execute_script("""
        window.seen = [];
        new MutationObserver(() => seen.push(document.getElementById("upload-progress").value))
          .observe(document.getElementById("upload-percent"), { childList: true });
    """)
    console.element("upload-file").send_keys(str(path))
    console.wait_for_text("upload-state", "Complete")
    console.wait_for_text("upload-verdict", "✓ identical")
    assert console.text("upload-hash") == hashlib.sha256(content).hexdigest()
    assert console.text("upload-name") == "photo.jpg"
    assert console.text("upload-percent") == "100 %"
    assert console.text("upload-received") == "9.77 MiB of 9.77 MiB"
    assert console.text("upload-rate").endswith("/s")
    seen = console.driver.execute_script("return window.seen")
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert seen[-1] == 1
    assert console.frames()[-1] == ("↓", "close", "", "1000 (normal closure)")


def test_upload_of_an_empty_file(console: ConsolePage, tmp_path: Path) -> None:
    path = tmp_path / "empty"
    path.touch()
    console.click("tab-upload")
    console.element("upload-file").send_keys(str(path))
    console.wait_for_text("upload-state", "Complete")
    assert console.text("upload-hash") == hashlib.sha256(b"").hexdigest()
    assert console.text("upload-percent") == "100 %"


def test_upload_can_be_cancelled(console: ConsolePage, tmp_path: Path) -> None:
    path = tmp_path / "huge.bin"
    with path.open("wb") as file:
        file.truncate(2 << 30)
    console.click("tab-upload")
    console.element("upload-file").send_keys(str(path))
    console.wait_for_text("upload-percent", "1 %")
    console.click("upload-cancel")
    console.wait_for_text("upload-state", "Stopped")
    console.wait_for_text("upload-notice", "Stopped: 1000 (normal closure)")
