"""The console as its user has it: fields, buttons, and the list of frames."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from browser.page import Page
from wire import DEADLINE_SECONDS

_READ_ENTRIES = """
return [...document.querySelectorAll("#entries > li")].map((entry) => [
  entry.dataset.source, entry.querySelector(".arrow").textContent,
  ...["type", "size", "preview", "time"].map((name) => entry.querySelector("." + name).textContent),
]);
"""


@dataclass(frozen=True)
class Entry:
    """One line of the list of frames."""

    source: str
    arrow: str
    type: str
    size: str
    preview: str
    time: str

    @property
    def frame(self) -> tuple[str, str, str, str]:
        """What is the same in every run."""
        return self.arrow, self.type, self.size, self.preview


class ConsolePage(Page):
    """The page in the browser's current tab."""

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Wait until a condition holds; the failure says what did not happen, and what did."""
        wait = WebDriverWait(self.driver, DEADLINE_SECONDS, poll_frequency=0.05)
        try:
            wait.until(lambda _: condition())
        except Exception as error:
            entries = "\n".join(map(str, self.entries()))
            raise AssertionError(f"{what} did not happen; the frames are:\n{entries}") from error

    def wait_for_text(self, element_id: str, text: str) -> None:
        """Wait until an element shows this text."""
        self.wait_for(lambda: text in self.text(element_id), f"{text!r} in #{element_id}")

    def connect(self, url: str | None = None, protocols: str = "") -> None:
        """Press Connect and wait until the connection is open."""
        self.try_to_connect(url, protocols)
        self.wait_for_text("state", "Connected")

    def try_to_connect(self, url: str | None = None, protocols: str = "") -> None:
        """Press Connect."""
        if url is not None:
            self.write("url", url)
        self.write("protocols", protocols)
        self.click("connect")

    def send(self, text: str) -> None:
        """Write a text and press Send."""
        self.write("message", text)
        self.click("send")

    def send_file(self, path: Path) -> None:
        """Choose a file, as the dialogue behind "Send file" does."""
        self.element("file").send_keys(str(path))

    def entries(self) -> list[Entry]:
        return [Entry(*cells) for cells in self.driver.execute_script(_READ_ENTRIES)]

    def frames(self) -> list[tuple[str, str, str, str]]:
        """Arrow, type, size and preview of the messages and closes, without the other events."""
        return [entry.frame for entry in self.entries() if entry.arrow != "•"]

    def wait_for_frame(self, *frame: str) -> None:
        """Wait for a frame with this arrow, type, size and preview."""
        self.wait_for(lambda: frame in self.frames(), f"frame {frame}")

    def unfold(self, frame: tuple[str, str, str, str]) -> str:
        """Click on a frame and return its whole content."""
        frames = [entry.frame for entry in self.entries()]
        item = self.driver.find_elements(By.CSS_SELECTOR, "#entries > li")[frames.index(frame)]
        item.find_element(By.TAG_NAME, "summary").click()
        self.wait_for(lambda: item.find_elements(By.TAG_NAME, "pre"), "unfolding")
        return item.find_element(By.TAG_NAME, "pre").text
