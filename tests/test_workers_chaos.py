"""Workers that end at the worst moments while messages are published to their clients.

Whatever happens, a client gets no message twice and none out of order. What a client whose
connection lives on has not got is counted as a gap, and the parent replaces the worker.
"""

import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from backplane_support import FakeBackplaneQueue, bridged
from conftest import Server, StartServer, WriteHandler
from waiting import wait_until
from wire import CLOSE, DEADLINE_SECONDS, TEXT, Client
from workers_support import freeze, kill, next_pid, pids

HANDLER = """
import logging
import os
import time
from fastwsh import topics

def web_socket_startup(app):
    topics.on_gap(lambda topic, missed: logging.warning("gap in %d: %d", os.getpid(), missed))
    while os.path.exists("hold"):
        time.sleep(0.01)

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.ws_stream.send_message(str(os.getpid()))
    while (text := request.ws_stream.receive_message()) is not None:
        if text == "join":
            topics.subscribe(request, "room")
        else:
            request.ws_stream.send_message("computing")
            time.sleep(60)
"""

ENDINGS = [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV, signal.SIGSTOP]
PUBLISHED = 1000 // len(ENDINGS)


class Listener:
    """A client that has subscribed at a worker, and the numbers that it has got."""

    def __init__(self, client: Client, pid: int) -> None:
        self.client = client
        self.pid = pid
        self.numbers: list[int] = []
        self.others: list[str] = []
        self._thread = threading.Thread(target=self._listen)
        client.send_frame(TEXT, b"join")
        self._thread.start()

    def _listen(self) -> None:
        try:
            while (frame := self.client.read_frame()).opcode != CLOSE:
                text = frame.payload.decode()
                if text.isdecimal():
                    self.numbers.append(int(text))
                else:
                    self.others.append(text)
            self.others.append("close")
        except (OSError, EOFError, AssertionError):
            pass

    def wait_for_number(self, number: int) -> None:
        wait_until(lambda: self.numbers and self.numbers[-1] >= number, f"no message {number}")

    def wait_for_other(self, text: str) -> None:
        wait_until(lambda: text in self.others, f"no {text}")

    def close(self) -> None:
        """End the connection, and the thread that reads from it."""
        with suppress(OSError):
            self.client.socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.client.close()

    def check(self) -> None:
        """Check that nothing has come twice, or too late."""
        assert self.numbers == sorted(set(self.numbers))

    @property
    def holes(self) -> int:
        """How many messages are missing among those that have come."""
        return self.numbers[-1] - self.numbers[0] + 1 - len(self.numbers)


class Publisher:
    """Publishes numbers from another process of the backplane, until told to stop."""

    def __init__(self, outgoing: FakeBackplaneQueue) -> None:
        self.published = 0
        self._outgoing = outgoing
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._publish)
        self._thread.start()

    def _publish(self) -> None:
        while not self._ends.wait(0.001):
            self.published += 1
            self._outgoing.publish("room", str(self.published).encode())

    def wait_for(self, more: int) -> None:
        goal = self.published + more
        wait_until(lambda: self.published >= goal, "the publisher is too slow")

    def end(self) -> None:
        self._ends.set()
        self._thread.join()


def listen(server: Server, pid: int, stack: ExitStack) -> Listener:
    """Subscribe at a worker: connect until the system has chosen that one."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        assert time.monotonic() < deadline, f"process {pid} gets no connection"
        client = server.connect()
        try:
            client.handshake("/room")
            if int(client.read_frame().payload) == pid:
                listener = Listener(client, pid)
                stack.callback(listener.close)
                return listener
        except (OSError, EOFError, AssertionError):
            pass
        client.close()


@contextmanager
def publishing(url: str) -> Iterator[Publisher]:
    with bridged(url, "publisher") as (outgoing, _):
        publisher = Publisher(outgoing)
        try:
            yield publisher
        finally:
            publisher.end()


@dataclass
class Attack:
    """What ends a worker.

    Attributes:
        hold: While this file exists, workers do not come beyond their start.
    """

    server: Server
    worker: int
    listener: Listener
    number: signal.Signals
    hold: Path

    def end(self, pid: int) -> int:
        """Send the signal; one that is stopped is killed a moment later."""
        if self.number is signal.SIGSTOP:
            freeze(pid)
            kill(pid, signal.SIGKILL)
        else:
            kill(pid, self.number)
        return pid


def while_starting(attack: Attack) -> int:
    former = attack.listener.pid
    attack.hold.touch()
    kill(former)
    pid = attack.end(next_pid(attack.server, attack.worker, former))
    attack.hold.unlink()
    return pid


def while_serving(attack: Attack) -> int:
    return attack.end(attack.listener.pid)


def while_computing(attack: Attack) -> int:
    attack.listener.client.send_frame(TEXT, b"compute")
    attack.listener.wait_for_other("computing")
    return attack.end(attack.listener.pid)


def while_shutting_down(attack: Attack) -> int:
    kill(attack.listener.pid, signal.SIGTERM)
    # which is not answered, so that the worker waits
    attack.listener.wait_for_other("close")
    return attack.end(attack.listener.pid)


@pytest.mark.parametrize(
    "phase", [while_starting, while_serving, while_computing, while_shutting_down]
)
def test_no_message_twice_and_every_loss_counted(
    start_server: StartServer,
    write_handler: WriteHandler,
    tmp_path: Path,
    phase: Callable[[Attack], int],
):
    write_handler("room", HANDLER)
    url = f"unix:{tmp_path}/bus"
    hold = tmp_path / "hold"
    options = ("-w", "handlers", "--workers", "2", "--backplane", url, "--shutdown-timeout", "1")
    server = start_server(*options)
    with ExitStack() as stack:
        publisher = stack.enter_context(publishing(url))
        workers = {worker: chain[-1] for worker, chain in pids(server).items()}
        listeners = {worker: listen(server, pid, stack) for worker, pid in workers.items()}
        for listener in listeners.values():
            listener.wait_for_number(1)
        ended = []
        for turn, number in enumerate(ENDINGS):
            victim = 1 + turn % 2
            publisher.wait_for(PUBLISHED // 2)
            last = phase(Attack(server, victim, listeners[victim], number, hold))
            publisher.wait_for(PUBLISHED // 2)
            ended.append(listeners[victim])
            workers[victim] = next_pid(server, victim, last)
            listeners[victim] = listen(server, workers[victim], stack)
            for listener in listeners.values():
                listener.wait_for_number(publisher.published)
        publisher.wait_for(1)
        publisher.end()
        for listener in listeners.values():
            listener.wait_for_number(publisher.published)
        for listener in (*ended, *listeners.values()):
            listener.check()
        for listener in listeners.values():
            wait_until(
                lambda listener=listener: gaps(server, listener.pid) == listener.holes,
                f"{listener.holes} messages are missing, and {gaps(server, listener.pid)} are told",
            )
        assert publisher.published >= 1000


def gaps(server: Server, pid: int) -> int:
    """How many messages a worker says to have missed."""
    found = (re.search(rf"gap in {pid}: (\d+)", line) for line in list(server.log.lines))
    return sum(int(match[1]) for match in found if match)
