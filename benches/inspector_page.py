"""Whether the page of `--inspect` stutters in Chromium when there is much to show.

    python3 benches/inspector_page.py                 # 10,000 connections, 1,000 messages/s
    python3 benches/inspector_page.py --workers 2
    python3 benches/inspector_page.py --connections 1000 --rate 100 --seconds 5

All messages, and their echoes, are those of one connection. Each view is watched for some seconds.
Prints the tasks that have kept the page busy for 50 ms or longer, as its `PerformanceObserver` has
seen them, and the times between two frames. It needs Linux, what `tests/browser` needs, and fastwsh
in the interpreter that runs it. On a loaded machine, compare runs that alternate.
"""

import argparse
import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from idle_workers import ECHO, FOR_EACH_ADDRESS, HELLO, OTHERS, REQUEST

ROOT = Path(__file__).parent.parent
SECONDS = 60.0

sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "docs")]

from take_screenshot import start_browser  # noqa: E402

from browser.inspector_page import InspectorPage  # noqa: E402 (needs the paths above)

MEASURE = """
window.seen = {tasks: [], gaps: [], last: performance.now()};
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) window.seen.tasks.push(entry.duration);
}).observe({entryTypes: ["longtask"]});
const frame = (now) => {
  window.seen.gaps.push(now - window.seen.last);
  window.seen.last = now;
  requestAnimationFrame(frame);
};
requestAnimationFrame(frame);
"""
SCROLL = """
const table = document.getElementById("connection-scroll");
let at = 0;
window.scrolling = setInterval(() => { table.scrollTop = (at += 90) % table.scrollHeight; }, 16);
"""


def send_messages(port: int, rate: int) -> None:
    """Send messages on one connection and read the echoes, until the process is ended."""
    peer = socket.create_connection(("127.0.0.1", port), SECONDS)
    peer.sendall(REQUEST.replace(b"/echo", b"/echo?busy"))
    threading.Thread(target=read_all, args=(peer,), daemon=True).start()
    started, sent = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - started) * rate) - sent
        peer.sendall(HELLO * due)
        sent += due
        time.sleep(0.01)


def read_all(peer: socket.socket) -> None:
    """Read until the end."""
    while peer.recv(1 << 16):
        pass


class Report:
    """What the page was like while one view was shown."""

    def __init__(self, driver: Any, seconds: float) -> None:
        driver.execute_script("Object.assign(window.seen, {tasks: [], gaps: []})")
        time.sleep(seconds)
        seen = driver.execute_script("return window.seen")
        self.tasks, self.gaps = sorted(seen["tasks"]), sorted(seen["gaps"])
        self.seconds = seconds

    def __str__(self) -> str:
        tasks = "no long task"
        if self.tasks:
            tasks = f"{len(self.tasks)} long tasks, the longest {self.tasks[-1]:.0f} ms"
        gaps = self.gaps
        return (
            f"{tasks}; {len(gaps) / self.seconds:.0f} frames/s, 99 % within "
            f"{gaps[len(gaps) * 99 // 100]:.0f} ms, the longest {gaps[-1]:.0f} ms"
        )


def watch(page: InspectorPage, options: argparse.Namespace) -> None:
    """Show one view after the other."""
    driver = page.driver
    driver.execute_script(MEASURE)
    wanted = f"{options.connections + 1:,} connections"
    page.go("connections")
    page.wait_for(lambda: wanted in page.text("matching"), wanted)
    page.write("find", "busy")
    page.wait_for(lambda: len(page.numbers()) == 1, "the busy one")
    busy = int(page.numbers()[0])
    page.write("find", " ")
    page.wait_for(lambda: wanted in page.text("matching"), wanted)
    for name, view in (
        ("overview", "overview"),
        ("connections", "connections"),
        ("scrolling", "connections"),
        ("timeline", f"connection/{busy}"),
    ):
        page.go(view)
        if name == "scrolling":
            driver.execute_script(SCROLL)
        if name == "timeline":
            driver.execute_script("clearInterval(window.scrolling)")
        time.sleep(1)
        sys.stdout.write(f"  {name:12} {Report(driver, options.seconds)}\n")
        sys.stdout.flush()
    sys.stdout.write(f"  {page.text('frame-count')} in the timeline\n")


def main() -> None:
    """Start everything, and measure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=1000, help="messages per second")
    parser.add_argument("--seconds", type=float, default=10, help="for each view")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--send", nargs=2, type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        send_messages(*options.send)
    processes: list[subprocess.Popen[str]] = []
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "echo_wsh.py").write_text(ECHO)
        try:
            run(options, folder, processes)
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()


def run(options: argparse.Namespace, folder: str, processes: list[subprocess.Popen[str]]) -> None:
    """Start a server, clients and a browser; `processes` gets what must be ended."""
    command = [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "-w", folder]
    command += ["--inspect", "--workers", str(options.workers), "--log-level", "info"]
    command += ["--max-connections", "0", "--max-connections-per-address", "0"]
    command += ["--idle-timeout", "0", "--ping-interval", "0"]
    environment = {key: os.environ[key] for key in os.environ if not key.startswith("FASTWSH_")}
    server = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=folder, env=environment
    )
    processes.append(server)
    found: dict[str, str] = {}
    for line in server.stderr or ():
        for name, pattern in (
            ("port", r"Listening on \S+:(\d+)"),
            ("url", r"Inspector on (\S+)"),
        ):
            if name not in found and (match := re.search(pattern, line)):
                found[name] = match[1]
        if "url" in found:
            break
    threading.Thread(target=lambda: list(server.stderr or ()), daemon=True).start()
    left, number = options.connections, 2
    while left > 0:
        count = min(left, FOR_EACH_ADDRESS, resource.getrlimit(resource.RLIMIT_NOFILE)[1] - OTHERS)
        holding = [sys.executable, str(Path(__file__).with_name("idle_workers.py")), "--hold"]
        holding += [found["port"], f"127.0.0.{number}", str(count)]
        client = subprocess.Popen(holding, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(client)
        if client.stdout is None or not client.stdout.readline():
            sys.exit("a client has failed")
        left, number = left - count, number + 1
    processes.append(
        subprocess.Popen(
            [sys.executable, __file__, "--send", found["port"], str(options.rate)], text=True
        )
    )
    sys.stdout.write(
        f"{options.connections:,} connections, {options.rate:,} messages/s, "
        f"{options.workers} worker(s):\n"
    )
    browser = start_browser()
    try:
        watch(InspectorPage(browser, found["url"]), options)
    finally:
        browser.quit()


if __name__ == "__main__":
    main()
