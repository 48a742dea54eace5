"""`--inspect` with `--workers`: one page for the connections of all processes."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from conftest import Server, StartServer, WriteHandler, run_fastwsh, starting_servers
from hub_support import handler
from inspector_support import Page, inspector_url
from waiting import wait_until
from wire import CLOSE, TEXT, Client, Frame
from workers_support import ECHO, WORKERS, freeze, kill, next_pid, one_to_each, pids


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with two workers, for tests that end none of them."""
    folder = tmp_path_factory.mktemp("inspected-workers")
    (folder / "handlers").mkdir()
    (folder / "handlers" / "echo_wsh.py").write_text(handler(ECHO))
    with starting_servers(folder, "hub") as start:
        yield start(*WORKERS, "--inspect", "0")


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    with Page(inspector_url(server)) as opened:
        yield opened


def rows_of(page: Page, server: Server, clients: dict[int, Client]) -> dict[int, dict[str, Any]]:
    """The rows of these clients, by the process that serves them."""
    ports = {client.socket.getsockname()[1]: pid for pid, client in clients.items()}

    def found() -> dict[int, dict[str, Any]]:
        rows = page.last.get("connections", {}).get("rows", ())
        by_port = {int(row["peer"].rpartition(":")[2]): row for row in rows}
        return {pid: by_port[port] for port, pid in ports.items() if port in by_port}

    page.watch("connections", descending=True, count=100)
    page.wait(lambda: len(found()) == len(clients))
    rows = found()
    by_pid = {pid: number for number, of in pids(server).items() for pid in of}
    assert {pid: row["worker"] for pid, row in rows.items()} == {
        pid: by_pid[pid] for pid in clients
    }
    return rows


def test_the_overview_is_of_each_worker_and_of_all(server: Server, page: Page):
    with one_to_each(server) as clients:
        page.watch("overview")
        page.wait(lambda: _all_open(page.last.get("overview", {}), 2))
        overview = page.last["overview"]
        states = {row["number"]: row for row in overview["workers"]}
        assert {row["pid"] for row in states.values()} == set(clients)
        assert [row["state"] for row in states.values()] == ["ready"] * 2
        assert all(row["starts"] == 1 and row["memory"] > 1 << 20 for row in states.values())
        assert [handler["path"] for handler in overview["handlers"]] == ["/echo"]
        limit = overview["kept"]["limit"]
        total = sum(row["open"] for row in states.values())
        for number in (1, 2):
            page.samples.clear()
            page.watch("overview", worker=number)
            page.wait(lambda: page.samples and "overview" in page.last)
            assert page.last["samples"]["worker"] == page.last["overview"]["worker"] == number
            assert page.last["samples"]["workers"] == [1, 2]
            assert page.samples[-1][5] == states[number]["open"]
            assert page.last["samples"]["open"] == total
            assert page.last["overview"]["kept"]["limit"] == limit // 2
        page.samples.clear()
        page.watch("overview", worker=3)
        page.wait(lambda: page.samples)
        assert (page.last["samples"]["worker"], page.samples[-1][5]) == (0, total)


def _all_open(overview: dict[str, Any], count: int) -> bool:
    return sum(row["open"] for row in overview.get("workers", ())) >= count


def test_connections_of_all_workers_are_sorted_filtered_and_cut(server: Server, page: Page):
    with ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(20)]
        for number, client in enumerate(clients):
            client.handshake(f"/echo?many={number:02}")
            client.read_frame()
        for _ in range(3):
            clients[7].send_frame(TEXT, b"busy")
            clients[7].read_frame()

        def shown(**query: Any) -> list[str]:
            return [row["resource"][-2:] for row in page.rows(filter="many=", **query)]

        page.wait_for_row(lambda row: row["resource"] == "/echo?many=19" and row["state"] == "open")
        every = [f"{number:02}" for number in range(20)]
        assert shown() == shown(key="path") == every
        assert shown(descending=True) == every[::-1]
        assert shown(offset=5, count=4) == every[5:9]
        assert shown(key="messages", descending=True, count=1) == ["07"]
        for key in ("peer", "bytes", "waiting"):
            assert sorted(shown(key=key)) == every
        parts = [shown(worker=number) for number in (1, 2)]
        assert sorted(parts[0] + parts[1]) == every
        rows = page.rows(filter="many=")
        assert len({row["id"] for row in rows}) == 20
        assert all((row["id"] - 1) % 2 + 1 == row["worker"] for row in rows)
        number = rows[3]["id"]
        assert number in [row["id"] for row in page.rows(filter=f"#{number}")]
        assert page.last["connections"]["matching"] >= 1


def test_what_is_done_and_kept_reaches_the_worker_of_the_connection(server: Server, page: Page):
    with one_to_each(server) as clients:
        rows = rows_of(page, server, clients)
        for pid, client in clients.items():
            number = rows[pid]["id"]
            client.send_frame(TEXT, b"\xc3\xbc" * 40_000)
            assert len(client.read_frame().payload) == 80_000
            page.do("text", id=number, data=f"to {pid}")
            assert client.read_frame() == Frame(TEXT, f"to {pid}".encode())
            page.do("raw", id=number, data="83 02 68 69")
            assert client.read_frame() == Frame(3, b"hi")
            page.watch("connection", id=number)
            page.wait(lambda: len(page.shown()) >= 5)
            assert ("server", TEXT, True, f"to {pid}") in page.shown()
            connection = page.last["connection"]
            assert connection["worker"] == rows[pid]["worker"]
            assert ["Upgrade", "websocket"] in connection["request_headers"]
            assert connection["hidden"] is False
            long = next(record for record in page.frames if record.get("size") == 80_000)
            payload = page.do("payload", id=number, frame=long["number"])
            assert len(payload["data"]) > 80_000
            entries = json.loads(page.do("har", id=number)["text"])["log"]["entries"]
            assert entries[0]["_webSocketMessages"][0]["data"] == str(pid)
            assert f"reply({str(pid)!r})" in page.do("test", id=number)["text"]
            with pytest.raises(RuntimeError, match="reserved"):
                page.do("close", id=number, code=1005)
            page.do("pace", id=number, rate=1000)
            assert page.wait_for(number, lambda row: row["pace"] is not None)["pace"] == 1000
            page.do("pace", id=number, rate=None)
            page.do("close", id=number, code=4000, reason="by hand")
            assert client.read_frame() == Frame(CLOSE, b"\x0f\xa0by hand")
        every = json.loads(page.do("har")["text"])["log"]["entries"]
        assert len(every) >= 2
        times = [entry["startedDateTime"] for entry in every]
        assert times == sorted(times)


def test_a_worker_that_dies_takes_its_connections_along_and_comes_back(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    server = start_server(*WORKERS, "--inspect", "0", "--shutdown-timeout", "0.1")
    with Page(inspector_url(server)) as page, one_to_each(server) as clients:
        rows = rows_of(page, server, clients)
        victim, other = clients
        number = rows[victim]["worker"]
        kill(victim)
        page.watch("connection", id=rows[victim]["id"])
        page.wait(lambda: page.last.get("connection", {}).get("gone"))
        with pytest.raises(RuntimeError):
            page.do("text", id=rows[victim]["id"], data="late")
        page.do("text", id=rows[other]["id"], data="still there")
        assert clients[other].read_frame() == Frame(TEXT, b"still there")
        page.wait(lambda: any(f"Worker {number} was ended by SIGKILL" in line for line in page.log))
        successor = next_pid(server, number, victim)
        page.watch("overview")

        def row() -> dict[str, Any]:
            rows = page.last.get("overview", {}).get("workers", ())
            return next((row for row in rows if row["number"] == number), {})

        page.wait(lambda: row().get("state") == "ready" and row()["pid"] == successor)
        assert row()["starts"] == 2
        with one_to_each(server) as again:
            new = rows_of(page, server, {successor: again[successor]})[successor]
            # a page that still shows the old connection must not show this one in its place
            assert new["id"] > rows[victim]["id"]
            page.do("text", id=new["id"], data="hello")
            assert again[successor].read_frame() == Frame(TEXT, b"hello")
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0


def test_a_worker_that_starts_holds_up_nothing(
    start_server: StartServer, tmp_path: Path, write_handler: WriteHandler
):
    hold = tmp_path / "hold"
    write_handler("echo", ECHO)
    slow = (
        "import pathlib, time\n"
        "def web_socket_startup(app):\n"
        f"    while pathlib.Path({str(hold)!r}).exists():\n"
        "        time.sleep(0.02)\n"
    )
    (tmp_path / "handlers" / "slow_wsh.py").write_text(slow + handler("pass"))
    server = start_server(*WORKERS, "--inspect", "0", "--shutdown-timeout", "0.1")
    with Page(inspector_url(server)) as page, one_to_each(server) as clients:
        rows = rows_of(page, server, clients)
        victim, other = clients
        hold.touch()
        kill(victim)
        next_pid(server, rows[victim]["worker"], victim)
        page.watch("overview")
        page.wait(
            lambda: (
                "starting"
                in {row["state"] for row in page.last.get("overview", {}).get("workers", ())}
            )
        )
        assert {row["worker"] for row in page.rows()} == {rows[other]["worker"]}
        page.do("text", id=rows[other]["id"], data="still there")
        assert clients[other].read_frame() == Frame(TEXT, b"still there")
        hold.unlink()
        page.watch("overview")
        page.wait(
            lambda: (
                {"ready"}
                == {row["state"] for row in page.last.get("overview", {}).get("workers", ())}
            )
        )


def test_a_worker_that_hangs_is_shown_so_and_holds_up_nothing(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", ECHO)
    server = start_server(*WORKERS, "--inspect", "0")
    with Page(inspector_url(server)) as page, one_to_each(server) as clients:
        rows = rows_of(page, server, clients)
        frozen, other = clients
        freeze(frozen)
        try:
            page.watch("overview")

            def state() -> dict[int, str]:
                workers = page.last.get("overview", {}).get("workers", ())
                return {row["pid"]: row["state"] for row in workers}

            page.wait(lambda: state().get(frozen) == "not answering")
            assert state()[other] == "ready"
            page.do("text", id=rows[other]["id"], data="still there")
            assert clients[other].read_frame() == Frame(TEXT, b"still there")
            shown = page.rows(descending=True)
            assert [row["id"] for row in shown if row["worker"] == rows[other]["worker"]]
        finally:
            kill(frozen, signal.SIGCONT)
        page.watch("overview")
        page.wait(lambda: state().get(frozen) == "ready")


def test_reloaded_handlers_are_shown(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
):
    write_handler("echo", ECHO)
    server = start_server(*WORKERS, "--inspect", "0", "--reload")
    with Page(inspector_url(server)) as page:
        write_handler("more", ECHO)
        page.watch("overview")
        paths = ["/echo", "/more"]
        page.wait(
            lambda: (
                [one["path"] for one in page.last.get("overview", {}).get("handlers", ())] == paths
            )
        )


def test_warnings_of_workers_are_in_the_log_of_the_page(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("fails", "raise ValueError('for the log')")
    for log_format in ("text", "json"):
        server = start_server(*WORKERS, "--inspect", "0", "--log-format", log_format)
        with Page(inspector_url(server)) as page:
            with server.connect() as client:
                client.handshake("/fails")
                client.read_to_end()
            page.wait(lambda page=page: any("for the log" in line for line in page.log))
            (line,) = [line for line in page.log if "for the log" in line]
            assert line.startswith("[worker ")
            assert not any("token=" in line for line in page.log)


def test_a_port_that_is_taken_is_one_sentence(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run_fastwsh(
            "--inspect", str(port), "--workers", "2", "-H", "127.0.0.1", "-p", "0", cwd=tmp_path
        )
    assert result.returncode == 1
    assert result.stderr.startswith(f"fastwsh: --inspect cannot listen on port {port}")


def test_workers_end_with_a_page_open(start_server: StartServer, write_handler: WriteHandler):
    write_handler("echo", ECHO)
    server = start_server(*WORKERS, "--inspect", "0")
    processes = [pid for (pid,) in pids(server).values()]
    with Page(inspector_url(server)) as page:
        page.rows()
        server.send_signal(signal.SIGINT)
        assert server.wait() == 0
    wait_until(lambda: not any(map(_exists, processes)), "workers go on")
    assert not [line for line in server.log.lines if "Traceback" in line or "never awaited" in line]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
