"""Subscribers that do not read: whom they delay, what they miss, and when they are cut."""

import signal
import threading
import time

import pytest

from conftest import StartServer
from metrics_support import Metrics
from topics_support import number_of, publish, topic_handlers
from wire import CLOSE, DEADLINE_SECONDS, Client

__all__ = ["topic_handlers"]

END = 10_000
"""The number of a message after those that fill the queue."""


class SlowReader:
    """Reads what a slow client has got, in a thread, until the end or a close frame."""

    def __init__(self, client: Client) -> None:
        self.numbers: list[int] = []
        self.close_code: int | None = None
        self._client = client
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        while self.numbers[-1:] != [END]:
            frame = self._client.read_frame()
            if frame.opcode == CLOSE:
                self.close_code = int.from_bytes(frame.payload[:2])
                return
            self.numbers.append(number_of(frame))


@pytest.mark.usefixtures("topic_handlers")
@pytest.mark.parametrize("policy", ["close", "drop-newest", "drop-oldest"])
def test_a_subscriber_that_does_not_read_delays_nobody(start_server: StartServer, policy: str):
    limits = ["--slow-subscriber", policy, "--topic-queue-bytes", "300000"]
    server = start_server("-w", "handlers", "--metrics-port", "0", *limits)
    metrics = Metrics(server)
    with server.connect() as publisher, server.connect() as slow, server.connect() as quick:
        publisher.handshake("/publishes")
        slow.handshake("/waits")
        quick.handshake("/waits")
        count = 300
        for number in range(count):
            publish(publisher, 1, range(number, number + 1), 50_000)
            assert number_of(quick.read_frame()) == number
        server.log.wait_for(r"127\.0\.0\.1 is too slow for its topics \(--topic-queue-bytes\): ")
        reader = SlowReader(slow)
        deadline = time.monotonic() + DEADLINE_SECONDS
        while reader.thread.is_alive() and time.monotonic() < deadline:
            # as long as the queue is full, the new message may be dropped
            publish(publisher, 1, range(END, END + 1))
            reader.thread.join(0.01)
        numbers = [number for number in reader.numbers if number != END]
        assert numbers == sorted(set(numbers))
        assert 0 < len(numbers) < count
        if policy == "drop-oldest":
            assert numbers[-1] == count - 1
        else:
            assert numbers == list(range(len(numbers)))
        closes = policy == "close"
        assert reader.close_code == (1008 if closes else None)
        assert metrics.value("topic_slow_closes_total") == closes
        dropped = metrics.value("topic_messages_dropped_total")
        assert dropped is not None
        assert dropped == 1 if closes else dropped > count - len(numbers) - 1
        if closes:
            slow.send_close(1008)
            assert slow.read_to_end() == b""
            metrics.wait_for("topic_subscriptions", 1)
        assert metrics.value("topics") == 1


@pytest.mark.usefixtures("topic_handlers")
def test_a_slow_subscriber_that_does_not_answer_is_cut(start_server: StartServer):
    limits = ["--topic-queue-bytes", "300000", "--close-timeout", "1", "--shutdown-timeout", "300"]
    server = start_server("-w", "handlers", *limits)
    with server.connect() as publisher, server.connect() as slow:
        publisher.handshake("/publishes")
        slow.handshake("/waits")
        publish(publisher, 1, range(300), 50_000)
        server.log.wait_for("is too slow for its topics .--topic-queue-bytes.: connection closed")
        publisher.send_close()
        assert publisher.read_frame().opcode == CLOSE
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
