"""`--inspect`: who may see the page, and what it knows of connections."""

import functools
import itertools
import socket
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

import fastwsh
import fastwsh.inspector
from conftest import (
    ALL_WAYS,
    CONTRACT_WAYS,
    Server,
    StartServer,
    WriteHandler,
    clean_environment,
    starting_servers,
    to_coroutine_function,
)
from echo_handlers import ECHO
from fastwsh.config_error import ConfigError
from fastwsh.testing import Connection, running_server
from hub_support import handler
from inspector_support import LINE, Page, ask, cookie_of, inspector_url
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, Client, Frame

DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


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


@CONTRACT_WAYS
class TestFrames:
    def test_frames_and_heads_of_a_connection(self, server: Server, page: Page, concurrency: str):
        with server.connect() as client:
            secret = [("Cookie", "session=secret"), ("X-Other", "shown")]
            resource = f"/echo?{next(_NUMBERS)}"
            client.handshake(resource, secret)
            client.send_frame(TEXT, "grüße".encode())
            assert client.read_frame().payload == "grüße".encode()
            client.send_frame(TEXT, b"one", fin=False)
            client.send_frame(PING, b"ping")
            assert client.read_frame() == Frame(PONG, b"ping")
            client.send_frame(CONTINUATION, b"two")
            assert client.read_frame() == Frame(TEXT, b"onetwo")
            number = page.find(resource)
            row = page.wait_for(number, lambda row: row["sent"][0] == 2)
            assert row["state"] == "open"
            where = {"http2": "hub", "http3": "hub"}.get(concurrency, concurrency)
            version = {"http2": "HTTP/2", "http3": "HTTP/3"}.get(concurrency, "HTTP/1.1")
            assert (row["concurrency"], row["version"]) == (where, version)
            assert (row["received"][0], row["sent"][0]) == (2, 2)
            page.watch("connection", id=number)
            expected = [
                ("client", TEXT, True, "grüße"),
                ("server", TEXT, True, "grüße"),
                ("client", TEXT, False, "one"),
                ("client", PING, True, "ping"),
                ("server", PONG, True, "ping"),
                ("client", CONTINUATION, True, "two"),
                ("server", TEXT, True, "onetwo"),
            ]
            page.wait(lambda: len(page.frames) >= len(expected))
            assert page.shown() == expected
            headers = {name.lower(): value for name, value in self._request(page)}
            assert headers["cookie"] == "[redacted]"
            assert headers["x-other"] == "shown"
            assert page.last["connection"]["status"] in {101, 200}
            page.watch("connection", id=number, secrets=True)
            page.wait(lambda: "connection" in page.last)
            assert ["cookie", "session=secret"] in [
                [name.lower(), value] for name, value in self._request(page)
            ]
            client.send_close(1000, "bye")
            assert client.read_frame().opcode == CLOSE
            ended = page.wait_for(number, lambda row: row["ended"] is not None)
            assert ended["closed"] == [1000, "client"]
            page.watch("connection", id=number, after=7)
            page.wait(lambda: len(page.frames) >= 2)
            assert [frame[:2] for frame in page.shown()] == [("client", CLOSE), ("server", CLOSE)]

    @staticmethod
    def _request(page: Page) -> list[list[str]]:
        headers: list[list[str]] = page.last["connection"]["request_headers"]
        return headers

    def test_compressed_messages_are_shown_decompressed(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page, headers=DEFLATE)
            deflater = zlib.compressobj(wbits=-15)
            for text in (b"hello hello hello", b"hello again, hello"):
                data = deflater.compress(text) + deflater.flush(zlib.Z_SYNC_FLUSH)
                client.send_frame(TEXT, data[:-4], rsv=0b100)
                client.read_frame()
            row = page.wait_for(number, lambda row: row["received"][0] == 2)
            assert row["extensions"].startswith("permessage-deflate")
            page.watch("connection", id=number)
            page.wait(lambda: len(page.frames) >= 4)
            texts = [text for _, _, _, text in page.shown()]
            assert texts == ["hello hello hello"] * 2 + ["hello again, hello"] * 2
            assert all(record["wire"] != record["size"] for record in page.frames)

    def test_everything_that_is_sent_by_hand_reaches_the_client(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("text", id=number, data="grüße")
            assert client.read_frame() == Frame(TEXT, "grüße".encode())
            page.do("binary", id=number, data="00 ff")
            assert client.read_frame() == Frame(BINARY, b"\x00\xff")
            page.do("ping", id=number, data="hi")
            assert client.read_frame() == Frame(PING, b"hi")
            # a reserved opcode, in a frame that no server may send
            page.do("raw", id=number, data="83 02 68 69")
            assert client.read_frame() == Frame(3, b"hi")
            client.send_frame(TEXT, b"still there")
            assert client.read_frame() == Frame(TEXT, b"still there")
            page.watch("connection", id=number)
            page.wait(lambda: len(page.shown()) >= 6)
            by_hand = [record["by_hand"] for record in page.frames if "note" not in record]
            assert by_hand == [True, True, True, True, False, False]
            assert page.notes()[0] == "sent a text of 7 bytes"
            page.wait(lambda: f"#{number}: sent a ping of 2 bytes" in page.log)

    def test_a_close_by_hand_is_a_closing_handshake(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            with pytest.raises(RuntimeError):
                page.do("close", id=number, code=1005)
            page.do("close", id=number, code=4000, reason="by hand")
            frame = client.read_frame()
            assert (frame.opcode, frame.payload) == (CLOSE, b"\x0f\xa0by hand")
            client.send_close(4000)
            row = page.wait_for(number, lambda row: row["ended"] is not None)
            assert row["closed"] == [4000, "server"]
            with pytest.raises(RuntimeError, match="nothing can be sent any more"):
                page.do("text", id=number, data="late")

    def test_a_reset_ends_the_connection(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("reset", id=number)
            assert _end(client) == b""
            assert page.wait_for(number, lambda row: row["ended"] is not None)["closed"][0] == 1006

    def test_a_half_close_ends_one_direction(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("half-close", id=number)
            assert client.read_to_end() == b""

    def test_a_stalled_connection_neither_sends_nor_receives(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("pace", id=number, rate=0)
            client.send_frame(TEXT, b"x" * 1000)
            client.send_frame(PING, b"?")
            page.do("text", id=number, data="by hand")
            row = page.wait_for(number, lambda row: row["waiting"] == len("by hand") + 2)
            assert (row["pace"], row["received"][0]) == (0, 0)
            assert not client.socket_has_ended_within(0.05)
            page.do("pace", id=number, rate=None)
            assert client.read_frame() == Frame(TEXT, b"by hand")
            assert client.read_frame() == Frame(TEXT, b"x" * 1000)
            assert client.read_frame() == Frame(PONG, b"?")
            assert page.wait_for(number, lambda row: row["waiting"] == 0)["pace"] is None
            client.send_frame(TEXT, b"again")
            assert client.read_frame() == Frame(TEXT, b"again")

    def test_a_client_that_ends_ends_a_stall(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("pace", id=number, rate=0)
            client.send_frame(TEXT, b"x" * 1000)
        row = page.wait_for(number, lambda row: row["ended"] is not None)
        assert row["closed"][0] == 1006

    def test_a_throttled_connection_trickles_to_its_end(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("pace", id=number, rate=400)
            client.send_frame(TEXT, b"x" * 200)
            assert page.wait_for(number, lambda row: row["waiting"] > 0)["pace"] == 400
            assert client.read_frame() == Frame(TEXT, b"x" * 200)
            client.send_close(1000)
            assert client.read_frame().opcode == CLOSE
            page.wait_for(number, lambda row: row["ended"] is not None)

    def test_the_message_of_a_drop_does_not_reach_the_handler(self, server: Server, page: Page):
        with server.connect() as client:
            number = connect(client, page)
            page.do("drop", id=number, count=2)
            client.send_frame(TEXT, b"one")
            assert client.read_frame() == Frame(TEXT, b"one")
            client.send_frame(TEXT, b"two")
            assert _end(client) == b""
            row = page.wait_for(number, lambda row: row["ended"] is not None)
            assert row["received"][0] == 1
            page.watch("connection", id=number)
            page.wait(lambda: any("reset at this message" in note for note in page.notes()))


def connect(
    client: Client, page: Page, path: str = "/echo", headers: list[tuple[str, str]] | None = None
) -> int:
    """Open a connection that no other test has; return its number."""
    resource = f"{path}?{next(_NUMBERS)}"
    client.handshake(resource, headers or ())
    return page.find(resource)


def _end(client: Client) -> bytes:
    """What comes before the end, which may be a reset."""
    try:
        data: bytes = client.read_to_end()
    except ConnectionError:
        return b""
    return data


@ALL_WAYS
def test_a_handler_that_logs_what_cannot_be_formatted_goes_on(
    start_server: StartServer, write_handler: WriteHandler
):
    lines = (
        'import logging\nlogging.warning("%d items", "no")\nrequest.ws_stream.send_message("on")'
    )
    write_handler("odd", lines)
    server = start_server("-w", "handlers", "--inspect", "0")
    with server.connect() as client:
        client.handshake("/odd")
        assert client.read_frame().payload == b"on"


@pytest.mark.parametrize("receives", ["forever", "for a time"])
def test_a_server_that_stops_ends_stalls(receives: str):
    with running_server(inspect=0) as server:
        timeout = None if receives == "forever" else 60

        @server.handler("/echo")
        def echo(connection: Connection) -> None:
            while True:
                connection.send(connection.recv(timeout=timeout))

        assert server.inspector_url is not None
        with Page(server.inspector_url) as page:
            client = fastwsh.connect(server.url_for("/echo"))
            page.find("/echo")
            page.do("pace", id=1, rate=0)
            client.send("hello")
            with ThreadPoolExecutor() as executor:
                stopping = executor.submit(server.stop)
                # an echo may come before the close
                assert set(client) <= {"hello"}
                stopping.result()
            assert client.close_code == 1001
        server.take_errors()


def test_a_page_that_asks_for_nonsense_gets_the_rest(page: Page):
    for view in ([], {}, 5, "connection"):
        seen = len(page.samples)
        page.send(type="watch", view=view)
        page.wait(lambda seen=seen: len(page.samples) > seen)
    page.watch("overview")
    page.wait(lambda: "overview" in page.last)


def test_no_message_comes_between_the_fragments_of_the_handler(server: Server, page: Page):
    with server.connect() as client:
        number = connect(client, page, "/parts")
        assert client.read_frame().payload == b"one"
        with pytest.raises(RuntimeError, match="fragmented"):
            page.do("text", id=number, data="inside")
        page.do("ping", id=number)
        assert client.read_frame().opcode == PING
        client.send_frame(TEXT, b"go on")
        assert client.read_frame() == Frame(CONTINUATION, b"two")
        page.do("text", id=number, data="behind")
        assert client.read_frame() == Frame(TEXT, b"behind")


class TestKeeping:
    def test_a_connection_becomes_a_har_file_and_a_test_that_passes(
        self, server: Server, page: Page, tmp_path: Path
    ):
        with fastwsh.connect(
            server.url("/echo?kept"), headers={"Authorization": "secret"}
        ) as connection:
            for message in ("grüße", '{"a": 1}', b"\x00\xff", ""):
                connection.send(message)
                assert connection.recv(timeout=5) == message
        row = page.wait_for_row(lambda row: row["resource"] == "/echo?kept" and row["ended"])
        number = row["id"]
        kept = page.do("har", id=number)
        assert kept["missing"] == []
        assert "secret" not in kept["text"]
        assert "secret" in page.do("har", secrets=True)["text"]
        (tmp_path / "kept.har").write_text(kept["text"])
        with running_server() as again:
            again.replay(tmp_path / "kept.har")
            with fastwsh.connect(again.url_for("/echo")) as connection:
                for message in ("grüße", '{"a": 1}', b"\x00\xff", ""):
                    connection.send(message)
                    assert connection.recv(timeout=5) == message
        made = page.do("test", id=number)
        assert made["name"] == "test_echo.py"
        (tmp_path / made["name"]).write_text(made["text"])
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", made["name"]]
        result = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env=clean_environment(),
            capture_output=True,
            text=True,
        )
        assert "1 passed" in result.stdout, result.stdout

    def test_frames_are_dropped_and_counted_when_there_is_no_room(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(fastwsh.inspector, "KEPT_BYTES", 200_000)
        with running_server(inspect=0) as server:
            server.handler("/echo")(lambda connection: [connection.send(it) for it in connection])
            core = server._server._core
            assert core is not None
            assert core.inspection is not None
            with (
                fastwsh.connect(server.url_for("/echo"), compression=False) as quiet,
                fastwsh.connect(server.url_for("/echo"), compression=False) as loud,
            ):
                quiet.send("kept")
                assert quiet.recv(timeout=5) == "kept"
                for number in range(100):
                    loud.send(f"{number}" + "x" * 10_000)
                    loud.recv(timeout=5)
                used, limit, dropped = core.inspection.memory()
                assert limit == 200_000
                assert used <= limit + 2 * 10_200
                records = core.inspection.records(2, most=10_000)
                assert records is not None
                assert records["dropped"] == dropped > 150
                assert records["records"][-1]["data"].startswith(b"99x")
                first = core.inspection.records(1)
                assert first is not None
                assert [frame["data"] for frame in first["records"]] == [b"kept", b"kept"]

    def test_the_table_is_sorted_filtered_and_cut_on_the_server(self, tmp_path: Path):
        (tmp_path / "echo_wsh.py").write_text(handler(ECHO))
        with (
            running_server(tmp_path, inspect=0) as server,
            Page(server.inspector_url or "") as page,
        ):
            clients = [fastwsh.connect(server.url_for(f"/echo?n={n}")) for n in range(12)]
            clients[3].send("busy")
            clients[3].recv(timeout=5)
            page.wait_for_row(lambda row: row["resource"] == "/echo?n=11")
            assert page.rows(key="messages", descending=True, count=1)[0]["id"] == 4
            assert [row["id"] for row in page.rows(offset=10, count=9)] == [11, 12]
            assert [row["id"] for row in page.rows(filter="N=1")] == [2, 11, 12]
            assert [row["id"] for row in page.rows(filter="#7")] == [7]
            clients[0].close()
            page.wait_for_row(lambda row: row["ended"] is not None)
            assert [row["id"] for row in page.rows(open=False)] == [1]
            assert len(page.rows(ended=False)) == 11
            for client in clients:
                client.close()


def test_the_overview_has_handlers_rates_latency_closes_and_errors(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    write_handler("fails", "raise ValueError('for the log')")
    server = start_server("-w", "handlers", "--inspect", "0", log_level="info")
    with Page(inspector_url(server)) as page:
        with fastwsh.connect(server.url("/echo")) as connection:
            connection.send("hello")
            connection.recv(timeout=5)
        with (
            fastwsh.connect(server.url("/fails")) as connection,
            pytest.raises(fastwsh.ConnectionClosed),
        ):
            connection.recv(timeout=5)
        page.watch("overview")
        page.wait(lambda: page.last.get("overview", {}).get("errors"))
        overview = page.last["overview"]
        handlers = {handler["path"]: handler for handler in overview["handlers"]}
        assert set(handlers) == {"/echo", "/fails"}
        assert handlers["/echo"]["file"].endswith("echo_wsh.py")
        assert handlers["/echo"]["where"] in {"hub", "threads"}
        assert handlers["/echo"]["why"]
        assert sum(overview["latency"]) == 1
        assert [1000, 1.0] in [[int(of["code"]), n] for of, n in overview["closes"]]
        page.wait(lambda: any(sample[1] == 1 for sample in page.samples))
        page.wait(lambda: any("for the log" in line for line in page.log))
        assert not any("token=" in line for line in page.log)


def test_the_plugin_keeps_the_server_until_enter(pytester: pytest.Pytester):
    pytester.makepyfile(
        """
        import fastwsh

        def test_fails(wsserver):
            wsserver.handler("/echo")(lambda connection: connection.send("hello"))
            with fastwsh.connect(wsserver.url_for("/echo")) as connection:
                assert connection.recv(timeout=5) == "goodbye"

        def test_passes(wsserver):
            assert wsserver.inspector_url
        """
    )
    command = [sys.executable, "-m", "pytest", "-q", "--fastwsh-inspect", "-p", "no:cacheprovider"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=pytester.path,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        url = ""
        while "Inspector of" not in (line := process.stdout.readline()):
            assert line
        url = line.split()[-1]
        with Page(url) as page:
            row = page.wait_for_row(lambda row: row["resource"] == "/echo")
            page.watch("connection", id=row["id"])
            page.wait(lambda: ("server", TEXT, True, "hello") in page.shown())
        process.stdin.write("\n")
        process.stdin.close()
        rest = process.stdout.read()
    assert "1 failed, 1 passed" in rest
