"""What an echo costs a server: the loop that `http2.py` and `http3.py` share.

The figure is the server's processor time per message. It is what other work on the machine changes
least; servers and ways are measured in turns, so that such work meets all of them.
"""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

HANDLER = """\
def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
"""

ROUNDS = 3


@dataclass(frozen=True)
class Way:
    """How messages come to a server.

    Attributes:
        name: What the table calls it.
        version: Of HTTP.
        connections: How many there are.
        streams: WebSockets on each.
        size: Bytes of a message.
        under_way: Messages of a WebSocket at a time.
    """

    name: str
    version: int
    connections: int
    streams: int
    size: int = 32
    under_way: int = 1


@dataclass(frozen=True)
class Scenario:
    """A load in several ways.

    Attributes:
        name: What the table calls it.
        share: It has the share 1/n of the messages.
        ways: The first is what the others are compared with.
    """

    name: str
    share: int
    ways: tuple[Way, ...]


@dataclass(frozen=True)
class Server:
    """A running server."""

    process: int
    port: int

    def cpu_seconds(self) -> float:
        """Return its processor time so far."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fastwsh(concurrency: str, *options: str) -> list[str]:
    """Return the command of our server."""
    command = [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", *options]
    return [*command, "--log-level", "info", "--concurrency", concurrency]


@contextmanager
def serving(command: Sequence[str], folder: Path) -> Iterator[Server]:
    """Run a server, which says its port on standard error."""
    with subprocess.Popen(
        command, cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        errors = process.stderr or ()
        # what it says later must not fill the pipe, on which it would wait
        reader = threading.Thread(target=deque, args=(errors, 0))
        try:
            for line in errors:
                if found := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line):
                    break
            else:
                sys.exit(f"{Path(sys.argv[0]).name}: the server did not start")
            reader.start()
            yield Server(process.pid, int(found[1]))
        finally:
            process.kill()
            if reader.ident is not None:
                reader.join()


def report(
    commands: dict[str, list[str]],
    scenarios: Sequence[Scenario],
    messages: int,
    measure: Callable[[Server, Way, int], float],
    prepare: Callable[[Path], None] = lambda _: None,
) -> None:
    """Measure all servers and ways in turns, and print the medians.

    Args:
        commands: The servers, by name; those whose name has a star echo a tenth of the messages.
        scenarios: The loads.
        messages: How many messages a scenario has, before its share.
        measure: Returns the processor seconds of a server for a number of messages.
        prepare: Puts what servers need besides the handler into their folder.
    """
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        (folder / "echo_wsh.py").write_text(HANDLER)
        prepare(folder)
        servers = {
            server: stack.enter_context(serving(command, folder))
            for server, command in commands.items()
        }
        for scenario in scenarios:
            print(scenario.name, flush=True)
            found: dict[tuple[str, Way], list[float]] = {}
            for _ in range(ROUNDS):
                for way in scenario.ways:
                    for server_name, server in servers.items():
                        count = messages // scenario.share // (10 if "*" in server_name else 1)
                        taken = measure(server, way, count) / count * 1e6
                        found.setdefault((server_name, way), []).append(taken)
            for server_name in servers:
                base = statistics.median(found[server_name, scenario.ways[0]])
                for way in scenario.ways:
                    median = statistics.median(found[server_name, way])
                    times = f"{median / base:5.2f} times" if base else ""
                    print(f"  {server_name:10} {way.name:38} {median:9.2f} µs {times}", flush=True)


ONE, MANY, LARGE = (
    "A: one WebSocket, 32 bytes",
    "C: 64 WebSockets, 32 bytes",
    "E: 64 WebSockets, 64 KiB, 4 under way",
)


def ways(version: int, *, size: int = 32, under_way: int = 1) -> tuple[Way, ...]:
    """Return the two ways in which 64 WebSockets come over HTTP/2 or HTTP/3."""
    return (
        Way(f"HTTP/{version}, 64 connections", version, 64, 1, size, under_way),
        Way(f"HTTP/{version}, 64 streams on one connection", version, 1, 64, size, under_way),
    )
