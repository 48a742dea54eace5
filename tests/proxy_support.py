"""Web servers in front of fastwsh: Debian's programs, with the configurations that `deploy/` has.

A configuration is used as it stands but for what a test must have otherwise: each replacement fails
if its text is missing.
"""

import os
import random
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
import trustme

import docs_markdown as markdown
from conftest import ROOT, Server, StartServer, find_program
from fastwsh.options import build_parser
from proxy_programs import APACHE, CADDY, HAPROXY, NGINX, Program
from wire import DEADLINE_SECONDS, Client, Response

PAGE = "deployment.md"
# Headings on it.
UNIX_SOCKETS = "Unix sockets"
SEVERAL_PROCESSES = "Several processes"
HEALTH_CHECKS = "Health checks"

HOST = "ws.example.org"
"""The site that all configurations are for."""

CLIENT_ADDRESS = "127.0.0.2"
"""Where the clients of these tests come from; what the proxy opens comes from 127.0.0.1."""

# Where fastwsh listens on the page.
_TCP = "127.0.0.1:9998"
_UNIX = "/run/fastwsh/fastwsh.sock"


def replace(text: str, replacements: Mapping[str, str]) -> str:
    """Replace parts of a text, each of which must be there."""
    for old, new in replacements.items():
        assert old in text, f"{old!r} is not in:\n{text}"
        text = text.replace(old, new)
    return text


# --- the configurations --------------------------------------------------------------------------


@dataclass(frozen=True)
class Site:
    """A configuration of the page in front of a server of the page.

    Attributes:
        file: Its name in `deploy/`.
        server: The option that tells the server's command from the others of the page.
        timeout: What in the configuration says when a silent connection is cut.
        short: The same for a test.
    """

    program: Program
    file: str
    server: str = "-p"
    timeout: str = ""
    short: str = ""

    @property
    def name(self) -> str:
        return f"{self.file.replace('/', '-')}-{self.server.strip('-')}"

    @property
    def text(self) -> str:
        return (ROOT / "deploy" / self.file).read_text(encoding="utf-8")


THAT_CUT = (
    Site(NGINX, "nginx/fastwsh.conf", "-p", "proxy_read_timeout 60s;", "proxy_read_timeout 2s;"),
    Site(HAPROXY, "haproxy/fastwsh.cfg", "-p", "timeout tunnel 60s", "timeout tunnel 2s"),
    Site(HAPROXY, "haproxy/proxy-protocol.cfg", "--proxy-protocol", " 60s", " 2s"),
    Site(APACHE, "apache/fastwsh.conf", "-p", "Timeout 60", "Timeout 2"),
)
"""Those that cut silent connections."""

SITES = (
    *THAT_CUT,
    Site(CADDY, "caddy/Caddyfile"),
    Site(NGINX, "nginx/fastwsh.conf", "--uds"),
    Site(HAPROXY, "haproxy/fastwsh.cfg", "--uds"),
    Site(APACHE, "apache/fastwsh.conf", "--uds"),
    Site(CADDY, "caddy/Caddyfile", "--uds"),
)
"""All of them."""


def table_by_file(heading: str) -> dict[str, tuple[str, str]]:
    """Return what stands beside each file in the table of a section: a text, and what to do."""
    rows = re.findall(
        r"^\| `deploy/(\S+)` \| `(.*)` \| `(.*)` \|$", _section(heading), re.MULTILINE
    )
    return {file: (text, other) for file, text, other in rows}


def rows(heading: str) -> list[tuple[str, str]]:
    """Return the rows of a section's table of two columns: a text, and what is to be there."""
    found = re.findall(r"^\| `([^`]*)` \| `(.*)` \|$", _section(heading), re.MULTILINE)
    return [(text, other.replace("`<br>`", "\n    ")) for text, other in found]


def _section(heading: str) -> str:
    return _page().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def _page() -> str:
    return markdown.read(PAGE)


# --- the server behind ---------------------------------------------------------------------------

SUPPORTED = {option for action in build_parser()._actions for option in action.option_strings}
"""The options that fastwsh has."""


def behind(option: str) -> list[str]:
    """Return the arguments of the page's command with this option, without where it listens."""
    commands = re.findall(r"^\$ python -m fastwsh (.*--trusted-proxies.*)$", _page(), re.MULTILINE)
    (words,) = [
        words
        for words in map(shlex.split, commands)
        if option in words and (option != "-p" or "--proxy-protocol" not in words)
    ]
    for name in {"-H", "-p", "--uds"} & set(words):
        place = words.index(name)
        del words[place : place + 2]
    return words


def start_behind(
    start: StartServer,
    option: str,
    folder: Path,
    ping_interval: str = "30",
    port: int = 0,
    more: Sequence[str] = (),
) -> Server:
    """Start the page's server with this option, on a place of our own."""
    arguments = behind(option)
    place = arguments.index("--ping-interval")
    arguments[place : place + 2] = ["--ping-interval", ping_interval] if ping_interval else []
    arguments += more
    if option != "--uds":
        listen = "-H", "127.0.0.1", "-p", str(port)
        return start(*arguments, cwd=folder, listen=listen)
    path = folder / "fastwsh.sock"
    server = start(*arguments, cwd=folder, listen=("--uds", str(path)))
    # So that a proxy without rights can connect.
    path.chmod(0o777)
    return server


# --- a proxy that runs ---------------------------------------------------------------------------


class Proxy:
    """A site's program in a process of its own, on a free port of 127.0.0.1.

    Args:
        site: What it serves.
        folder: Empty, and open to everybody: workers have another user if the tests run as root.
        upstream: The server behind it: its port, or the path of its Unix socket.
        certificate: That of the site.
        changes: What else is replaced in the site's configuration.
    """

    def __init__(
        self,
        site: Site,
        folder: Path,
        upstream: int | Path,
        certificate: trustme.LeafCert,
        *,
        changes: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.site = site
        self._program = find_program(site.program.name, site.program.name)
        self._folder = folder
        self._log = folder / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "both.pem"))
        certificate.private_key_pem.write_to_path(str(folder / "privkey.pem"))
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (folder / "fullchain.pem").write_bytes(chain)

        text = replace(site.text, changes)
        if isinstance(upstream, Path):
            documented, instead = table_by_file(UNIX_SOCKETS)[site.file]
            text = replace(text, {documented: replace(instead, {_UNIX: str(upstream)})})
        else:
            text = replace(text, {_TCP: f"127.0.0.1:{upstream}"})
        text = replace(text, site.program.replaced)
        (folder / "site").write_text(self._filled(text), encoding="utf-8")
        (folder / "main").write_text(self._filled(site.program.main), encoding="utf-8")

    def _filled(self, text: str) -> str:
        is_root = os.geteuid() == 0
        for word, value in {
            "folder": str(self._folder),
            "main": str(self._folder / "main"),
            "site": str(self._folder / "site"),
            "port": str(self.port),
            "user of nginx": "user root;" if is_root else "",
            # It refuses to be root.
            "user of apache": "User www-data\nGroup www-data" if is_root else "",
        }.items():
            text = text.replace(f"{{{word}}}", value)
        return text

    def _command(self, arguments: str) -> list[str]:
        return [self._program, *self._filled(arguments).split()]

    def _environment(self) -> dict[str, str]:
        # Where Caddy keeps what it has.
        return {**os.environ, "HOME": str(self._folder), "XDG_DATA_HOME": str(self._folder)}

    def check(self) -> None:
        """Let the program check its configuration."""
        done = subprocess.run(
            self._command(self.site.program.check),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=self._environment(),
            timeout=DEADLINE_SECONDS,
        )
        assert done.returncode == 0, done.stdout
        # As nginx and HAProxy write it; Apache and Caddy warn of the certificate.
        assert "[warn" not in done.stdout.lower(), done.stdout

    def start(self) -> None:
        """Start it and wait until it listens."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(self.site.program.run),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment(),
                # Its workers are stopped with it.
                start_new_session=True,
            )
        deadline = time.monotonic() + DEADLINE_SECONDS
        while not _listens(self.port):
            if self._process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"{self.site.name} does not listen:\n{self.log()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, with its workers."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(DEADLINE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(DEADLINE_SECONDS)
            sys.stdout.write(f"--- {self.site.name}\n{self.log()}\n")

    def log(self) -> str:
        """Return what it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")


@contextmanager
def running(proxy: Proxy) -> Iterator[Proxy]:
    """Run it."""
    try:
        proxy.start()
        yield proxy
    finally:
        proxy.stop()


def wait_for_log(proxy: Proxy, pattern: str) -> None:
    """Wait until it has written a line."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not re.search(pattern, proxy.log()):
        assert time.monotonic() < deadline, proxy.log()
        time.sleep(0.01)


def free_port() -> int:
    """Return a port on which nobody listens.

    It is none of those that the system gives to connections, as one of another test might get it
    before the caller's program listens.
    """
    range_of_connections = Path("/proc/sys/net/ipv4/ip_local_port_range")
    lowest = (
        int(range_of_connections.read_text().split()[0]) if range_of_connections.exists() else 0
    )
    candidates = range(12_000, lowest)
    while True:
        port = random.choice(candidates) if candidates else 0
        with suppress(OSError), socket.create_server(("127.0.0.1", port)) as listener:
            return int(listener.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


# --- a client of the site ------------------------------------------------------------------------


@contextmanager
def connected(proxy: Proxy, context: ssl.SSLContext) -> Iterator[Client]:
    """A TLS connection to the site, from `CLIENT_ADDRESS`."""
    address = "127.0.0.1", proxy.port
    with (
        socket.create_connection(address, DEADLINE_SECONDS, (CLIENT_ADDRESS, 0)) as plain,
        context.wrap_socket(plain, server_hostname=HOST) as wrapped,
        Client.over(wrapped, proxy.port) as client,
    ):
        yield client


def request(client: Client, path: str, **headers: str) -> Response:
    """Ask the site for a WebSocket; `headers` have underscores in their names."""
    own = [(name.replace("_", "-"), value) for name, value in headers.items()]
    client.send_request(path, [("Host", f"{HOST}:{client.port}"), *own])
    return client.read_response()
