"""The page of `--inspect` with `--workers` in Chromium."""

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from browser.inspector_page import InspectorPage
from conftest import Server, StartServer, WriteHandler
from inspector_support import inspector_url
from wire import TEXT, Frame
from workers_support import ECHO, WORKERS, kill, next_pid, one_to_each, pids


@pytest.fixture
def server(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    return start_server(*WORKERS, "--inspect", "0")


def test_all_workers_in_one_page(browser: Chrome, server: Server):
    inspector = InspectorPage(browser, inspector_url(server))
    with one_to_each(server) as clients:
        workers = {pid: number for number, (pid,) in pids(server).items()}
        inspector.wait_for(lambda: len(_workers(inspector)) == 2, "the workers")
        assert [cells[:2] for cells in _workers(inspector)] == [["1", "ready"], ["2", "ready"]]
        inspector.wait_for(
            lambda: sum(int(cells[4]) for cells in _workers(inspector)) >= 2, "their connections"
        )
        total = sum(int(cells[4]) for cells in _workers(inspector))
        inspector.wait_for(lambda: inspector.text("tile-open") == str(total), "the sum")
        for number in ("1", "2"):
            Select(inspector.element("worker")).select_by_visible_text(number)
            own = _workers(inspector)[int(number) - 1][4]
            inspector.wait_for(lambda own=own: inspector.text("tile-open") == own, "its own")
            assert inspector.text("open-count") == str(total)
        inspector.go("connections")
        inspector.wait_for(lambda: _shown(inspector) == {"2"}, "those of worker 2")
        Select(inspector.element("worker")).select_by_visible_text("all")
        inspector.wait_for(lambda: _shown(inspector) == {"1", "2"}, "those of both")
        victim, client = next(iter(clients.items()))
        number = str(workers[victim])
        rows = inspector.rows("connection-scroll")
        port = str(client.socket.getsockname()[1])
        row = next(cells for cells in rows if cells[3].endswith(f":{port}"))
        assert row[1] == number
        inspector.open(int(row[0]))
        assert f"Worker\n{number}" in inspector.text("connection-facts")
        inspector.write("poke-data", "by hand")
        inspector.do("text")
        assert client.read_frame() == Frame(TEXT, b"by hand")
        expected = [("sent", "text", str(victim)), ("sent", "text (by hand)", "by hand")]
        inspector.wait_for(
            lambda: [frame for frame in inspector.frames() if len(frame) == 3] == expected, "frames"
        )
        kill(victim)
        inspector.wait_for(
            lambda: inspector.text("connection-state") == "not known any more", "its end"
        )
        button = inspector.driver.find_element(By.CSS_SELECTOR, "[data-do=text]")
        assert not button.is_enabled()
        successor = str(next_pid(server, workers[victim], victim))
        inspector.go("overview")
        inspector.wait_for(
            lambda: (
                ["ready", successor, "2 times"] == _workers(inspector)[workers[victim] - 1][1:4]
            ),
            "the successor",
        )
        inspector.go("log")
        inspector.wait_for(
            lambda: f"Worker {number} was ended by SIGKILL" in inspector.text("log-lines"),
            "the log",
        )
        assert inspector.text("feed-state") == "live"
    assert browser.get_log("browser") == []


def _workers(inspector: InspectorPage) -> list[list[str]]:
    script = """return [...document.querySelectorAll("#workers tr")]
        .map((row) => [...row.children].map((cell) => cell.innerText.trim()))"""
    found: list[list[str]] = inspector.driver.execute_script(script)
    return found


def _shown(inspector: InspectorPage) -> set[str]:
    """The workers of the connections in sight."""
    return {cells[1] for cells in inspector.rows("connection-scroll") if cells}
