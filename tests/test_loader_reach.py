"""Handlers whose names no URI may contain as they are can be reached (RFC 3986 2.1)."""

import os
from pathlib import Path

import pytest

from conftest import BOTH_WAYS, StartServer, WriteHandler

pytestmark = BOTH_WAYS

ECHO = "request.ws_stream.send_message(request.ws_resource)"


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("caf\xe9", ["/caf%C3%A9", "/caf%c3%a9?x=%20"]),
        ("my room", ["/my%20room"]),
        ("\u4e2d\u6587/\u804a\u5929", ["/%E4%B8%AD%E6%96%87/%E8%81%8A%E5%A4%A9"]),
        ("a+b[0]", ["/a+b[0]", "/a%2Bb%5B0%5D"]),
        ("per%20cent", ["/per%20cent"]),
    ],
)
def test_by_the_escapes_of_a_client(
    start_server: StartServer, write_handler: WriteHandler, name: str, paths: list[str]
):
    write_handler(name, ECHO)
    server = start_server("-w", "handlers")
    for path in paths:
        with server.connect() as client:
            client.handshake(path)
            # the handler sees what the client has sent
            assert client.read_frame().payload == path.encode()


@pytest.mark.parametrize("path", ["/%65cho", "/ech%6F", "/sub%2Fecho", "/per%2520cent", "/a%00"])
def test_but_not_by_other_escapes(
    start_server: StartServer, write_handler: WriteHandler, path: str
):
    for name in ("echo", "sub/echo", "per%20cent"):
        write_handler(name, ECHO)
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.send_request(path)
        assert client.read_response().status in {400, 404}


def test_file_name_that_is_not_utf_8(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
):
    write_handler("good", ECHO)
    source = (tmp_path / "handlers" / "good_wsh.py").read_bytes()
    odd = os.path.join(os.fsencode(tmp_path / "handlers"), b"\xd6\xd0\xce\xc4_wsh.py")  # noqa: PTH118
    with open(odd, "wb") as file:  # noqa: PTH123 (bytes)
        file.write(source)
    server = start_server("-w", "handlers")
    for path in ("/good", "/%D6%D0%CE%C4", "/%d6%d0%ce%c4?x"):
        with server.connect() as client:
            client.handshake(path)
            assert client.read_frame().payload == path.encode()
