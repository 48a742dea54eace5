"""Odd and many answers over HTTP/3: whatever one of them is like, the connection's others last."""

from pathlib import Path

import pytest

from cgi_support import Programs, programs
from conftest import StartServer, WriteHandler
from echo_handlers import ECHO, ECHO_MODULE
from fastwsh.http3 import inner_connection
from fastwsh.testing import TlsFiles, running_server
from http3_support import Http3Client, write_certificate
from stream_tunnel import Tunnel
from wire import TEXT, Frame

__all__ = ["programs"]  # the fixture

LARGE = "y" * 8000

ANSWERS = {
    "too-long": r"Content-Length: 3\n\nabcdefgh",
    "too-short": r"Content-Length: 30\n\nabcdefgh",
    "signed": r"Content-Length: +8\n\nabcdefgh",
    "two-lengths": r"Content-Length: 8\nContent-Length: 9\n\nabcdefgh",
    "not-modified": r"Status: 304\nContent-Length: 100\n\n",
    "no-content": r"Status: 204\nContent-Length: 100\n\n",
}


def assert_echoes(websocket: Tunnel) -> None:
    websocket.send_frame(TEXT, b"x")
    assert websocket.read_frame() == Frame(TEXT, b"x")


def test_lengths_of_programs_that_are_wrong(programs: Programs, tmp_path: Path):
    for name, answer in ANSWERS.items():
        programs.add(f"cgi-bin/{name}", f"printf 'Content-Type: text/plain\\n{answer}'\n")
    (programs.root / "echo_wsh.py").write_text(ECHO_MODULE)
    write_certificate(tmp_path / "tls.pem")
    server = programs.serve("--http3", "--ssl-certfile", str(tmp_path / "tls.pem"))
    with Http3Client(server) as client:
        websocket = client.websocket("/echo")
        for name in ANSWERS:
            answer = client.fetch(f"/cgi-bin/{name}")
            status = {"not-modified": 304, "no-content": 204}.get(name, 200)
            assert answer.status == status, name
            assert bytes(answer.data) == (b"abcdefgh" if status == 200 else b""), name
            assert_echoes(websocket)


@pytest.mark.parametrize("headers", [[("Content-Length", "3")], [("X-Own", LARGE)] * 12])
def test_headers_of_handlers(
    start_server: StartServer,
    write_handler: WriteHandler,
    tmp_path: Path,
    headers: list[tuple[str, str]],
):
    write_handler("echo", ECHO)
    write_handler(
        "odd", ECHO_MODULE.replace("pass", f"request.extra_headers.extend({headers!r})", 1)
    )
    write_certificate(tmp_path / "tls.pem")
    server = start_server("-w", "handlers", "--http3", "--ssl-certfile=tls.pem")
    with Http3Client(server) as client:
        websocket = client.websocket("/echo")
        odd = client.websocket("/odd")
        told = [value for name, value in odd.state.all_headers if name == headers[0][0].lower()]
        assert told == [value for _, value in headers]
        for each in (odd, websocket, odd):
            assert_echoes(each)


def test_more_pages_than_the_window_that_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inner_connection, "_CONNECTION_WINDOW", 1)  # one more than the protocol's
    (tmp_path / "page").write_bytes(bytes(10_000))
    write_certificate(tmp_path / "tls.pem")
    tls = TlsFiles(tmp_path / "tls.pem", tmp_path / "tls.pem")
    with (
        running_server(http3=True, document_root=tmp_path, tls=tls) as server,
        Http3Client(server) as client,
    ):
        for _ in range(20):
            assert len(client.fetch("/page").data) == 10_000
