"""SIGHUP reads certificates and keys again."""

import signal
import ssl
from pathlib import Path

import trustme

from conftest import StartServer, WriteHandler
from tls_servers import HANDLERS, KEY_AND_CERTIFICATE, assert_echoes, files, issue, raw, websocket
from tls_support import authority, trusting
from wire import TEXT, Client, Frame

__all__ = ["authority", "files"]


def serial_number(client: Client) -> object:
    """Tell certificates of a server apart."""
    assert isinstance(client.socket, ssl.SSLSocket)
    certificate = client.socket.getpeercert()
    assert certificate is not None
    return certificate["serialNumber"]


class TestReload:
    def test_new_certificate_for_new_connections(
        self, start_server: StartServer, authority: trustme.CA, tmp_path: Path
    ):
        server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
        context = trusting(authority)
        with raw(server, context) as before, websocket(server, context) as old:
            assert_echoes(old)
            issue(authority, tmp_path)
            server.send_signal(signal.SIGHUP)
            server.log.wait_for(r"\[INFO\] fastwsh\.server: Certificates reloaded")
            with raw(server, context) as after:
                assert serial_number(after) != serial_number(before)
            assert_echoes(old)

    def test_bad_files_change_nothing(
        self, start_server: StartServer, authority: trustme.CA, tmp_path: Path
    ):
        server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
        context = trusting(authority)
        with raw(server, context) as client:
            before = serial_number(client)
        (tmp_path / "cert.pem").write_text("nonsense", encoding="utf-8")
        server.send_signal(signal.SIGHUP)
        server.log.wait_for(
            r"\[ERROR\] fastwsh\.server: Certificates stay as they were: no certificate in "
        )
        with raw(server, context) as client:
            assert serial_number(client) == before
        with websocket(server, context) as connection:
            assert_echoes(connection)

    def test_log_file_is_opened_anew_as_well(
        self, start_server: StartServer, authority: trustme.CA, tmp_path: Path
    ):
        server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE, "--access-log", "access.log")
        (tmp_path / "access.log").unlink()
        server.send_signal(signal.SIGHUP)
        server.log.wait_for("Certificates reloaded")
        assert (tmp_path / "access.log").exists()

    def test_handler_that_changes_the_folder_is_no_obstacle(
        self, start_server: StartServer, authority: trustme.CA, write_handler: WriteHandler
    ):
        write_handler("away", "import os\nos.chdir('/')\nrequest.ws_stream.send_message('gone')")
        server = start_server(*HANDLERS, *KEY_AND_CERTIFICATE)
        with raw(server, trusting(authority)) as client:
            client.handshake("/away")
            assert client.read_frame() == Frame(TEXT, b"gone")
        server.send_signal(signal.SIGHUP)
        server.log.wait_for("Certificates reloaded")
