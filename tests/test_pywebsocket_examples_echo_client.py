"""pywebsocket3's `example/echo_client.py`, run from its source package against both servers.

It is run once on pywebsocket3's own modules and once on fastwsh's, which then do the client's
half of the protocol over its socket.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conftest import Server, StartServer, clean_environment
from pywebsocket_reference import SERVERS, serve_examples
from wire import DEADLINE_SECONDS

# Runs a script with pywebsocket's names resolving to fastwsh.
ON_FASTWSH = """\
import runpy, sys
from fastwsh import pywebsocket
pywebsocket.install()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

EchoClient = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def fastwsh(start_server: StartServer, pywebsocket3_source: Path) -> Server:
    return start_server("-w", pywebsocket3_source / "example")


@pytest.fixture(scope="module")
def pywebsocket3(pywebsocket3_source: Path) -> Iterator[Server]:
    with serve_examples(pywebsocket3_source) as server:
        yield server


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Server:
    """A server of the example handlers."""
    return request.getfixturevalue(request.param)


@pytest.fixture(params=["pywebsocket3's modules", "fastwsh's modules"])
def echo_client(
    request: pytest.FixtureRequest, server: Server, pywebsocket3_source: Path
) -> EchoClient:
    """Run the client with these options against the server; return what it printed."""
    script = str(pywebsocket3_source / "example" / "echo_client.py")
    if request.param == "fastwsh's modules":
        command, environment = [sys.executable, "-c", ON_FASTWSH, script], clean_environment()
    else:
        command = [sys.executable, script]
        environment = clean_environment(PYTHONPATH=str(pywebsocket3_source))

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*command, "-s", "127.0.0.1", "-p", str(server.port), *options],
            env={**environment, "PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=DEADLINE_SECONDS,
        )

    return run


def echoed(*messages: str) -> list[str]:
    """What the client prints for messages that came back."""
    return [line for text in messages for line in (f"Send: {text}", f"Recv: {text}")]


CLIENT_CLOSES = ["Send close", "Recv ack"]
SERVER_CLOSES = ["Recv close", "Send ack"]


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], [*echoed("Hello", "<>"), *CLIENT_CLOSES]),
        (["-m", "one,two,,four"], [*echoed("one", "two", "", "four"), *CLIENT_CLOSES]),
        (["--message", "Grüße 世界 👋"], [*echoed("Grüße 世界 👋"), *CLIENT_CLOSES]),
        (["-m", "Hello,Goodbye"], [*echoed("Hello", "Goodbye"), *SERVER_CLOSES]),
        (["-q", "-r", "/echo_noext"], CLIENT_CLOSES),
        (["-r", "/hsts", "-m", "x"], ["Send: x", "Recv: Hello", *CLIENT_CLOSES]),
        (["-o", "http://example.org"], [*echoed("Hello", "<>"), *CLIENT_CLOSES]),
        (
            ["--use-permessage-deflate", "-m", "aaaaaaaaaa,aaaaaaaaaa,Goodbye"],
            [*echoed("aaaaaaaaaa", "aaaaaaaaaa", "Goodbye"), *SERVER_CLOSES],
        ),
        (["--use_permessage_deflate", "-m", ","], [*echoed("", ""), *CLIENT_CLOSES]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_prints_the_conversation(
    echo_client: EchoClient, options: list[str], printed: list[str]
) -> None:
    done = echo_client(*options)
    assert (done.returncode, done.stdout.splitlines()) == (0, printed), done.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["-r", "/no_such_handler"], "Expected HTTP status code 101 but found b'404'"),
        (["-r", "/origin_check"], "Expected HTTP status code 101 but found b'403'"),
        (["-r", "/abort_handshake"], "Connection closed before receiving requested length"),
        # The server may have closed before the client sends, while it does, or when it reads.
        (["-r", "/abort"], "ConnectionTerminatedException|BrokenPipeError|Reset|OSError"),
        (
            ["-r", "/echo_noext", "--use-permessage-deflate"],
            "Requested permessage-deflate, but the server rejected it",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_says_why_it_failed(echo_client: EchoClient, options: list[str], reason: str) -> None:
    done = echo_client(*options)
    assert done.returncode == 1
    assert re.search(reason, done.stderr.splitlines()[-1])
