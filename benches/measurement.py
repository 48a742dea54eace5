"""One run: a fresh server, the load generator, and what it reports."""

import contextlib
import itertools
import json
import os
import resource
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import machine
import topics
from peers import BINARIES, NODE_MODULES, PYTHON, Peer
from scenarios import Scenario

Report = dict[str, Any]

_WARMUP_SECONDS: Final = 0.7
_QUIET_SECONDS: Final = 10.0
_START_SECONDS: Final = 20.0
# A server that has just begun to listen may still be busy with its start.
_SETTLE_SECONDS: Final = 0.3
_STOP_SECONDS: Final = 5.0
# More than the longest run and ten thousand connections to a slow server need.
_CLIENT_SECONDS: Final = 900.0
# Below the ports that the system gives to clients, of which thousands are in use.
_PORTS = itertools.cycle(range(21_000, 31_000))


class RunError(Exception):
    """Why a run has no report, in one sentence."""


def measure(peer: Peer, scenario: Scenario, seconds: float) -> Report:
    """Run a scenario against a peer.

    Returns:
        The load generator's report, with the cores that others used in `others_cores`; if there is
        no report, `failed` says why.
    """
    if scenario.kind == "topics":
        load = topics.Load(scenario.subscribers, scenario.topics, seconds)
        return _run(peer, scenario.kind, lambda server: _tell(server, load, peer), _QUIET_SECONDS)
    arguments = [*scenario.arguments]
    if scenario.idle:
        arguments += ["--connections", str(min(scenario.idle, peer.most_connections))]
    else:
        arguments += ["--seconds", str(seconds)]
    if arguments[0] == "echo":
        arguments += ["--warmup", str(_WARMUP_SECONDS)]
    # Memory is the same on a busy machine.
    longest_wait = 0.0 if scenario.idle else _QUIET_SECONDS
    return _run(peer, scenario.kind, lambda server: _load(server, arguments), longest_wait)


def check(peer: Peer, kind: str) -> str:
    """Have a peer answer for a moment; returns what is wrong, nothing if all is well."""
    if kind == "topics":
        load = topics.Load(subscribers=2, topics=1, seconds=0.1)
        report = _run(peer, kind, lambda server: _tell(server, load, peer), 0.0)
        return str(report.get("failed", ""))
    arguments = ["echo", "--seconds", "0.1", "--warmup", "0"]
    report = _run(peer, kind, lambda server: _load(server, arguments), 0.0)
    if failed := report.get("failed"):
        return str(failed)
    return "; ".join(report["errors"]) or ("" if report["messages"] else "it does not echo")


@dataclass(frozen=True)
class _Server:
    """A server that runs, and the core for its clients; None where all share all cores."""

    pid: int
    port: int
    client_core: int | None


def _run(peer: Peer, kind: str, load: Callable[[_Server], Report], longest_wait: float) -> Report:
    # several processes need more than one core, so that the system places all
    cores = None if kind == "workers" else machine.two_cores()
    server_core, client_core = cores or (None, None)
    port = _free_port()
    command = [part.replace("{port}", str(port)) for part in peer.command_for(kind)]
    try:
        with _server(command, port, server_core) as pid:
            time.sleep(_SETTLE_SECONDS)
            machine.wait_until_quiet(longest_wait)
            return load(_Server(pid, port, client_core))
    except RunError as error:
        return {"failed": str(error)}


def _tell(server: _Server, load: topics.Load, peer: Peer) -> Report:
    """Have a server with topics tell its subscribers."""
    dialect = topics.SocketIo() if peer.dialect == "socket.io" else topics.Dialect()
    clock = machine.Clock()
    own = time.process_time()
    before = machine.session_seconds(server.pid)
    try:
        with machine.on_core(server.client_core):
            use = topics.deliver(
                (server.port,), load, lambda: machine.session_seconds(server.pid), dialect
            )
    except (OSError, TimeoutError) as error:
        raise RunError(str(error)) from error
    ours = machine.session_seconds(server.pid) - before + time.process_time() - own
    return {
        "mode": "topics",
        "messages": use.messages,
        "cpu": {"server_us": use.delivery_us},
        "first_to_last_ms": use.first_to_last_ms,
        "asked_to_last_ms": use.asked_to_last_ms,
        "others_cores": max(0.0, clock.busy_seconds() - ours) / clock.seconds(),
    }


def _load(server: _Server, arguments: Sequence[str]) -> Report:
    url = f"ws://127.0.0.1:{server.port}/echo"
    command = [str(BINARIES / "wsload"), *arguments, "--url", url, "--pid", str(server.pid)]
    if server.client_core is not None and "idle" not in arguments:
        # It need not be woken, which on a virtual machine is the dearest part of a round trip and
        # would be paid for by the server.
        command.append("--busy-poll")
    clock = machine.Clock()
    ours = machine.session_seconds(server.pid) + _seconds_of_children()
    client = _start(command, server.client_core, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        stdout, stderr = client.communicate(timeout=_CLIENT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise RunError(f"the load generator did not end in {_CLIENT_SECONDS:.0f} s") from error
    finally:
        client.kill()
        client.wait()
    if not stdout:
        raise RunError(_last_line(stderr) or f"the load generator ended with {client.returncode}")
    report: Report = json.loads(stdout)
    ours = machine.session_seconds(server.pid) + _seconds_of_children() - ours
    report["others_cores"] = max(0.0, clock.busy_seconds() - ours) / clock.seconds()
    return report


@contextlib.contextmanager
def _server(command: Sequence[str], port: int, core: int | None) -> Iterator[int]:
    """Run a server; yields its process identifier."""
    with tempfile.TemporaryFile() as log:
        try:
            process = _start(command, core, stdout=subprocess.DEVNULL, stderr=log)
        except OSError as error:
            raise RunError(f"{command[0]} cannot be started ({error.strerror})") from error
        try:
            try:
                _wait_until_listening(process, port)
            except RunError as error:
                log.seek(0)
                reason = _last_line(log.read())
                raise RunError(f"{error}: {reason}" if reason else str(error)) from error
            yield process.pid
        finally:
            _stop(process)


def _start(command: Sequence[str], core: int | None, **streams: Any) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, where a Ctrl-C on the terminal does not reach it."""
    environ = {
        **os.environ,
        "NODE_PATH": str(NODE_MODULES),
        "PATH": f"{PYTHON.parent}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    with machine.on_core(core):
        process = subprocess.Popen(
            command, env=environ, stdin=subprocess.DEVNULL, start_new_session=True, **streams
        )
    machine.prefer(process.pid)
    return process


def _wait_until_listening(process: subprocess.Popen[bytes], port: int) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RunError(f"the server ended with status {process.returncode}")
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        time.sleep(0.05)
    raise RunError(f"the server does not listen on port {port}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server and what it started: it leads a process group."""
    if process.returncode is not None:
        return
    try:
        os.killpg(process.pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        # Not waited for: until then nothing else can have its number.
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        while os.waitid(os.P_PID, process.pid, options) is None and time.monotonic() < end:
            time.sleep(0.02)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def _seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _last_line(text: bytes) -> str:
    lines = text.decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:200] if lines else ""
