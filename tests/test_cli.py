"""`python -m fastwsh`: start-up, failures to start, `--check` and `--version`."""

import re
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import StartServer, WriteHandler
from conftest import run_fastwsh as run

HANDLERS = "-w", "handlers"


def assert_one_sentence(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One line on stderr with all of `parts`, status 1, nothing on stdout."""
    assert done.stderr.startswith("fastwsh: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for part in parts:
        assert part in done.stderr
    assert done.stdout == ""
    assert done.returncode == 1


def test_version(tmp_path: Path):
    done = run("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert re.fullmatch(r"fastwsh \d+\.\d+\.\d+\S*\n", done.stdout)


def test_unknown_argument_exits_1(tmp_path: Path):
    assert_one_sentence(run("handlers", cwd=tmp_path), "Unrecognized positional arguments")


def test_bad_value_exits_2(tmp_path: Path):
    assert run("-p", "x", cwd=tmp_path).returncode == 2


@pytest.mark.usefixtures("handler_root")
class TestStartFailures:
    """Each is one sentence that names the thing and the option that mends it."""

    @pytest.fixture
    def taken_port(self) -> Iterator[int]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield listener.getsockname()[1]

    def test_port_is_taken(self, tmp_path: Path, taken_port: int):
        done = run(*HANDLERS, "-H", "127.0.0.1", "-p", str(taken_port), cwd=tmp_path)
        assert_one_sentence(done, f"port {taken_port}", "already in use", "--port")

    def test_address_is_not_ours(self, tmp_path: Path):
        # RFC 5737 3: TEST-NET-1, which no machine has.
        done = run(*HANDLERS, "-H", "192.0.2.1", "-p", "0", cwd=tmp_path)
        assert_one_sentence(done, "'192.0.2.1'", "--server-host")

    @pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
    def test_host_is_unknown(self, tmp_path: Path, host: str):
        done = run(*HANDLERS, "-H", host, "-p", "0", cwd=tmp_path)
        assert_one_sentence(done, f"unknown host {host!r}", "--server-host")

    def test_an_ipv6_address_may_have_the_brackets_of_a_url(self, tmp_path: Path):
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
            port = str(listener.getsockname()[1])
            done = run(*HANDLERS, "-H", "[::1]", "-p", port, cwd=tmp_path)
        assert_one_sentence(done, f"port {port}", "already in use", "--port")

    def test_document_root_is_missing(self, tmp_path: Path):
        done = run("-d", "none", cwd=tmp_path)
        assert_one_sentence(done, "document root 'none'", "--document-root")

    def test_handler_root_is_missing(self, tmp_path: Path):
        done = run("-w", "none", cwd=tmp_path)
        assert_one_sentence(done, f"handler root '{tmp_path}/none'", "--websock-handlers")

    def test_an_empty_handler_root_is_not_the_current_folder(self, tmp_path: Path):
        done = run("-w", "", cwd=tmp_path)
        assert_one_sentence(done, "cannot use the handler root '' (", "--websock-handlers")

    def test_scan_folder_is_missing(self, tmp_path: Path):
        done = run(*HANDLERS, "-s", "handlers/none", cwd=tmp_path)
        assert_one_sentence(done, "handlers/none'", "--scan-dir")

    def test_scan_folder_is_outside_the_root(self, tmp_path: Path):
        done = run(*HANDLERS, "-s", ".", cwd=tmp_path)
        assert_one_sentence(done, "scan", "handlers")

    def test_map_file_is_missing(self, tmp_path: Path):
        done = run(*HANDLERS, "-m", "none.map", cwd=tmp_path)
        assert_one_sentence(done, "map file", "none.map'", "--websock-handlers-map-file")

    def test_map_file_is_a_folder(self, tmp_path: Path):
        done = run(*HANDLERS, "-m", "handlers", cwd=tmp_path)
        assert_one_sentence(done, "Is a directory", "--websock-handlers-map-file")

    def test_folder_of_the_log_file_is_missing(self, tmp_path: Path):
        done = run(*HANDLERS, "-l", "none/server.log", cwd=tmp_path)
        assert_one_sentence(done, "none/server.log'", "--log-file")

    def test_configuration_file_is_missing(self, tmp_path: Path):
        done = run("--config", "none.conf", cwd=tmp_path)
        assert_one_sentence(done, "'none.conf'", "--config")

    @pytest.mark.parametrize(
        ("args", "parts"),
        [
            (["--tls"], ["--private-key", "--certificate"]),
            (["--tls", "-k", "none.pem", "-c", "none.pem"], ["none.pem'", "--private-key"]),
            (["--tls-client-auth"], ["--tls"]),
            (["--tls-client-cert-optional"], ["--tls"]),
        ],
    )
    def test_tls_options_do_not_fit(self, tmp_path: Path, args: list[str], parts: list[str]):
        assert_one_sentence(run(*HANDLERS, *args, cwd=tmp_path), *parts)

    def test_reason_goes_to_the_log_file_too(self, tmp_path: Path):
        done = run("-w", "none", "-l", "server.log", cwd=tmp_path)
        assert_one_sentence(done, "handler root")
        assert "[CRITICAL] fastwsh.cli: cannot use the handler root" in (
            tmp_path / "server.log"
        ).read_text(encoding="utf-8")


class TestCheck:
    """`--check` loads the handlers, reports and exits."""

    def test_all_loaded(self, tmp_path: Path, write_handler: WriteHandler):
        write_handler("echo", "pass")
        write_handler("chat", "pass")
        done = run(*HANDLERS, "--check", cwd=tmp_path)
        assert done.stdout.splitlines() == [
            f"/chat -> {tmp_path}/handlers/chat_wsh.py",
            f"/echo -> {tmp_path}/handlers/echo_wsh.py",
            "2 loaded, 0 failed",
        ]
        assert done.returncode == 0

    def test_failure_is_explained(self, tmp_path: Path, write_handler: WriteHandler):
        write_handler("good", "pass")
        bad = write_handler("bad", "def web_socket_do_extra_handshake(request):\n    pass\n1 / 0\n")
        done = run(*HANDLERS, "--check", cwd=tmp_path)
        assert f"/good -> {tmp_path}/handlers/good_wsh.py\n" in done.stdout
        assert f"failed: {bad}" in done.stdout
        assert "ZeroDivisionError" in done.stdout
        assert done.stdout.endswith("\n1 loaded, 1 failed\n")
        assert done.returncode == 1

    def test_names_cannot_steer_the_terminal(self, tmp_path: Path, write_handler: WriteHandler):
        write_handler("\x1b[31mred", "pass")
        done = run(*HANDLERS, "--check", cwd=tmp_path)
        assert "\x1b" not in done.stdout
        assert "/[31mred -> " in done.stdout

    @pytest.mark.usefixtures("handler_root")
    def test_needs_no_free_port(self, tmp_path: Path):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])
            done = run(*HANDLERS, "-H", "127.0.0.1", "-p", port, "--check", cwd=tmp_path)
        assert done.stdout == "0 loaded, 0 failed\n"
        assert done.returncode == 0


def test_relative_paths_are_seen_from_the_document_root(
    tmp_path: Path, write_handler: WriteHandler
):
    write_handler("echo", "pass")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = run("-d", "..", *HANDLERS, "--log-file", "server.log", "--check", cwd=elsewhere)
    assert "1 loaded" in done.stdout
    assert (tmp_path / "server.log").exists()


def test_prints_nothing_but_the_log_where_nobody_watches(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", "pass")
    server = start_server(*HANDLERS)
    server.kill()
    assert server.out.lines == []
    assert [line for line in server.log.lines if "] [INFO] " not in line] == []


@pytest.mark.usefixtures("handler_root")
def test_log_lines_have_the_format_of_pywebsocket(start_server: StartServer):
    server = start_server(*HANDLERS)
    line = server.log.wait_for("Listening on")
    assert re.match(
        r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\] \[INFO\] fastwsh\.server: ", line.string
    )


@pytest.mark.usefixtures("handler_root")
def test_old_option_is_one_warning_in_the_log(start_server: StartServer):
    server = start_server(*HANDLERS, "--allow-draft75")
    server.log.wait_for(r"\[WARNING\] fastwsh.cli: --allow-draft75 has no effect")


@pytest.mark.usefixtures("handler_root")
def test_thread_monitor_reports(start_server: StartServer):
    server = start_server(*HANDLERS, "--thread-monitor-interval-in-sec", "1")
    server.log.wait_for(r"pywebsocket3\.server_util\.ThreadMonitor: \d+ active threads: MainThread")


def test_broken_handler_does_not_stop_the_others(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("bad", "def web_socket_transfer_data(:\n")
    write_handler("good", "request.connection.write(b'\\x81\\x04here')")
    server = start_server(*HANDLERS)
    server.log.wait_for(r"\[WARNING\] .*Warning in source loading: .*bad_wsh\.py")
    with server.connect() as client:
        client.send_request("/good")
        assert client.read_response().status == 101
        assert client.read_frame().payload == b"here"
