"""How long others wait for an echo while one client does its worst.

    python3 benches/fairness.py                   # hub and event loop, every load
    python3 benches/fairness.py --concurrency loop pings bombs

Prints percentiles of the time that another client waits for the echo of a small message, and of the
time that a new connection takes, while a process of its own sends one of the loads. It needs
fastwsh in the interpreter that runs it and nothing else.
"""

import argparse
import base64
import contextlib
import io
import multiprocessing
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

HANDLERS = {
    "echo": """\
    while (message := {await_}request.ws_stream.receive_message()) is not None:
        {await_}request.ws_stream.send_message(message, binary=isinstance(message, bytes))
""",
    "compute": """\
    while {await_}request.ws_stream.receive_message() is not None:
        end = time.perf_counter() + 0.0005
        while time.perf_counter() < end:
            pass
""",
    "swallow": """\
    while {await_}request.ws_stream.receive_message() is not None:
        pass
""",
}
MODULE = """\
import time

def web_socket_do_extra_handshake(request):
    pass

{async_}def web_socket_transfer_data(request):
{body}"""


def frame(first: int, payload: bytes = b"") -> bytes:
    """Build a masked frame; the key is zero, so that masking is free."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + size.to_bytes(2)
    else:
        length = b"\xff" + size.to_bytes(8)
    return bytes([first]) + length + bytes(4) + payload


def bomb() -> bytes:
    """Build a message of 60 MiB of zeros, deflated to some 60 kB."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = deflater.compress(bytes(60 << 20)) + deflater.flush(zlib.Z_SYNC_FLUSH)
    return frame(0xC2, deflated[:-4])


LOADS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "nothing": ("/swallow", lambda: b""),
    "pings": ("/swallow", lambda: frame(0x89) * 10_000),
    "pongs": ("/swallow", lambda: frame(0x8A) * 10_000),
    "fragments": ("/swallow", lambda: frame(0x01) + frame(0x00) * 10_000 + frame(0x80)),
    "messages": ("/echo", lambda: frame(0x81, b"x") * 10_000),
    "compute": ("/compute", lambda: frame(0x81, b"x") * 30_000),
    "large": ("/swallow", lambda: frame(0x82, bytes(8 << 20))),
    "bombs": ("/swallow", bomb),
    "echoed bombs": ("/echo", bomb),
    "echoed noise": ("/echo", lambda: frame(0x82, os.urandom(16 << 20))),
}


def connect(port: int, path: str) -> socket.socket:
    """Open a WebSocket connection, with compression on offer."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n"
        "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n".encode()
    )
    head = b""
    while b"\r\n\r\n" not in head:
        received = sock.recv(4096)
        if not received:
            raise ConnectionError(head)
        head += received
    return sock


def attack(port: int, load: str) -> None:
    """Send a load for as long as the process lives."""
    path, build = LOADS[load]
    data = build()
    if not data:
        return
    sock = connect(port, path)

    def read() -> None:
        with contextlib.suppress(OSError):
            while sock.recv(1 << 20):
                pass

    threading.Thread(target=read, daemon=True).start()
    with contextlib.suppress(OSError):
        while True:
            sock.sendall(data)


@contextlib.contextmanager
def server(concurrency: str) -> Iterator[int]:
    """Run fastwsh; give its port."""
    words = {"async_": "", "await_": ""}
    if concurrency == "loop":
        words = {"async_": "async ", "await_": "await "}
    with tempfile.TemporaryDirectory() as folder:
        for name, body in HANDLERS.items():
            text = MODULE.format(async_=words["async_"], body=body.format(**words))
            Path(folder, f"{name}_wsh.py").write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "fastwsh", "-H", "127.0.0.1", "-p", "0", "-w", folder]
        command += ["--log-level", "info"]
        if concurrency != "loop":
            command += ["--concurrency", concurrency]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=folder)
        try:
            errors = process.stderr or io.StringIO()
            for line in errors:
                if found := re.search(r"Listening on 127\.0\.0\.1:(\d+)", line):
                    break
            else:
                raise SystemExit("fastwsh does not start")
            threading.Thread(target=errors.read, daemon=True).start()
            yield int(found[1])
        finally:
            process.kill()
            process.wait()


def echo_times(port: int, seconds: float) -> list[float]:
    """Measure echoes of a small message, a millisecond apart."""
    message = frame(0x81, b"x")
    times = []
    with connect(port, "/echo") as sock:
        end = time.monotonic() + seconds
        while (begun := time.monotonic()) < end:
            sock.sendall(message)
            received = sock.recv(64)
            if not received:
                raise ConnectionError("the connection has ended")
            times.append(time.monotonic() - begun)
            time.sleep(0.001)
    return times


def open_times(port: int, seconds: float) -> list[float]:
    """Measure connecting with the opening handshake."""
    times = []
    end = time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        connect(port, "/echo").close()
        times.append(time.monotonic() - begun)
    return times


def percentiles(times: list[float]) -> str:
    """Write the median, the 99th percentile and the maximum in milliseconds."""
    ordered = sorted(times)
    chosen = (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100], ordered[-1])
    return "".join(f"{1000 * value:9.1f}" for value in chosen)


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description="How long others wait while one does its worst.")
    parser.add_argument("loads", nargs="*", help=f"of {', '.join(LOADS)}; by default all")
    parser.add_argument("--concurrency", default="hub,loop", help="of threads,hub,loop")
    parser.add_argument("--seconds", type=float, default=4, help="per load")
    arguments = parser.parse_args()
    if unknown := set(arguments.loads) - set(LOADS):
        parser.error(f"there is no load {unknown.pop()!r}: choose from {', '.join(LOADS)}")
    print(f"{'ms':24}{'echo p50':>9}{'p99':>9}{'max':>9}{'open p50':>9}{'p99':>9}{'max':>9}")
    for concurrency in arguments.concurrency.split(","):
        for load in arguments.loads or LOADS:
            with server(concurrency) as port:
                attacker = multiprocessing.Process(target=attack, args=(port, load), daemon=True)
                attacker.start()
                time.sleep(0.5)
                try:
                    echoes = echo_times(port, arguments.seconds)
                    opens = open_times(port, arguments.seconds / 4)
                finally:
                    attacker.kill()
                    attacker.join()
            print(f"{concurrency + ' ' + load:24}{percentiles(echoes)}{percentiles(opens)}")


if __name__ == "__main__":
    main()
