"""Servers with an inspector, one for each way to run handlers, and connections to them."""

import functools
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from conftest import Server, starting_servers, to_coroutine_function
from echo_handlers import ECHO
from hub_support import handler
from inspector_support import Page, inspector_url
from wire import Client

__all__ = ["connect", "new_resource", "page", "server", "servers", "to_end"]

_NUMBERS = itertools.count(1)

PARTS = """\
request.ws_stream.send_message("one", end=False)
request.ws_stream.receive_message()
request.ws_stream.send_message("two")
request.ws_stream.receive_message()
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Server]]:
    """One server for each way to run handlers, which all tests of this file share."""
    with ExitStack() as stack:

        @functools.cache
        def get(way: str) -> Server:
            folder = tmp_path_factory.mktemp(f"inspector-{way}")
            (folder / "handlers").mkdir()
            for name, lines in (("echo", ECHO), ("parts", PARTS)):
                code = handler(lines)
                if way == "loop":
                    code = to_coroutine_function(code)
                (folder / "handlers" / f"{name}_wsh.py").write_text(code)
            start = stack.enter_context(starting_servers(folder, way))
            return start("-w", "handlers", "--inspect", "0")

        yield get


@pytest.fixture
def server(servers: Callable[[str], Server], concurrency: str) -> Server:
    return servers(concurrency)


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    with Page(inspector_url(server)) as opened:
        yield opened


def new_resource(path: str = "/echo") -> str:
    """A resource that no other test asks for."""
    return f"{path}?{next(_NUMBERS)}"


def connect(
    client: Client, page: Page, path: str = "/echo", headers: list[tuple[str, str]] | None = None
) -> int:
    """Open a connection that no other test has; return its number."""
    resource = new_resource(path)
    client.handshake(resource, headers or ())
    return page.find(resource)


def to_end(client: Client) -> bytes:
    """Read what comes before the end, which may be a reset."""
    try:
        data: bytes = client.read_to_end()
    except ConnectionError:
        return b""
    return data
