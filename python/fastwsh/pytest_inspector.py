"""`--fastwsh-inspect`: the inspector of the servers of tests."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from fastwsh.testing import WsServer

__all__ = ["add_option", "options", "wait"]

_OPTION: Final = "--fastwsh-inspect"


def add_option(parser: pytest.Parser) -> None:
    """Declare the option."""
    parser.getgroup("fastwsh", "WebSocket servers for tests of clients").addoption(
        _OPTION,
        action="store_true",
        help="let wsserver and wss_server have the inspector; when a test fails, show its URL and "
        "keep the server until Enter is pressed",
    )


def options(config: pytest.Config) -> dict[str, Any]:
    """Return the options of servers that have it."""
    return {"inspect": 0} if config.getoption(_OPTION) else {}


def wait(config: pytest.Config, server: WsServer) -> None:
    """Show the URL, and wait for Enter; go on if there is no terminal to press it at."""
    with _without_capture(config), contextlib.suppress(EOFError, OSError):
        sys.stdout.write(
            f"\nThe test has failed. Inspector of {server.url}: {server.inspector_url}\n"
            "Press Enter to go on. "
        )
        sys.stdout.flush()
        if not sys.stdin.readline():
            sys.stdout.write("(there is no input)\n")


@contextlib.contextmanager
def _without_capture(config: pytest.Config) -> Iterator[None]:
    """Let output be seen, and input be read."""
    capture: Any = config.pluginmanager.getplugin("capturemanager")
    if capture is None:
        yield
        return
    with capture.global_and_fixture_disabled():
        # which leaves the input captured
        capture.suspend_global_capture(in_=True)
        yield
