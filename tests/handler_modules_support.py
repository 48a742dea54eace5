"""Handlers written and loaded as modules, of which nothing may stay."""

import gc
import sys
import textwrap

import pytest

from fastwsh.loading import handler_modules
from fastwsh.pywebsocket import dispatch

__all__ = ["ECHO", "FUNCTIONS", "TOP", "load", "nothing_stays"]

TOP = "fastwsh.handlers"

FUNCTIONS = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request): pass
"""

ECHO = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request): request.ws_stream.send_message(str(answer()))
"""


@pytest.fixture(autouse=True)
def nothing_stays():
    """Everything of earlier tests is gone, and so is everything of this one."""
    gc.collect()
    handler_modules._sweep()
    path = list(sys.path)
    yield
    gc.collect()
    handler_modules._sweep()
    assert [name for name in sys.modules if name.startswith(f"{TOP}.")] == []
    assert sys.path == path


@pytest.fixture
def load(tmp_path):
    """Write files, load the handlers among them, and return their variables by resource."""
    folders = []

    def load(**sources):
        for name, source in sources.items():
            path = tmp_path.joinpath(*f"{name}.py".split("__"))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(source))
        dispatcher = dispatch.Dispatcher(str(tmp_path))
        assert dispatcher.source_warnings() == []
        folders.append(dispatcher)
        return {
            resource: suite.namespace for resource, suite in dispatcher._handler_suite_map.items()
        }

    yield load
    folders.clear()
