"""Fixtures: a server in a process of its own, handlers to serve, and pywebsocket's source."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import IO, Protocol

import pytest
from hypothesis import HealthCheck, settings

from cached_folders import make_once
from http2_bridge import bridging
from node_support import install_ws
from wire import DEADLINE_SECONDS, Client

pytest_plugins = ["pytester"]

# no test measures time: the machine may be slow or loaded
settings.register_profile("fastwsh", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("fastwsh")

ROOT = Path(__file__).resolve().parent.parent

_LISTENING = re.compile(
    r"Listening on (?:unix:(?P<path>[^\"]*)|\[?(?P<host>.*?)\]?:(?P<port>\d+))(?:\"|$)"
)
_PYWEBSOCKET3 = "pywebsocket3-4.0.2"
_PYWEBSOCKET3_SHA256 = "2589ddc14cdd9ca600cc76551a7f4f8935837304790b72f371fd1a9e4986430f"


if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
    # Under nohup. What is ignored stays so in the servers, which are to renew what SIGHUP renews;
    # a handler does not.
    signal.signal(signal.SIGHUP, lambda *_: None)


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment without what would change the behaviour of a server or a client."""
    names = (
        name
        for name in os.environ
        if not name.startswith(("FASTWSH_", "NO_COLOR", "WEB_CONCURRENCY"))
        and not name.lower().endswith("_proxy")
    )
    kept = {name: os.environ[name] for name in names}
    return {**kept, "PYTHONUNBUFFERED": "1", **extra}


class Output:
    """The lines of a stream, collected by a thread so that the process never blocks on it."""

    def __init__(self, stream: IO[str]) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._collect, args=(stream,), daemon=True)
        self._thread.start()

    def _collect(self, stream: IO[str]) -> None:
        for line in stream:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str | re.Pattern[str]) -> re.Match[str]:
        """Return the first match in a line; fails if the stream ends or the deadline passes."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        seen = 0
        with self._changed:
            while True:
                for line in self.lines[seen:]:
                    if match := re.search(pattern, line):
                        return match
                seen = len(self.lines)
                left = deadline - time.monotonic()
                if self._ended or left <= 0:
                    text = "\n".join(self.lines)
                    pytest.fail(f"no line matches {pattern!r} in:\n{text}")
                self._changed.wait(left)

    def text(self) -> str:
        """Everything that was written; call it after the process has ended."""
        self._thread.join(DEADLINE_SECONDS)
        assert not self._thread.is_alive(), "the process, or one that it has started, still runs"
        return "\n".join(self.lines)


class Server:
    """`python -m fastwsh` in a process of its own, listening on a free port of 127.0.0.1."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self.process = process
        self.out = Output(process.stdout)
        self.log = Output(process.stderr)
        self.port = 0

    def wait_until_listening(self) -> None:
        self.port = int(self.log.wait_for(_LISTENING)["port"] or 0)

    def connect(self) -> Client:
        """Open a TCP connection; the caller closes it."""
        return Client(self.port)

    def url(self, path: str = "/", scheme: str = "ws") -> str:
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    def send_signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the process to end; return its exit status."""
        return self.process.wait(DEADLINE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(DEADLINE_SECONDS)
        sys.stdout.write(f"--- server stdout\n{self.out.text()}\n")
        sys.stdout.write(f"--- server stderr\n{self.log.text()}\n")
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class StartServer(Protocol):
    """Starts a server; it is killed when the test ends."""

    def __call__(
        self,
        *args: str | os.PathLike[str],
        log_level: str = "info",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        listen: Sequence[str] = ...,
        pass_fds: Sequence[int] = ...,
    ) -> Server: ...


def run_fastwsh(
    *args: str, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `python -m fastwsh` with these arguments until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "fastwsh", *args],
        check=False,
        cwd=cwd,
        env=clean_environment(**(env or {})),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )


BOTH_WAYS = pytest.mark.parametrize("concurrency", ["threads", "hub"])
"""For tests whose handlers must not be able to tell where they run."""

ALL_WAYS = pytest.mark.parametrize("concurrency", ["threads", "hub", "loop"])
"""The same for handlers that `write_handler` can make coroutine functions of, for "loop"; a test
whose handler does what a coroutine cannot is marked `blocks`."""


CONTRACT_WAYS = pytest.mark.parametrize("concurrency", ["threads", "hub", "loop", "http2", "http3"])
"""The same for the contract's tests: "http2" is the hub, and clients speak over streams of HTTP/2
(see `http2_bridge`); "http3" likewise, for tests that are marked `http3`, since from the stream on
both have the same code. A test that neither can pass is marked `http1`, with the reason."""

_OVER_STREAMS = ("http2", "http3")

# These ways leave out tests with these marks.
_LEFT_OUT = {"loop": "blocks", "http2": "http1", "http3": "http1"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def is_possible(item: pytest.Item) -> bool:
        params = item.callspec.params if hasattr(item, "callspec") else {}
        way = params.get("concurrency")
        if way == "http3" and not item.get_closest_marker("http3"):
            return False
        if way in _OVER_STREAMS and params.get("transport", "plain") != "plain":
            return False
        return way not in _LEFT_OUT or not item.get_closest_marker(_LEFT_OUT[way])

    items[:] = filter(is_possible, items)


DEFAULT_CONCURRENCY = os.environ.get("FASTWSH_TEST_CONCURRENCY", "auto")


@pytest.fixture
def concurrency() -> str:
    """Where handlers run; `BOTH_WAYS` overrides it."""
    return DEFAULT_CONCURRENCY


_SETTINGS = {"loop": "auto", "http2": "hub", "http3": "hub"}


def _certificate(folder: Path) -> Path:
    # this module's importers need not have aioquic, and the other imports this one
    from http3_support import write_certificate

    path = folder / "bridge.pem"
    write_certificate(path)
    return path


def _bridge(way: str, port: int) -> AbstractContextManager[int]:
    if way == "http2":
        return bridging(port)
    from http3_bridge import Http3Passage

    return bridging(port, Http3Passage)


@contextmanager
def starting_servers(folder: Path, concurrency: str) -> Iterator[StartServer]:
    """Give a function that starts `python -m fastwsh` and waits until it listens.

    `log_level` must be info or lower: the port is read from the log. `listen` are the options that
    say where, by default a free port of 127.0.0.1; `folder` is where, unless `cwd` says otherwise.
    """
    servers: list[Server] = []
    bridges = ExitStack()

    def start(
        *args: str | os.PathLike[str],
        log_level: str = "info",
        cwd: Path | None = None,
        env: dict[str, str] | None = None,
        listen: Sequence[str] = ("-H", "127.0.0.1", "-p", "0"),
        pass_fds: Sequence[int] = (),
    ) -> Server:
        command = [sys.executable, "-m", "fastwsh", *listen]
        command += ["--log-level", log_level, *map(os.fspath, args)]
        if concurrency == "http2":
            command.append("--http2")
        elif concurrency == "http3":
            place = bridges.enter_context(tempfile.TemporaryDirectory())
            command += ["--http3", "--ssl-certfile", os.fspath(_certificate(Path(place)))]
        process = subprocess.Popen(
            command,
            cwd=cwd or folder,
            env=clean_environment(
                FASTWSH_CONCURRENCY=_SETTINGS.get(concurrency, concurrency), **(env or {})
            ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            pass_fds=pass_fds,
        )
        server = Server(process)
        servers.append(server)
        server.wait_until_listening()
        if concurrency in _OVER_STREAMS:
            server.port = bridges.enter_context(_bridge(concurrency, server.port))
        return server

    try:
        yield start
    finally:
        bridges.close()
        for server in servers:
            server.kill()


@pytest.fixture
def start_server(tmp_path: Path, concurrency: str) -> Iterator[StartServer]:
    """Start `python -m fastwsh` with these arguments, as `starting_servers` does."""
    with starting_servers(tmp_path, concurrency) as start:
        yield start


def find_program(name: str, *packages: str) -> str:
    """Return the path of a program. Without it, the tests are skipped; on CI, they fail."""
    # Debian has servers where the path of an ordinary user does not lead.
    path = shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin")
    if path is None:
        message = f"{name} is not installed: apt-get install {' '.join(packages)}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return path


@pytest.fixture
def handler_root(tmp_path: Path) -> Path:
    """An empty folder for handlers."""
    root = tmp_path / "handlers"
    root.mkdir()
    return root


WriteHandler = Callable[[str, str], Path]

_AWAITED = re.compile(
    r"request\.ws_stream\.(?:receive_message|send_message|close_connection|send_ping)\("
)


def to_coroutine_function(module: str) -> str:
    """Make `web_socket_transfer_data` a coroutine function that awaits its stream."""
    before, function, after = module.partition("def web_socket_transfer_data")
    return before + "async " + function + _AWAITED.sub(r"await \g<0>", after)


@pytest.fixture
def write_handler(handler_root: Path, concurrency: str) -> WriteHandler:
    """Write `<name>_wsh.py`: `body` is the whole module, or the lines of `transfer_data`.

    For "loop" `transfer_data` becomes a coroutine function, if it uses only `request.ws_stream`.
    """

    def write(name: str, body: str) -> Path:
        if "def web_socket_" not in body:
            lines = "".join(f"    {line}\n" for line in body.splitlines())
            body = (
                "def web_socket_do_extra_handshake(request):\n    pass\n\n"
                f"def web_socket_transfer_data(request):\n{lines}"
            )
        if concurrency == "loop":
            body = to_coroutine_function(body)
        path = handler_root / f"{name}_wsh.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(body, encoding="utf-8")
        return path

    return write


@pytest.fixture(scope="session")
def pywebsocket3_source() -> Path:
    """The unpacked source package of pywebsocket3 4.0.2, from PyPI; kept in `.cache`."""

    def download(target: Path) -> None:
        with tempfile.TemporaryDirectory() as work:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
            command += ["--no-binary", ":all:", "--dest", work, _PYWEBSOCKET3.replace("-", "==")]
            subprocess.run(command, check=True)
            archive = Path(work, f"{_PYWEBSOCKET3}.tar.gz")
            assert hashlib.sha256(archive.read_bytes()).hexdigest() == _PYWEBSOCKET3_SHA256
            with tarfile.open(archive) as tar:
                tar.extractall(work, filter="data")
            shutil.copytree(Path(work, _PYWEBSOCKET3), target, dirs_exist_ok=True)

    return make_once(ROOT / ".cache" / _PYWEBSOCKET3, download)


@pytest.fixture(scope="session")
def ws_package() -> Path:
    """The folder with the package ws of Node.js; kept in `.cache`."""
    return install_ws(ROOT / ".cache")
