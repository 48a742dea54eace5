"""What several workers have in common: limits, metrics, logs, certificates, the service manager."""

import json
import os
import pty
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import trustme

from conftest import Server, StartServer, WriteHandler, clean_environment
from metrics_support import Metrics, ask
from notify_support import Manager
from wire import DEADLINE_SECONDS, TEXT, Client
from workers_support import (
    ECHO,
    WORKERS,
    echoes,
    freeze,
    kill,
    next_pid,
    one_to_each,
    open_echo,
    pids,
    wait_until,
)

HOST = "127.0.0.1"


@pytest.fixture(autouse=True)
def echo(write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)


def fill(server: Server, count: int, stack: ExitStack) -> list[int]:
    """Open connections until so many were accepted; return the processes that serve them."""
    served: list[int] = []

    def is_full() -> bool:
        if len(served) < count and (pid := try_echo(server, stack)) is not None:
            served.append(pid)
        return len(served) == count

    wait_until(is_full, f"{len(served)} of {count} are accepted")
    return served


def try_echo(server: Server, stack: ExitStack) -> int | None:
    """Open a connection that stays; None if it is refused."""
    client = stack.enter_context(server.connect())
    client.send_request("/echo")
    status = client.read_response().status
    assert status in {101, 503}
    return int(client.read_frame().payload) if status == 101 else None


@pytest.mark.parametrize("option", ["--max-connections", "--max-connections-per-address"])
def test_a_limit_holds_for_all_workers_together(start_server: StartServer, option: str):
    server = start_server(*WORKERS, option, "6")
    with ExitStack() as stack:
        served = fill(server, 6, stack)
        assert {try_echo(server, stack) for _ in range(6)} == {None}
        # a dead worker's share is free at once
        first = pids(server)[1][0]
        kill(first)
        next_pid(server, 1, first)
        fill(server, served.count(first), stack)
        assert {try_echo(server, stack) for _ in range(6)} == {None}
    with ExitStack() as stack:
        fill(server, 6, stack)


def test_metrics_are_sums_that_never_fall(start_server: StartServer):
    server = start_server(*WORKERS, "--metrics-port", "0", "--concurrency", "threads")
    metrics = Metrics(server)
    with one_to_each(server) as clients:
        for client in clients.values():
            assert echoes(client)
        metrics.wait_for("messages_total", 2, direction="received", type="text")
        labels = {"concurrency": "threads", "state": "open"}
        each = [metrics.value("connections", worker=worker, **labels) for worker in "12"]
        assert all(count is not None and count >= 1 for count in each)
        now = metrics.now()
        assert len([name for name, _ in now if name == "process_resident_memory_bytes"]) == 2
        assert metrics.value("build_info", **version_label(now)) == 1
        first = pids(server)[1][0]
        kill(first)
        next_pid(server, 1, first)
        metrics.wait_for("worker_ready", 1, worker="1")
        assert metrics.value("worker_starts_total", worker="1") == 2
        after = metrics.now()
        for (name, labels_of), value in now.items():
            if name.endswith("_total"):
                assert after[name, labels_of] >= value, name
        [left] = [client for pid, client in clients.items() if pid != first]
        assert echoes(left)
        metrics.wait_for("messages_total", 3, direction="received", type="text")
        # what a worker has counted since it was asked is not lost if it ends by itself
        second = pids(server)[2][0]
        assert echoes(left)
        kill(second, signal.SIGTERM)
        left.read_frame()
        left.send_close(1001)
        next_pid(server, 2, second)
        metrics.wait_for("messages_total", 4, direction="received", type="text")


def version_label(samples: object) -> dict[str, str]:
    assert isinstance(samples, dict)
    [labels] = [labels for name, labels in samples if name == "fastwsh_build_info"]
    return dict(labels)


def test_health_tells_of_each_worker(start_server: StartServer):
    server = start_server(*WORKERS, "--metrics-port", "0", "--shutdown-timeout", "60")
    port = Metrics(server).port

    def is_told(status: int, *lines: str) -> None:
        expected = (status, "".join(f"{line}\n" for line in lines))

        def is_so() -> bool:
            response, text = ask(port, "/healthz")
            return (response.status, text) == expected

        wait_until(is_so, f"{expected} is not told")

    is_told(200, "ok", "worker 1: ok", "worker 2: ok")
    freeze(pids(server)[1][0])
    is_told(200, "degraded", "worker 1: not answering", "worker 2: ok")
    kill(pids(server)[1][0], signal.SIGCONT)
    for path, method, status in (
        ("/other", "GET", 404),
        ("/metrics", "POST", 405),
        ("/metrics", "HEAD", 200),
    ):
        assert ask(port, path, method)[0].status == status
    with socket.create_connection((HOST, port), DEADLINE_SECONDS) as asking:
        asking.sendall(b"nonsense\r\n\r\n")
        assert asking.recv(100).startswith(b"HTTP/1.1 400 ")
    client, _ = open_echo(server)
    with client:
        server.send_signal(signal.SIGTERM)
        wait_until(lambda: ask(port, "/healthz")[0].status == 503, "it does not say that it stops")
        assert ask(port, "/healthz")[1].startswith("stopping\n")


CHATTY = """\
import logging
while (message := request.ws_stream.receive_message()) is not None:
    try:
        raise ValueError("x" * 9000 + "end")
    except ValueError:
        logging.getLogger("chatty").exception("failed %s", "y" * 5000 + "end")
    request.ws_stream.send_message(message)
"""


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_lines_are_whole_and_name_their_worker(
    start_server: StartServer, write_handler: WriteHandler, log_format: str
):
    """Also tracebacks that are longer than what a pipe takes at once."""
    write_handler("chatty", CHATTY)
    server = start_server(*WORKERS, "--access-log", "--log-format", log_format)
    rounds = 4
    with ExitStack() as stack:
        clients = []
        for _ in range(8):
            client = stack.enter_context(server.connect())
            client.handshake("/chatty")
            clients.append(client)
        for _ in range(rounds):
            for client in clients:
                client.send_frame(TEXT, b"x")
            for client in clients:
                client.read_frame()
        for client in clients:
            client.send_close()
            client.read_to_end()
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    lines = server.log.text().splitlines()
    access = server.out.text().splitlines()
    assert len(access) == 8
    if log_format == "json":
        entries = [json.loads(line) for line in lines]
        chatty = [entry for entry in entries if entry["logger"] == "chatty"]
        assert {len(entry["exception"].rpartition("x")[0]) > 9000 for entry in chatty} == {True}
        assert {entry["worker"] for entry in chatty} <= {1, 2}
        assert {json.loads(line)["worker"] for line in access} <= {1, 2}
        assert not [entry for entry in entries if "worker" in entry and "process" in entry]
    else:
        chatty = [line for line in lines if "] chatty: " in line]
        assert {line.partition("[ERROR] ")[2][:10] for line in chatty} <= {
            "[worker 1]",
            "[worker 2]",
        }
        assert all(line.endswith("yend") for line in chatty)
        errors = [line for line in lines if line.startswith("    ValueError: ")]
        assert {len(line) for line in errors} == {len("    ValueError: ") + 9003}
        assert len(errors) == 8 * rounds
        assert all(line[-9:-1] == " worker=" for line in access)
    assert len(chatty) == 8 * rounds


def test_a_log_that_nobody_reads_stops_nobody(write_handler: WriteHandler, tmp_path: Path):
    write_handler("chatty", CHATTY)
    with (
        socket.create_server((HOST, 0)) as listener,
        subprocess.Popen(
            [sys.executable, "-m", "fastwsh", *WORKERS, f"--fd={listener.fileno()}"],
            cwd=tmp_path,
            env=clean_environment(),
            stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        ) as process,
    ):
        try:
            with Client(listener.getsockname()[1]) as client:
                client.handshake("/chatty")
                for _ in range(150):
                    client.send_frame(TEXT, b"x")
                    assert client.read_frame().payload == b"x"
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE_SECONDS) == 0
        finally:
            process.kill()


def test_sighup_opens_one_log_file_anew(start_server: StartServer, tmp_path: Path):
    """The file that all workers share rotates once, and is one file again."""
    log, access = tmp_path / "log", tmp_path / "access"
    with socket.create_server((HOST, 0)) as listener:
        server = start_log_server(tmp_path, log, access, listener)
        try:
            wait_until(lambda: log.exists() and "Listening on" in log.read_text("utf-8"), "no log")
            with Client(listener.getsockname()[1]) as client:
                client.handshake("/echo")
            wait_until(lambda: "/echo" in access.read_text("utf-8"), "no line")
            for path in (log, access):
                path.rename(path.with_suffix(".1"))
            server.send_signal(signal.SIGHUP)
            wait_until(log.exists, "the log was not opened anew")
            wait_until(access.exists, "the access log was not opened anew")
            with Client(listener.getsockname()[1]) as client:
                client.handshake("/echo")
            wait_until(lambda: access.read_text("utf-8").count("/echo") == 1, "no line")
            assert access.with_suffix(".1").read_text("utf-8").count("/echo") == 1
        finally:
            server.terminate()
            server.wait(DEADLINE_SECONDS)


def start_log_server(
    folder: Path, log: Path, access: Path, listener: socket.socket
) -> "subprocess.Popen[bytes]":
    options = ["-l", str(log), "--access-log", str(access), "--log-level", "info"]
    return subprocess.Popen(
        [sys.executable, "-m", "fastwsh", *WORKERS, f"--fd={listener.fileno()}", *options],
        cwd=folder,
        env=clean_environment(),
        pass_fds=[listener.fileno()],
    )


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify.sock"))
    yield manager
    manager.close()


def test_the_service_manager_hears_of_all(start_server: StartServer, manager: Manager):
    watchdog = {"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "400000"}
    server = start_server(*WORKERS, env=watchdog)
    assert manager.read() == {"READY": "1", "STATUS": "Serving 1 handler in 2 workers"}
    assert manager.read_any() == {"WATCHDOG": "1"}
    server.send_signal(signal.SIGHUP)
    assert manager.read()["RELOADING"] == "1"
    assert manager.read() == {"READY": "1", "STATUS": "Serving 1 handler in 2 workers"}
    # one that does not answer is enough for silence
    first = pids(server)[1][0]
    freeze(first)
    assert is_silent(manager)
    kill(first, signal.SIGCONT)
    assert manager.read_any() == {"WATCHDOG": "1"}
    kill(first)
    assert manager.read()["STATUS"] == "Serving 1 handler in 1 of 2 workers"
    assert manager.read()["STATUS"] == "Serving 1 handler in 2 workers"
    assert manager.read_any() == {"WATCHDOG": "1"}
    server.send_signal(signal.SIGTERM)
    assert manager.read()["STOPPING"] == "1"
    assert server.wait() == 0


def is_silent(manager: Manager) -> bool:
    """Whether beats stop: one may be on its way."""
    manager._socket.settimeout(1)
    try:
        for _ in range(5):
            manager.read_any()
    except TimeoutError:
        return True
    finally:
        manager._socket.settimeout(DEADLINE_SECONDS)
    return False


def test_sighup_renews_certificates_in_all_workers(start_server: StartServer, tmp_path: Path):
    authorities = [trustme.CA(), trustme.CA()]

    def issue(authority: trustme.CA) -> None:
        leaf = authority.issue_cert(HOST)
        leaf.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
        leaf.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))

    issue(authorities[0])
    server = start_server(*WORKERS, "-t", "-k", "key.pem", "-c", "cert.pem")

    def trusted_by(authority: trustme.CA) -> bool:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        try:
            with (
                socket.create_connection((HOST, server.port), DEADLINE_SECONDS) as plain,
                context.wrap_socket(plain, server_hostname=HOST),
            ):
                return True
        except ssl.SSLCertVerificationError:
            return False

    assert trusted_by(authorities[0])
    issue(authorities[1])
    server.send_signal(signal.SIGHUP)
    for worker in (1, 2):
        server.log.wait_for(rf"\[worker {worker}\] fastwsh.server: Certificates reloaded")
    assert all(trusted_by(authorities[1]) for _ in range(10))
    # a successor begins with the new ones
    first = pids(server)[1][0]
    kill(first)
    next_pid(server, 1, first)
    assert all(trusted_by(authorities[1]) for _ in range(10))


def test_all_workers_reload_a_handler(start_server: StartServer, write_handler: WriteHandler):
    server = start_server(*WORKERS, "--reload")
    path = write_handler("echo", ECHO.replace("str(os.getpid())", "'new'"))
    os.utime(path, (1, 1))
    for worker in (1, 2):
        server.log.wait_for(rf"\[worker {worker}\] fastwsh.server: Reloaded /echo")
    for _ in range(10):
        with server.connect() as client:
            client.handshake("/echo")
            assert client.read_frame().payload == b"new"


def test_ctrl_c_in_a_terminal_ends_all_once(tmp_path: Path):
    """The terminal has one banner, and sends SIGINT to the parent alone."""
    ours, theirs = pty.openpty()
    become_foreground = (
        "import fcntl, os, sys, termios\n"
        "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
        "os.execv(sys.executable, [sys.executable, '-m', 'fastwsh', *sys.argv[1:]])"
    )
    with subprocess.Popen(
        [sys.executable, "-c", become_foreground, *WORKERS, "-H", HOST, "-p", "0"],
        cwd=tmp_path,
        env=clean_environment(NO_COLOR="1"),
        stdin=theirs,
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        start_new_session=True,
    ) as process:
        try:
            os.close(theirs)
            with os.fdopen(ours, "r+b", buffering=0) as terminal:
                shown = b""
                while b"Press Ctrl-C to stop." not in shown:
                    shown += terminal.read(4096)
                terminal.write(b"\x03")
                assert process.wait(DEADLINE_SECONDS) == 0
                shown += terminal.read(4096)
        finally:
            process.kill()
    lines = [line.strip() for line in shown.decode().splitlines()]
    assert lines[0].startswith("fastwsh ")
    assert lines.count("2 workers") == 1
    assert sum("/echo" in line for line in lines) == 1
    assert "Traceback" not in shown.decode()
