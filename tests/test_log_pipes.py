"""Pipes of the log and the access log that nobody reads: the server goes on, and ends when told."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import BOTH_WAYS, WriteHandler, clean_environment
from wire import DEADLINE_SECONDS, TEXT, Client

# More than a pipe and the server's memory for it take.
MESSAGES = 3000

CHATTY = """\
import logging
while (message := request.ws_stream.receive_message()) is not None:
    logging.getLogger("chatty").warning("x" * 1000)
    request.ws_stream.send_message(message)
"""


@contextmanager
def unread(
    folder: Path, concurrency: str, *args: str
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start a server whose standard error and output nobody reads; give it and its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = subprocess.Popen(
            [sys.executable, "-m", "fastwsh", "-w", "handlers", f"--fd={listener.fileno()}", *args],
            cwd=folder,
            env=clean_environment(FASTWSH_CONCURRENCY=concurrency.replace("loop", "auto")),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=[listener.fileno()],
        )
        port = listener.getsockname()[1]
    try:
        yield process, port
    finally:
        process.kill()
        process.wait(DEADLINE_SECONDS)
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stderr.close()


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """Read until what was read has a match of a pattern; give all of it."""
    read, deadline = b"", time.monotonic() + DEADLINE_SECONDS
    while not re.search(wanted, read) and (seconds := deadline - time.monotonic()) > 0:
        readable, _, _ = select.select([descriptor], [], [], seconds)
        chunk = os.read(descriptor, 1 << 16) if readable else b""
        if not chunk:
            break
        read += chunk
    assert re.search(wanted, read), read[-2000:]
    return read


def echo(client: Client, count: int) -> None:
    for number in range(count):
        client.send_frame(TEXT, str(number).encode())
        assert client.read_frame().payload == str(number).encode()


def open_chatty(port: int) -> Client:
    client = Client(port)
    client.send_request("/chatty")
    assert client.read_response().status == 101
    return client


@BOTH_WAYS
def test_a_log_that_nobody_reads_stops_nobody(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str
):
    write_handler("chatty", CHATTY)
    with unread(tmp_path, concurrency) as (process, port):
        with open_chatty(port) as client:
            echo(client, MESSAGES)
            with open_chatty(port) as other:
                echo(other, 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0


def test_a_log_that_is_read_again_tells_how_many_lines_were_lost(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str
):
    write_handler("chatty", CHATTY)
    with unread(tmp_path, concurrency) as (process, port), open_chatty(port) as client:
        echo(client, MESSAGES)
        assert process.stderr is not None
        read, lines, lost = b"", [], 0
        # a notice may stand between the lines, if there was room again for a moment
        while lost + len(lines) < MESSAGES:
            read += read_until(process.stderr.fileno(), rb"\n")
            complete = read[: read.rindex(b"\n")].splitlines()
            lines = [line for line in complete if b" chatty: " in line]
            notices = re.findall(rb"fastwsh\.logs: (\d+) lines were lost", read)
            lost = sum(map(int, notices))
        # every line is whole
        assert {len(line) for line in lines} == {len(lines[0])}
        assert lost + len(lines) == MESSAGES


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_access_log_that_nobody_reads_stops_nobody(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str, log_format: str
):
    write_handler("chatty", "pass")
    args = "--access-log=-", f"--log-format={log_format}", "--log-level=error"
    with unread(tmp_path, concurrency, *args) as (process, port):
        assert process.stdout is not None
        # more than the pipe and the server's memory for it take
        path = "/chatty?" + "x" * 7000
        for _ in range(200):
            with Client(port) as client:
                client.send_request(path)
                assert client.read_response().status == 101
                client.read_frame()
        if log_format == "json":
            read = read_until(process.stdout.fileno(), rb"lines were lost.*\n")
            # the line of the last connection may follow
            *lines, notice = read[: read.index(b"\n", read.index(b"lines were lost"))].splitlines()
            assert [json.loads(line) for line in lines]
            assert "lines were lost" in json.loads(notice)["message"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0


def test_what_a_program_printed_into_a_full_pipe_does_not_keep_the_process(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str
):
    write_handler("chatty", 'request.ws_stream.send_message("here")\nprint("x" * 6000)\n')
    # the handlers that print last never end
    limits = ("--shutdown-timeout=0.1", "--cleanup-timeout=0.1")
    with unread(tmp_path, concurrency, "--log-level=error", *limits) as (process, port):
        for _ in range(11):
            with open_chatty(port) as client:
                client.read_frame()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0


def test_a_log_whose_reader_has_gone_is_told_of_once(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str
):
    write_handler("chatty", CHATTY)
    with unread(tmp_path, concurrency, "--access-log=-") as (process, port):
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        for _ in range(5):
            with Client(port) as client:
                client.send_request("/nothing")
                assert client.read_response().status == 404
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0
        said = process.stderr.read()
    assert said.count(b"cannot write a log on standard output (Broken pipe)") == 1
    assert b"Traceback" not in said


@pytest.mark.parametrize("option", ["log-file", "access-log"])
def test_a_named_pipe_that_nobody_has_opened_keeps_no_server_from_serving(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str, option: str
):
    write_handler("chatty", CHATTY)
    os.mkfifo(tmp_path / "pipe")
    with unread(tmp_path, concurrency, f"--{option}=pipe", "--log-level=warning") as (
        process,
        port,
    ):
        with open_chatty(port) as client:
            echo(client, 1)
        # whoever opens the pipe later reads what was written before
        descriptor = os.open(tmp_path / "pipe", os.O_RDONLY)
        try:
            read_until(descriptor, b"chatty")
        finally:
            os.close(descriptor)
        # and may go away again
        with open_chatty(port) as client:
            echo(client, 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_SECONDS) == 0


def test_a_log_stays_in_its_pipe_when_the_name_becomes_that_of_a_file(
    tmp_path: Path, write_handler: WriteHandler, concurrency: str
):
    write_handler("chatty", CHATTY)
    os.mkfifo(tmp_path / "pipe")
    descriptor = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with unread(tmp_path, concurrency, "--log-file=pipe", "--log-level=warning") as (_, port):
            with open_chatty(port):
                pass  # the server has opened the pipe
            (tmp_path / "pipe").rename(tmp_path / "former")
            (tmp_path / "pipe").touch()
            with open_chatty(port) as client:
                echo(client, 1)
            read_until(descriptor, b"chatty")
    finally:
        os.close(descriptor)
    assert (tmp_path / "pipe").read_bytes() == b""
