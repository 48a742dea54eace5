"""What `deploy/` has is understood by those that it is for, and names what exists here."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import ROOT, StartServer
from fastwsh.options import build_parser, parse_args_and_config
from fastwsh.settings.defaults import DEFAULT_SHUTDOWN_TIMEOUT
from wire import DEADLINE_SECONDS

SYSTEMD = ROOT / "deploy" / "systemd"
PROGRAM = ["-m", "fastwsh"]

# https://docs.docker.com/reference/dockerfile/, as far as it is used.
DOCKER_INSTRUCTIONS = {
    *("FROM", "RUN", "WORKDIR", "COPY", "USER", "EXPOSE"),
    *("STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}


def assert_options_exist(arguments: list[str]) -> None:
    _, unknown = build_parser().parse_known_args(arguments)
    assert unknown == []


class TestSystemd:
    @staticmethod
    def unit(name: str) -> configparser.ConfigParser:
        reader = configparser.ConfigParser(interpolation=None, strict=True)
        reader.optionxform = str  # type: ignore[assignment,method-assign]
        reader.read_string((SYSTEMD / name).read_text(encoding="utf-8"))
        return reader

    @pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
    def test_units_are_understood(self, tmp_path: Path):
        # with what a proxy changes, in folders beside the units
        folder = shutil.copytree(SYSTEMD, tmp_path / "units")
        units = [folder / "fastwsh.service", folder / "fastwsh.socket"]
        # the program of a unit must exist
        text = units[0].read_text(encoding="utf-8").replace("/opt/fastwsh/bin/python", "/bin/true")
        units[0].write_text(text, encoding="utf-8")
        done = subprocess.run(
            ["systemd-analyze", "verify", *map(str, units)],
            check=False,
            capture_output=True,
            text=True,
            timeout=DEADLINE_SECONDS,
        )
        about_ours = [line for line in done.stderr.splitlines() if "fastwsh" in line]
        assert (done.returncode, about_ours) == (0, [])

    def test_command_line_exists_and_leaves_the_place_to_the_socket(
        self, monkeypatch: pytest.MonkeyPatch
    ):
        for name in ("FASTWSH_BIND", "FASTWSH_PORT", "FASTWSH_SERVER_HOST", "FASTWSH_HOST"):
            monkeypatch.delenv(name, raising=False)
        program, *arguments = shlex.split(self.unit("fastwsh.service")["Service"]["ExecStart"])
        assert Path(program).is_absolute()
        assert arguments[:2] == PROGRAM
        assert_options_exist(arguments[2:])
        options, _ = parse_args_and_config(arguments[2:])
        assert not options.port_is_named
        assert not options.bind

    def test_service_and_socket_name_each_other(self):
        service = self.unit("fastwsh.service")["Unit"]
        assert service["Requires"] == "fastwsh.socket"
        assert "fastwsh.socket" in service["After"].split()
        assert self.unit("fastwsh.socket")["Socket"]["ListenStream"].isdecimal()

    def test_connections_have_time_to_close(self):
        seconds = float(self.unit("fastwsh.service")["Service"]["TimeoutStopSec"])
        assert seconds > DEFAULT_SHUTDOWN_TIMEOUT


class TestDockerfile:
    @pytest.fixture
    def instructions(self) -> list[tuple[str, str]]:
        """The instructions in their order, with their arguments on one line."""
        text = (ROOT / "deploy" / "docker" / "Dockerfile").read_text(encoding="utf-8")
        text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
        lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
        return [(name, " ".join(rest.split())) for name, rest in lines]

    @staticmethod
    def last(instructions: list[tuple[str, str]], name: str) -> str:
        return next(value for key, value in reversed(instructions) if key == name)

    def test_instructions_are_known(self, instructions: list[tuple[str, str]]):
        assert {name for name, _ in instructions} == DOCKER_INSTRUCTIONS

    def test_files_that_it_copies_exist(self, instructions: list[tuple[str, str]]):
        sources = [
            source
            for name, value in instructions
            if name == "COPY"
            for source in value.split()[:-1]
        ]
        assert sources
        for source in sources:
            assert list(ROOT.glob(source)), source

    def test_command_line_exists(self, instructions: list[tuple[str, str]]):
        program = json.loads(self.last(instructions, "ENTRYPOINT"))
        arguments = json.loads(self.last(instructions, "CMD"))
        assert program == ["python", *PROGRAM]
        assert_options_exist(arguments)
        port = build_parser().parse_args(arguments).port
        assert self.last(instructions, "EXPOSE") == str(port)

    def test_runs_without_rights_and_ends_by_sigterm(self, instructions: list[tuple[str, str]]):
        assert self.last(instructions, "USER") not in {"root", "0"}
        assert self.last(instructions, "STOPSIGNAL") == "SIGTERM"

    @pytest.mark.usefixtures("handler_root")
    def test_health_is_that_the_server_answers(
        self, instructions: list[tuple[str, str]], start_server: StartServer
    ):
        server = start_server("-w", "handlers")
        command = json.loads(self.last(instructions, "HEALTHCHECK").partition(" CMD ")[2])
        assert command[0] == "python"
        code = command[2].replace("9998", str(server.port))
        assert code != command[2]

        def check() -> int:
            check = [sys.executable, "-c", code]
            done = subprocess.run(check, check=False, capture_output=True, timeout=DEADLINE_SECONDS)
            return done.returncode

        assert check() == 0
        server.kill()
        assert check() == 1
