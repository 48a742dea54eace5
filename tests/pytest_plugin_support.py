"""Test modules that use the pytest plugin, run by a pytest of their own."""

import pytest

__all__ = ["failures", "reports", "run"]

PREAMBLE = """
import pytest
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

def say(server, message, path="/"):
    with connect(server.url_for(path)) as client:
        client.send(message)
        return client.recv(20)
"""


@pytest.fixture
def run(pytester, monkeypatch):
    """Run a test module in a pytest of its own, in which warnings are errors.

    It has no other plugin: those that happen to be installed take longer to import than most of
    the tests run.
    """
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(module, *args, ini=""):
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        pytester.makepyfile(PREAMBLE + module)
        plugin = "-p", "fastwsh.pytest_plugin"
        return pytester.runpytest_subprocess(*plugin, "--strict-markers", *args)

    return run


def failures(result):
    """Count the tests that failed: at once, or when their server had stopped."""
    outcomes = result.parseoutcomes()
    return outcomes.get("failed", 0) + outcomes.get("errors", 0)


def reports(result):
    """Return how often a report begins."""
    return sum(line.startswith("____") for line in result.outlines)
