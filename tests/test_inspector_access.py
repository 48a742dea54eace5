"""`--inspect`: which option turns it on, and who may see the page."""

import socket
from pathlib import Path
from typing import Any

import pytest

import fastwsh
import fastwsh.inspector
from conftest import Server, StartServer
from fastwsh.config_error import ConfigError
from fastwsh.testing import running_server
from inspector_servers import page, server, servers
from inspector_support import LINE, Page, ask, cookie_of, inspector_url

__all__ = ["page", "server", "servers"]


class TestAccess:
    def test_the_token_opens_the_page_once_and_the_log_names_the_next(self, server: Server):
        first = inspector_url(server)
        wrong, text = ask(first[:-4])
        assert (wrong.status, "token" in text) == (403, True)
        opened, text = ask(first)
        assert (opened.status, "fastwsh inspector" in text) == (200, True)
        cookie = opened.getheader("Set-Cookie") or ""
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert ask(first)[0].status == 403
        again = inspector_url(server)
        assert again != first
        assert ask(again)[0].status == 200
        base = first.partition("?")[0]
        assert ask(base, {"Cookie": cookie_of(opened)})[0].status == 200

    def test_without_the_cookie_nothing_is_served(self, server: Server):
        base = server.log.wait_for(LINE)["url"].partition("?")[0]
        for path in ("", "main.js", "uPlot.iife.min.js", "feed", "%2e%2e/site.py"):
            response, text = ask(base + path)
            assert response.status == 403
            assert len(text) < 500

    def test_only_the_files_of_the_page_are_served(self, server: Server):
        with Page(inspector_url(server)) as page:
            headers = {"Cookie": page.cookie}
            for name in ("main.js", "inspector.css", "uPlot.LICENSE.txt"):
                response, _ = ask(f"{page.base}/{name}", headers)
                assert response.status == 200
                assert "default-src 'none'" in (response.getheader("Content-Security-Policy") or "")
            for name in ("../site.py", "page/main.js", "echo", "main.js/"):
                assert ask(f"{page.base}/{name}", headers)[0].status == 404
            assert ask(f"{page.base}/", headers, "POST")[0].status == 405

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", ""])
    def test_other_names_of_the_machine_are_refused(self, server: Server, host: str):
        with Page(inspector_url(server)) as page:
            headers = {"Cookie": page.cookie, "Host": host}
            assert ask(f"{page.base}/", headers)[0].status == 403
            with pytest.raises(fastwsh.ConnectRefusedError, match="403"):
                page.connect_feed(Host=host)

    @pytest.mark.parametrize(
        "headers",
        [
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:{port}"},
            {"Origin": "https://127.0.0.1:{port}"},
            {"Cookie": ""},
            {"Cookie": "fastwsh-inspector-{port}=guess"},
        ],
    )
    def test_other_pages_and_browsers_get_no_feed(self, server: Server, headers: dict[str, str]):
        with Page(inspector_url(server)) as page:
            port = page.base.rpartition(":")[2]
            wrong = {name: value.format(port=port) for name, value in headers.items()}
            with pytest.raises(fastwsh.ConnectRefusedError, match="403"):
                page.connect_feed(**wrong)

    def test_it_listens_on_the_loopback_address_only(self, start_server: StartServer):
        server = start_server("--inspect", "0", listen=("-p", "0"))
        port = int(server.log.wait_for(LINE)["port"])
        others = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None)}
        for address in others - {"127.0.0.1", "127.0.1.1"}:
            with pytest.raises(OSError), socket.create_connection((str(address), port), 1):
                pass


class TestOptions:
    def test_it_is_off_without_the_option(self, tmp_path: Path):
        with running_server() as server:
            assert server.inspector_url is None
            assert server._server._core is not None
            assert server._server._core.inspection is None

    @pytest.mark.parametrize("value", [0, True])
    def test_a_server_of_tests_has_it_by_a_keyword(self, value: Any):
        with running_server(inspect=value) as server:
            assert server.inspector_url is not None
            with Page(server.inspector_url) as page:
                assert page.rows() == []

    def test_the_environment_and_the_file_set_it(self, start_server: StartServer, tmp_path: Path):
        by_environment = start_server(env={"FASTWSH_INSPECT": "0"})
        assert by_environment.log.wait_for(LINE)
        (tmp_path / "options.ini").write_text("[pywebsocket]\ninspect = 0\n")
        by_file = start_server("--config", tmp_path / "options.ini")
        assert by_file.log.wait_for(LINE)

    def test_a_port_that_is_taken_is_one_sentence(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with (
                pytest.raises(ConfigError, match=f"--inspect cannot listen on port {port}"),
                running_server(inspect=port),
            ):
                pass
