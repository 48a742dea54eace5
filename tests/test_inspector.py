"""The inspector's page: what it knows of connections, and what it keeps of them."""

import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import fastwsh
import fastwsh.inspector
from conftest import ALL_WAYS, CONTRACT_WAYS, Server, StartServer, WriteHandler, clean_environment
from echo_handlers import ECHO
from fastwsh.testing import running_server
from hub_support import handler
from inspector_servers import connect, new_resource, page, server, servers
from inspector_support import Page, inspector_url
from pytest_plugin_support import ALONE, WITHOUT_OTHERS
from wire import CLOSE, CONTINUATION, PING, PONG, TEXT, Frame

__all__ = ["page", "server", "servers"]


DEFLATE = [("Sec-WebSocket-Extensions", "permessage-deflate")]


@CONTRACT_WAYS
class TestFrames:
    def test_frames_and_heads_of_a_connection(self, server: Server, page: Page, concurrency: str):
        with server.connect() as client:
            secret = [("Cookie", "session=secret"), ("X-Other", "shown")]
            resource = new_resource()
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


def test_a_page_that_asks_for_nonsense_gets_the_rest(page: Page):
    for view in ([], {}, 5, "connection"):
        seen = len(page.samples)
        page.send(type="watch", view=view)
        page.wait(lambda seen=seen: len(page.samples) > seen)
    page.watch("overview")
    page.wait(lambda: "overview" in page.last)


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
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            *ALONE,
            "-p",
            "no:cacheprovider",
            made["name"],
        ]
        result = subprocess.run(
            command,
            check=False,
            cwd=tmp_path,
            env=clean_environment(**WITHOUT_OTHERS),
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
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *ALONE,
        "--fastwsh-inspect",
        "-p",
        "no:cacheprovider",
    ]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=pytester.path,
        env=clean_environment(**WITHOUT_OTHERS),
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
