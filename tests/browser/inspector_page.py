"""The page of `--inspect` as its user has it: views, tables and buttons."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By

import fastwsh
from browser.page import Page
from fastwsh.testing import Connection, WsServer, running_server
from wire import DEADLINE_SECONDS


class InspectorPage(Page):
    """The page, opened in a browser."""

    def __init__(self, driver: Chrome, url: str | None) -> None:
        super().__init__(driver)
        assert url is not None
        driver.get(url)
        self.wait_for(lambda: self.text("feed-state") == "live", "the feed")

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, (
                what,
                self.text("frame-count"),
                self.text("matching"),
            )
            time.sleep(0.02)

    def go(self, view: str) -> None:
        self.driver.execute_script("location.hash = arguments[0]", view)

    def open(self, number: int) -> None:
        self.go(f"connection/{number}")
        self.wait_for(lambda: self.text("connection-state") == "open", "the connection")

    def rows(self, element_id: str) -> list[list[str]]:
        """The cells of the rows in sight."""
        script = """return [...document.querySelectorAll(`#${arguments[0]} tr[aria-rowindex]`)]
            .map((row) => [...row.children].map((cell) => cell.innerText.trim()))"""
        found: list[list[str]] = self.driver.execute_script(script, element_id)
        return found

    def numbers(self) -> list[str]:
        """The connections in sight."""
        return [cells[0] for cells in self.rows("connection-scroll") if cells]

    def frames(self) -> list[tuple[str, ...]]:
        """Direction, type and payload of the frames in sight; notes alone."""
        return [
            (cells[3],) if cells[2] == "note" else (cells[1].split()[-1], cells[2], cells[6])
            for cells in self.rows("frame-scroll")
        ]

    def do(self, action: str) -> None:
        """Press a button, and wait for what the page says of it."""
        self.driver.execute_script("document.getElementById('poke-result').textContent = ''")
        self.driver.find_element(By.CSS_SELECTOR, f"[data-do={action}]").click()
        self.wait_for(lambda: self.text("poke-result"), f"the result of {action}")


def connect(server: WsServer, path: str = "/echo", **options: Any) -> Any:
    return fastwsh.connect(server.url_for(path), compression=False, **options)


@contextmanager
def echoing() -> Iterator[WsServer]:
    """A server with an inspector and the handler /echo."""
    with running_server(inspect=0) as running:

        @running.handler("/echo")
        def echo(connection: Connection) -> None:
            for message in connection:
                connection.send(message)

        yield running
