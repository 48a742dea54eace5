"""Options that have no effect because of another one: a sentence each, wherever they are given."""

import asyncio
import logging
import signal
from pathlib import Path

import pytest

import fastwsh
from conftest import StartServer, WriteHandler
from fastwsh.options import parse_args_and_config
from fastwsh.testing import running_server

# arguments without effect, what the sentence says, and arguments that give them one
CASES = [
    (["--http3-port=1"], "--http3-port has no effect without --http3", ["--http3"]),
    (
        ["--http3-retry", "--max-http3-streams=1", "--max-http3-resets=1"],
        "--http3-retry and --max-http3-streams and --max-http3-resets have no effect without",
        ["--http3"],
    ),
    (["--max-http2-streams=1"], "--max-http2-streams has no effect without", ["--http2"]),
    (["-c", "x"], "--certificate has no effect without --tls, and connections are", ["--tls"]),
    (["--tls-client-ca=x"], "--tls-client-ca has no effect", ["--tls", "--tls-client-auth"]),
    (["--tls", "--tls-client-ca=x"], "clients need no certificate", ["--tls-client-auth"]),
    (["--basic-auth-credential=a:b"], "and clients need no password", ["--basic-auth"]),
    (["--cgi-timeout=1"], "--cgi-timeout has no effect without --cgi-paths", ["-x", "/cgi"]),
    (["--ping-timeout=1"], "--ping-timeout has no effect without", ["--ping-interval=1"]),
    (["--metrics-host=::1"], "--metrics-host has no effect without", ["--metrics-port=0"]),
    (["--log-max=1"], "--log-max has no effect without --log-file or", ["-l", "x"]),
    (["--log-max=1", "--access-log"], "a file for --access-log", ["--access-log=x"]),
    (["--log-count=1", "--log-max=0", "-lx"], "as no file is rotated", ["--log-max=1"]),
    (["--thread-monitor-interval-in-sec=1"], "at level info", ["--log-level=info"]),
    (["--hubs=2", "--concurrency=threads"], "with --concurrency threads", ["--concurrency=hub"]),
    (["--deflate-min-bytes=1", "--deflate-level=0"], "nothing is", ["--deflate-level=1"]),
    (["--max-frame-bytes=9", "--max-message-bytes=9"], "not larger", ["--max-message-bytes=10"]),
    (
        ["--max-connections-per-address=9", "--max-connections=9"],
        "--max-connections-per-address has no effect beside --max-connections",
        ["--max-connections=0"],
    ),
    (
        ["--slow-subscriber=drop-oldest", "--topic-queue-bytes=0"],
        "the queue has no limit",
        ["--topic-queue-bytes=1"],
    ),
    (["--queue=5", "--fd=0"], "--queue has no effect with --fd alone", ["-p", "0"]),
]


def warnings(*arguments: str) -> tuple[str, ...]:
    options, _ = parse_args_and_config(arguments)
    found: tuple[str, ...] = options.unused_warnings
    return found


@pytest.mark.parametrize(("arguments", "sentence", "remedy"), CASES)
def test_each_option_is_named(arguments: list[str], sentence: str, remedy: list[str]):
    [told] = warnings(*arguments)
    assert sentence in told
    assert told.endswith(("; change that, or leave it out", "; change that, or leave them out"))
    assert warnings(*arguments, *remedy) == ()


def test_options_that_were_not_given_are_not_named():
    assert warnings() == warnings("-p", "0", "--strict-compat") == ()


def test_environment_and_file_count_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    file = tmp_path / "config"
    file.write_text("[pywebsocket]\ncertificate = x\n", encoding="utf-8")
    monkeypatch.setenv("FASTWSH_PRIVATE_KEY", "y")
    [told] = warnings(f"--config={file}")
    assert told.startswith("--private-key and --certificate have no effect without --tls")
    assert warnings(f"--config={file}", "--tls") == ()


def test_server_logs_it(start_server: StartServer):
    server = start_server("--certificate", "none.pem")
    server.log.wait_for(r"\[WARNING\] fastwsh.cli: --certificate has no effect without --tls, and")


def told_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    records = [record for record in caplog.records if record.name == "fastwsh.server"]
    assert {record.levelno for record in records} <= {logging.WARNING}
    return [record.getMessage() for record in records]


def test_arguments_of_functions_are_named_as_such(
    caplog: pytest.LogCaptureFixture, write_handler: WriteHandler
):
    caplog.set_level(logging.WARNING, "fastwsh.server")
    sentence = "http3_port has no effect without http3; change that, or leave it out"
    with running_server(http3_port=5):
        pass
    assert told_of(caplog) == [sentence]
    caplog.clear()
    # which runs handlers in threads unless it is told otherwise
    with running_server(hubs=2):
        pass
    [told] = told_of(caplog)
    assert told.startswith("hubs has no effect with concurrency threads")
    caplog.clear()
    folder = write_handler("echo", "pass\n").parent

    async def serve() -> None:
        async with fastwsh.serve(folder, http3_port=5):
            pass

    asyncio.run(serve())
    assert told_of(caplog) == [sentence]


def test_hubs_need_a_handler_that_runs_in_one(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("echo", "request.ws_stream.receive_message()\n")
    options = "-w", "handlers", "--hubs", "2"
    server = start_server(*options)
    server.send_signal(signal.SIGTERM)
    assert server.wait() == 0
    assert "--hubs" not in server.log.text()
    path = write_handler("echo", "request.ws_stream.receive_message()\n")
    with path.open("a", encoding="utf-8") as file:
        file.write('\nweb_socket_concurrency = "threads"\n')
    other = start_server(*options)
    other.log.wait_for("--hubs has no effect, as no handler runs in the hub; leave it out")
