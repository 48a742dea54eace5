#!/usr/bin/env python3
"""Count the instructions per message, and compare them with what they were.

    python3 benches/instructions.py            fail if a count is 3 % above instructions.json
    python3 benches/instructions.py --update   write the counts into that file

The counts do not depend on what else the machine does. They depend on the compiler and on Python,
so the file has them for each pair. Needs valgrind, and fastwsh built with optimisation in the
interpreter that runs this.
"""

import argparse
import json
import os
import platform
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BASELINE: Final = Path(__file__).with_suffix(".json")
TOLERANCE: Final = 0.03

# What counts as ours: the native module, which has no part of the interpreter.
_NATIVE: Final = "_core."
_SECONDS: Final = 60.0
# A machine that is busy splits what the client sends, and each part costs a read; threads wake more
# often. Handshakes vary by 3 % then.
_MORE_COUNTS: Final = 6

HANDLERS: Final = {
    "hub_wsh.py": """
def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
""",
    "loop_wsh.py": """
def web_socket_do_extra_handshake(request):
    pass


async def web_socket_transfer_data(request):
    async for message in request.ws_stream:
        await request.ws_stream.send_message(message, binary=isinstance(message, bytes))
""",
}

_HEAD: Final = (
    "GET /{place} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    "{extension}\r\n"
)
_DEFLATE: Final = "permessage-deflate; client_no_context_takeover; server_no_context_takeover"
_KEY: Final = b"\x37\xfa\x21\x3d"
_CLOSE: Final = b"\x88\x82\0\0\0\0\x03\xe8"

Counts = dict[str, float]


class CountError(Exception):
    """Why nothing could be counted, in a sentence."""


@dataclass(frozen=True)
class Scenario:
    """A load, of which the instructions per message are counted."""

    name: str
    messages: int
    # Takes the port; what it returns sends so many messages, and has them echoed.
    prepare: Callable[[int], Callable[[int], None]]


def main() -> int:
    """Count and compare; returns the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true", help="write the counts into the baseline")
    options = parser.parse_args()
    missing = [name for name in ("valgrind", "callgrind_control") if not shutil.which(name)]
    if missing:
        print(
            f"instructions.py: nothing is counted, as {missing[0]} is not installed; "
            "on Debian, apt-get install valgrind"
        )
        return 0
    baseline: dict[str, dict[str, Counts]] = json.loads(BASELINE.read_text(encoding="utf-8"))
    versions = _versions()
    if versions not in baseline and not options.update:
        print(
            f"instructions.py: nothing is counted, as {BASELINE.name} has no counts for {versions};"
            " --update adds them"
        )
        return 0
    before = baseline.get(versions, {})
    try:
        found = count()
        for _ in range(_MORE_COUNTS):
            if options.update or not any(_risen(before, found)):
                break
            # how many reads a message takes varies a little, so the lowest count counts
            found = _least(found, count())
    except CountError as error:
        print(f"instructions.py: {error}", file=sys.stderr)
        return 1
    print(f"Instructions per message, {versions} (in the native module; before):")
    for name, counts in found.items():
        old = before.get(name, {})
        print(
            f"  {name:32} {counts['all']:10,.0f} ({counts['native']:9,.0f}; "
            f"{old.get('all', 0):10,.0f}, {old.get('native', 0):9,.0f})"
        )
    if options.update:
        baseline[versions] = found
        BASELINE.write_text(json.dumps(baseline, indent=2) + "\n", encoding="utf-8")
        return 0
    risen = list(_risen(before, found))
    for sentence in risen:
        print(f"instructions.py: {sentence}", file=sys.stderr)
    if risen:
        print(
            "instructions.py: find out why; if that is the price of something, say so in the "
            f"commit, and put the new counts into {BASELINE.name} by --update",
            file=sys.stderr,
        )
    return 1 if risen else 0


def _least(one: dict[str, Counts], other: dict[str, Counts]) -> dict[str, Counts]:
    return {
        name: {part: min(value, other[name][part]) for part, value in counts.items()}
        for name, counts in one.items()
    }


def _risen(before: dict[str, Counts], found: dict[str, Counts]) -> Iterator[str]:
    """Yield a sentence for each count that is too high."""
    for name, counts in found.items():
        for part, value in counts.items():
            old = before.get(name, {}).get(part)
            if old is not None and value > old * (1 + TOLERANCE):
                yield f"{name} ({part}): {value:,.0f} instead of {old:,.0f} per message"


def _versions() -> str:
    command = [shutil.which("rustc") or "rustc", "--version"]
    rustc = subprocess.run(command, check=False, capture_output=True, text=True)
    rust = rustc.stdout.split()[1] if rustc.returncode == 0 else "unknown"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{python}, rustc {rust}, {platform.machine()}"


# --- the load ------------------------------------------------------------------------------------


def frame_of(opcode: int, payload: bytes, *, rsv1: bool = False) -> bytes:
    """Return a masked frame."""
    length = len(payload)
    first = 0x80 | (0x40 if rsv1 else 0) | opcode
    if length < 126:
        head = bytes((first, 0x80 | length))
    elif length < 65536:
        head = struct.pack("!BBH", first, 0xFE, length)
    else:
        head = struct.pack("!BBQ", first, 0xFF, length)
    mask = int.from_bytes((_KEY * (length // 4 + 1))[:length], "big")
    return head + _KEY + (int.from_bytes(payload, "big") ^ mask).to_bytes(length, "big")


def connect(port: int, place: str, extension: str = "") -> socket.socket:
    """Open a WebSocket connection to a handler."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection_to(connection, place, extension)
    return connection


def connection_to(connection: socket.socket, place: str, extension: str = "") -> None:
    """Do the opening handshake."""
    request(connection, place, extension)
    read_answer(connection, extension)


def request(connection: socket.socket, place: str, extension: str = "") -> None:
    """Send the request of the opening handshake."""
    offer = f"Sec-WebSocket-Extensions: {extension}\r\n" if extension else ""
    connection.sendall(_HEAD.format(place=place, extension=offer).encode())


def read_answer(connection: socket.socket, extension: str = "") -> None:
    """Read the answer to that."""
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        answer += _some(connection, 4096)
    if not answer.startswith(b"HTTP/1.1 101 ") or (b"deflate" in answer) != (
        "deflate" in extension
    ):
        raise CountError(f"the server answered {answer!r}")


def _some(connection: socket.socket, limit: int) -> bytes:
    data = connection.recv(limit)
    if not data:
        raise CountError("the server closed a connection")
    return data


def skip(connection: socket.socket, length: int) -> None:
    """Read so many bytes."""
    while length > 0:
        length -= len(_some(connection, length))


def _echo(
    place: str, frame: bytes, under_way: int = 1, extension: str = ""
) -> Callable[[int], Callable[[int], None]]:
    def prepare(port: int) -> Callable[[int], None]:
        connection = connect(port, place, extension)
        # the first reply says how long each of them is
        connection.sendall(frame)
        header = b""
        while len(header) < 10:
            header += _some(connection, 10 - len(header))
        short = header[1]
        length = short + 2 if short < 126 else int.from_bytes(header[2 : 4 if short == 126 else 10])
        length += 0 if short < 126 else (4 if short == 126 else 10)
        skip(connection, length - len(header))

        def send(messages: int) -> None:
            for _ in range(messages // under_way):
                connection.sendall(frame * under_way)
                skip(connection, length * under_way)

        return send

    return prepare


def _handshakes(port: int) -> Callable[[int], None]:
    def send(connections: int) -> None:
        for _ in range(connections):
            with connect(port, "hub") as connection:
                connection.sendall(_CLOSE)
                while connection.recv(4096):
                    pass

    return send


def _compressed(text: bytes) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = compressor.compress(text) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame_of(1, data.removesuffix(b"\0\0\xff\xff"), rsv1=True)


TEXT: Final = frame_of(1, b"a" * 32)
_RECORDS: Final = b"".join(
    b'{"id":%d,"type":"trade","price":%d.25},' % (i * 7919, i) for i in range(27)
)

SCENARIOS: Final = (
    Scenario("hub, 32 B, one at a time", 10_000, _echo("hub", TEXT)),
    Scenario("hub, 32 B, 64 under way", 10_240, _echo("hub", TEXT, 64)),
    Scenario("hub, 64 KiB binary", 500, _echo("hub", frame_of(2, b"b" * 65536))),
    Scenario(
        "hub, 1 KiB compressed", 1_000, _echo("hub", _compressed(_RECORDS), extension=_DEFLATE)
    ),
    Scenario("hub, handshake and close", 500, _handshakes),
    Scenario("event loop, 32 B, one at a time", 4_000, _echo("loop", TEXT)),
)


# --- counting ------------------------------------------------------------------------------------


def count(*options: str) -> dict[str, Counts]:
    """Return the instructions per message of each scenario, with these options of the server."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in HANDLERS.items():
            (folder / file).write_text(text, encoding="utf-8")
        with _server(folder, *options) as (process, port):
            _control(process, "--instr=on")
            return {
                scenario.name: _count(process, scenario, scenario.prepare(port), folder)
                for scenario in SCENARIOS
            }


@contextmanager
def _server(folder: Path, *options: str) -> Iterator[tuple[int, int]]:
    """Run the server under valgrind, which counts nothing at first; yields its process and port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = [
        *("valgrind", "--tool=callgrind", "--instr-atstart=no", "--quiet"),
        *(f"--callgrind-out-file={folder / 'counts'}", sys.executable, "-P", "-m", "fastwsh"),
        *("-H", "127.0.0.1", "-p", str(port), "-w", str(folder)),
        *options,
    ]
    environ = {**os.environ, "PYTHONHASHSEED": "0"}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environ, cwd=folder) as process:
        try:
            end = time.monotonic() + _SECONDS
            while not listens(port):
                if process.poll() is not None or time.monotonic() > end:
                    raise CountError("the server did not start: see what it says above")
                time.sleep(0.1)
            yield process.pid, port
        finally:
            process.send_signal(signal.SIGKILL)


def listens(port: int) -> bool:
    """Tell whether a server accepts connections at a port."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _control(process: int, *arguments: str) -> None:
    command = ["callgrind_control", *arguments, str(process)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=_SECONDS)
    if done.returncode != 0 or "Error" in done.stdout:
        raise CountError(f"{' '.join(command)}: {done.stdout.strip()} {done.stderr.strip()}")


def _count(process: int, scenario: Scenario, send: Callable[[int], None], folder: Path) -> Counts:
    send(max(128, scenario.messages // 10))
    _control(process, "--zero")
    send(scenario.messages)
    known = set(folder.glob("counts.*"))
    _control(process, "--dump")
    (dump,) = set(folder.glob("counts.*")) - known
    found = _read(dump)
    return {part: round(value / scenario.messages, 1) for part, value in found.items()}


def _read(dump: Path) -> dict[str, int]:
    """Return the instructions in a file of callgrind: all, and those of the native module."""
    names: dict[str, str] = {}
    found = {"all": 0, "native": 0}
    is_native = is_inclusive = False
    with dump.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if match := re.match(r"(c?ob)=(\(\d+\))(?: (.*))?", line):
                kind, number, name = match.groups()
                if name is not None:
                    names[number] = name
                if kind == "ob":
                    is_native = _NATIVE in names[number].rpartition("/")[2]
            elif line.startswith("calls="):
                is_inclusive = True  # the next line is what the called function took
            elif line[:1] in "+-*0123456789":
                if not is_inclusive:
                    cost = int(line.split()[1])
                    found["all"] += cost
                    found["native"] += cost if is_native else 0
                is_inclusive = False
    return found


if __name__ == "__main__":
    sys.exit(main())
