"""Handlers that serve the paths below their own."""

import pytest

from conftest import ALL_WAYS, StartServer, WriteHandler

SUBPATHS = "web_socket_subpaths = True\n"


def handler(name: str, before: str = "") -> str:
    return (
        f"{before}def web_socket_do_extra_handshake(request):\n    pass\n"
        "def web_socket_transfer_data(request):\n"
        f"    request.ws_stream.send_message({name!r} + ' ' + request.uri)\n"
    )


class TestEverywhere:
    pytestmark = ALL_WAYS

    def test_the_nearest_handler_above_serves(
        self, start_server: StartServer, write_handler: WriteHandler, handler_root
    ):
        write_handler("rooms", handler("rooms", SUBPATHS))
        write_handler("rooms/own", handler("own"))
        write_handler("rooms/deep", handler("deep", SUBPATHS))
        write_handler("other", handler("other"))
        (handler_root.parent / "aliases").write_text("/r\u00e4ume /rooms\n", "utf-8")
        server = start_server("-w", "handlers", "-m", "aliases")
        for path, name in (
            ("/rooms", "rooms"),
            ("/rooms/", "rooms"),
            ("/rooms/a/b?c=/d", "rooms"),
            ("/rooms/own", "own"),
            ("/rooms/own/a", "rooms"),
            ("/rooms/deep/a", "deep"),
            ("/r%C3%A4ume/a", "rooms"),
        ):
            with server.connect() as client:
                client.handshake(path)
                assert client.read_frame().payload.decode() == f"{name} {path}"
        for path in ("/roomsa", "/other/a", "/a/rooms/b", "*/rooms/a"):
            with server.connect() as client:
                client.send_request(path)
                assert client.read_response().status in (400, 404)


def test_pages_below_are_files(
    start_server: StartServer, write_handler: WriteHandler, handler_root
):
    write_handler("rooms", handler("rooms", SUBPATHS))
    (handler_root / "rooms").mkdir()
    (handler_root / "rooms" / "page.txt").write_text("a page")
    server = start_server("-d", "handlers")
    with server.connect() as client:
        client.send(b"GET /rooms/page.txt HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert client.read_response().status == 200
        assert client.read_to_end() == b"a page"


@pytest.mark.parametrize("value", ["1", "'yes'", "None"])
def test_other_values_are_told(start_server: StartServer, write_handler: WriteHandler, value: str):
    write_handler("rooms", handler("rooms", f"web_socket_subpaths = {value}\n"))
    server = start_server("-w", "handlers")
    server.log.wait_for(r"web_socket_subpaths is .*must be True or False")
