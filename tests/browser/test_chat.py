"""The chat panel: rooms at one process, at two workers, and at two servers over Redis."""

import json
import re
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, Keys
from selenium.webdriver.common.by import By

from backplane_support import redis_server
from browser.conftest import EXAMPLES
from browser.console_page import ConsolePage
from conftest import Server, StartServer
from example_client import connect, receive_json
from metrics_support import Metrics

SERVING = ("-d", EXAMPLES, "-w", EXAMPLES)


@dataclass
class Visitor:
    """A tab with the chat open."""

    page: ConsolePage
    tab: str

    def look(self) -> ConsolePage:
        """Have the tab before one's eyes."""
        self.page.driver.switch_to.window(self.tab)
        return self.page

    def join(self, name: str, room: str = "lobby") -> None:
        page = self.look()
        page.write("chat-name", name)
        page.write("chat-room", room)
        page.click("chat-enter")
        page.wait_for_text("chat-state", "Inside")

    def leave(self) -> None:
        self.look().click("chat-enter")
        self.page.wait_for_text("chat-state", "Outside")

    def say(self, text: str) -> None:
        self.look().element("chat-text").send_keys(text, Keys.ENTER)
        self.wait_for_line(text)

    def wait_for_line(self, text: str) -> None:
        self.look().wait_for_text("chat-lines", text)

    def wait_for_members(self, *names: str) -> None:
        page = self.look()
        page.wait_for(lambda: self.members() == sorted(names), f"{names} in the room")

    def members(self) -> list[str]:
        return sorted(self.page.text("chat-members").splitlines())

    def said(self) -> list[str]:
        """What was said, as it is shown."""
        script = """
            return [...document.querySelectorAll("#chat-lines .said .what")]
              .map((item) => item.textContent);
        """
        said: list[str] = self.look().driver.execute_script(script)
        return said


def visit(browser: Chrome, server: Server, *, first: bool = False) -> Visitor:
    """Open the chat in a new tab."""
    if not first:
        browser.switch_to.new_window("tab")
    browser.get(server.url("/", scheme="http"))
    page = ConsolePage(browser)
    page.click("tab-chat")
    return Visitor(page, browser.current_window_handle)


@contextmanager
def places(way: str, start_server: StartServer, folder: Path) -> Iterator[Sequence[Server]]:
    """The servers of two visitors who meet in a room."""
    if way == "process":
        yield [start_server(*SERVING)] * 2
    elif way == "workers":
        yield [start_server(*SERVING, "--workers", "2", "--metrics-port", "0")] * 2
    else:
        with redis_server(folder) as engine:
            both = [start_server(*SERVING, "--backplane", engine.url) for _ in range(2)]
            for server in both:
                server.log.wait_for("Connected to the backplane")
            yield both


@pytest.mark.parametrize("way", ["process", "workers", "servers"])
def test_visitors_meet(browser: Chrome, start_server: StartServer, tmp_path: Path, way: str):
    with places(way, start_server, tmp_path) as (here, there):
        ann = visit(browser, here, first=True)
        ann.join("ann")
        ann.say("is anybody here?")
        bob = visit(browser, there)
        bob.join("bob")
        # the kernel chooses the worker
        while way == "workers" and not is_spread(Metrics(here)):
            bob.leave()
            bob.join("bob")
        # what was said before, and who was there
        bob.wait_for_line("is anybody here?")
        bob.wait_for_members("ann", "bob")
        bob.say("hello <i>ann</i>")
        ann.wait_for_line("hello <i>ann</i>")
        assert not ann.page.element("chat-lines").find_elements(By.TAG_NAME, "i")
        ann.wait_for_members("ann", "bob")
        ann.say("hello bob")
        bob.wait_for_line("hello bob")
        browser.close()
        ann.wait_for_line("bob left")
        ann.wait_for_members("ann")
        lines = ann.page.text("chat-lines").splitlines()
        assert [line for line in lines if line not in ("bob joined", "bob left")] == [
            "ann joined",
            "is anybody here?",
            "bob",
            "hello <i>ann</i>",
            "hello bob",
        ]
        assert lines[-1] == "bob left"
        ann.leave()


def is_spread(metrics: Metrics) -> bool:
    """Whether each of two workers serves a visitor."""
    serving = {
        dict(labels)["worker"]
        for (name, labels), value in metrics.now().items()
        if name == "fastwsh_connections" and ("state", "open") in labels and value
    }
    return len(serving) == 2


def test_a_member_whose_server_has_died_is_gone(
    browser: Chrome, start_server: StartServer, tmp_path: Path
):
    bus = f"unix:{tmp_path}/bus"
    here, there = (start_server(*SERVING, "--backplane", bus) for _ in range(2))
    ann = visit(browser, here, first=True)
    ann.join("ann")
    bob = visit(browser, there)
    bob.join("bob")
    ann.wait_for_members("ann", "bob")
    there.send_signal(signal.SIGKILL)
    bob.look().wait_for_text("chat-state", "Outside")
    # nobody can say that bob has left; silence does
    assert ann.look().text("chat-members").splitlines() == ["ann", "bob"]
    ann.leave()
    browser.execute_script("ChatPanel.hereMs = 100; ChatPanel.goneMs = 1000")
    ann.join("ann")
    ann.wait_for_members("ann")


def test_a_silent_member_is_gone_and_equal_names_differ(browser: Chrome, start_server: StartServer):
    server = start_server(*SERVING)
    ann = visit(browser, server, first=True)
    browser.execute_script("ChatPanel.hereMs = 100; ChatPanel.goneMs = 1000")
    ann.join("ann")
    with connect(server, "/chat") as client:
        # it says nothing after its name, as a member of a server that has died
        client.send("ann")
        ann.page.wait_for(lambda: len(ann.members()) == 2, "two members")
        assert all(re.fullmatch(r"ann #[0-9a-f]{4}", name) for name in ann.members())
        ann.wait_for_members("ann")
        ann.wait_for_line("is gone")


def test_rooms_and_the_last_lines(browser: Chrome, start_server: StartServer):
    server = start_server(*SERVING)
    ann = visit(browser, server, first=True)
    ann.join("ann", "tea & cake")
    with connect(server, "/chat?room=tea%20%26%20cake") as client:
        client.send("bob")
        for number in range(60):
            client.send(json.dumps({"event": "line", "text": f"line {number}"}))
            while receive_json(client)["event"] != "line":
                pass
        ann.wait_for_line("line 59")
    eve = visit(browser, server)
    eve.join("eve")
    eve.wait_for_members("eve")
    assert eve.said() == []
    eve.leave()
    eve.join("eve", "tea & cake")
    eve.wait_for_members("ann", "eve")
    # exactly those, in their order, and before what came later
    last = [f"line {number}" for number in range(10, 60)]
    eve.page.wait_for(lambda: eve.said() == last, "the last 50 lines")
    ann.say("hello eve")
    eve.wait_for_line("hello eve")
    # who comes again sees nothing twice
    eve.leave()
    eve.join("eve", "tea & cake")
    eve.wait_for_members("ann", "eve")
    assert eve.said() == [*last, "hello eve"]
    assert len(ann.said()) == 61
