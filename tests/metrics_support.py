"""What a server answers on its metrics port."""

import time
from http.client import HTTPConnection, HTTPResponse

from prometheus_client.parser import text_string_to_metric_families

from conftest import DEADLINE_SECONDS, Server

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def metrics_port(server: Server) -> int:
    """The port, from the line that names it."""
    return int(server.log.wait_for(r"Metrics on http://127\.0\.0\.1:(?P<port>\d+)/metrics")["port"])


def ask(port: int, path: str, method: str = "GET") -> tuple[HTTPResponse, str]:
    """Ask once; return the answer and its text."""
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE_SECONDS)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response, response.read().decode()
    finally:
        connection.close()


def parse(text: str) -> Samples:
    """Read the text format as Prometheus does."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


class Metrics:
    """The metrics of a server that was started with `--metrics-port 0`."""

    def __init__(self, server: Server) -> None:
        self.port = metrics_port(server)

    def now(self) -> Samples:
        response, text = ask(self.port, "/metrics")
        assert response.status == 200
        return parse(text)

    def value(self, name: str, **labels: str) -> float | None:
        return self.now().get((f"fastwsh_{name}", frozenset(labels.items())))

    def wait_for(self, name: str, expected: float, **labels: str) -> None:
        """Ask until a metric has a value: what ends is counted a moment after its end."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (found := self.value(name, **labels)) != expected:
            assert time.monotonic() < deadline, f"{name}{labels} is {found}, not {expected}"
            time.sleep(0.01)
