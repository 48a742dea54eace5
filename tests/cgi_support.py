"""CGI programs for tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Server, StartServer
from http_support import fetch

TEXT = "printf 'Content-Type: text/plain\\r\\n\\r\\n'\n"


class Programs:
    """The folder `cgi-bin` of a document root, and the server for it."""

    def __init__(self, start_server: StartServer, root: Path) -> None:
        self.root = root
        self._start = start_server

    def add(self, name: str, script: str, *, shebang: str = "#!/bin/sh", mode: int = 0o755) -> None:
        """Write a program in the language of `shebang`."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{shebang}\n{script}", encoding="utf-8")
        path.chmod(mode)

    def serve(self, *args: str, env: dict[str, str] | None = None) -> Server:
        return self._start(
            "-d", self.root, "-w", self.root, "-x", "/cgi-bin,/htbin", *args, env=env
        )


@pytest.fixture
def programs(start_server: StartServer) -> Iterator[Programs]:
    # where the server runs as root, programs run as nobody, whom pytest keeps out of its folders
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder).resolve()
        top.chmod(0o755)
        (top / "root" / "cgi-bin").mkdir(parents=True)
        yield Programs(start_server, top / "root")


def environment(server: Server, target: str, *headers: str, method: str = "GET") -> dict[str, str]:
    reply = fetch(server, target, method=method, headers=headers)
    assert reply.status == 200
    return dict(line.split("=", 1) for line in reply.body.decode("latin-1").splitlines())
