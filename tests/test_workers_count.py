"""How many workers there are: `--workers`, `WEB_CONCURRENCY`, and servers that have none."""

import argparse
import os
from pathlib import Path

import pytest

from conftest import StartServer, WriteHandler
from fastwsh.aio.serve import serve
from fastwsh.config_error import ConfigError
from fastwsh.options import parse_args_and_config
from fastwsh.server import WebSocketServer
from fastwsh.testing import running_server
from fastwsh.workers import count
from workers_support import ECHO, assert_ends, pids


@pytest.fixture(autouse=True)
def echo(write_handler: WriteHandler) -> None:
    write_handler("echo", ECHO)


class TestCount:
    @pytest.mark.parametrize(
        ("arguments", "variables", "expected"),
        [
            ([], {}, 1),
            ([], {"WEB_CONCURRENCY": " "}, 1),
            ([], {"WEB_CONCURRENCY": "2"}, 2),
            (["--workers=2"], {"WEB_CONCURRENCY": "nonsense", "FASTWSH_WORKERS": "3"}, 2),
            ([], {"WEB_CONCURRENCY": "5", "FASTWSH_WORKERS": "2"}, 2),
            (["--config=config"], {"WEB_CONCURRENCY": "5"}, 2),
        ],
    )
    def test_comes_from_the_option_or_the_variable(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        variables: dict[str, str],
        expected: int,
    ):
        (tmp_path / "config").write_text("[pywebsocket]\nworkers = 2\n", encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        for name in ("FASTWSH_WORKERS", "WEB_CONCURRENCY"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert count.find(parse_args_and_config(arguments)[0], os.environ) == expected

    def test_of_the_variable_starts_workers(self, start_server: StartServer):
        server = start_server("-w", "handlers", env={"WEB_CONCURRENCY": "2"})
        assert set(pids(server)) == {1, 2}

    @pytest.mark.parametrize(
        "text", ["0", "-1", "two", "1.5", "1025", "9" * 99, "\N{SUPERSCRIPT TWO}"]
    )
    def test_is_refused(self, text: str):
        with pytest.raises(argparse.ArgumentTypeError, match="is not a number of workers"):
            count.parse(text)

    def test_a_bad_one_is_a_sentence_that_names_where_it_comes_from(self, tmp_path: Path):
        sentence = "'0' is not a number of workers (1 to 1024, or auto)"
        assert_ends(2, f"argument --workers: {sentence}", "--workers=0", cwd=tmp_path)
        assert_ends(2, f"WEB_CONCURRENCY: {sentence}", cwd=tmp_path, WEB_CONCURRENCY="0")

    def test_auto_is_the_processors_that_the_process_may_use(self):
        # a quota of the container may allow less
        assert 1 <= count.parse("auto") <= len(os.sched_getaffinity(0))

    def test_servers_inside_a_program_have_none(self):
        with (
            pytest.raises(TypeError, match="'workers' is no option of a test server"),
            running_server(workers=2),
        ):
            pass
        with pytest.raises(TypeError, match="'workers' is no option of serve"):
            serve(".", workers=2)

    def test_nor_has_a_server_of_an_embedder(self, handler_root: Path):
        options, _ = parse_args_and_config(["-p", "0", "--workers", "2", "-w", str(handler_root)])
        with pytest.raises(ConfigError, match="--workers 2 is for the command fastwsh"):
            WebSocketServer(options)
