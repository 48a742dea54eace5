"""Waits for what nothing announces."""

import time
from collections.abc import Callable

import pytest

from wire import DEADLINE_SECONDS

__all__ = ["wait_until"]


def wait_until(condition: Callable[[], object], failure: str) -> None:
    """Poll until a condition holds; fail, saying why, if it does not in time."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(failure)
        time.sleep(0.01)
