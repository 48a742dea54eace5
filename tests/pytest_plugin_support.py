"""Test modules that use the pytest plugin, run by a pytest of their own."""

import pytest

__all__ = ["ALONE", "WITHOUT_OTHERS", "failures", "reports", "run"]

# The variables and the arguments of a pytest with no plugin but ours: those that happen to be
# installed take longer to import than most of the tests run.
WITHOUT_OTHERS = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
ALONE = "-p", "fastwsh.pytest_plugin"

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
    """Run a test module in a pytest of its own, with no other plugin; warnings are errors."""
    for name, value in WITHOUT_OTHERS.items():
        monkeypatch.setenv(name, value)

    def run(module, *args, ini=""):
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        pytester.makepyfile(PREAMBLE + module)
        return pytester.runpytest_subprocess(*ALONE, "--strict-markers", *args)

    return run


def failures(result):
    """Count the tests that failed: at once, or when their server had stopped."""
    outcomes = result.parseoutcomes()
    return outcomes.get("failed", 0) + outcomes.get("errors", 0)


def reports(result):
    """Return how often a report begins."""
    return sum(line.startswith("____") for line in result.outlines)
