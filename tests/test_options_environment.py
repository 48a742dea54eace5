"""`FASTWSH_<OPTION>` variables: names, values, and their place between command line and file."""

import argparse
import os
import re
from pathlib import Path

import pytest

from conftest import run_fastwsh
from fastwsh.listening import places
from fastwsh.options import build_parser, parse_args_and_config
from fastwsh.settings.environment import variable_names


@pytest.fixture(autouse=True)
def variables(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment without variables of ours; `setenv` adds some."""
    for name in [name for name in os.environ if name.startswith("FASTWSH_")]:
        monkeypatch.delenv(name)
    return monkeypatch


def parse(*args: str) -> argparse.Namespace:
    return parse_args_and_config(list(args))[0]


def file(tmp_path: Path, *lines: str) -> str:
    path = tmp_path / "server.conf"
    path.write_text("\n".join(["[pywebsocket]", *lines, ""]), encoding="utf-8")
    return str(path)


def test_every_option_has_a_variable_for_each_long_name():
    for action in build_parser()._actions:
        long_names = [n for n in action.option_strings if n.startswith("--") and "_" not in n]
        if action.help is argparse.SUPPRESS or action.dest in {
            "help",
            "version",
            "print_dropin_path",
        }:
            assert variable_names(action) == []
        else:
            assert len(variable_names(action)) == len(long_names) > 0


def test_help_names_every_variable(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        parse("--help")
    text = " ".join(capsys.readouterr().out.split())
    for action in build_parser()._actions:
        for name in variable_names(action):
            assert re.search(rf"[\[ ]{name}[\],]", text)


@pytest.mark.parametrize(
    ("name", "value", "dest", "expected"),
    [
        ("FASTWSH_PORT", "9998", "port", 9998),
        ("FASTWSH_SERVER_HOST", "::1", "server_host", "::1"),
        ("FASTWSH_HOST", "::1", "server_host", "::1"),
        ("FASTWSH_BACKLOG", "5", "request_queue_size", 5),
        ("FASTWSH_SHUTDOWN_TIMEOUT", "0.5", "shutdown_timeout", 0.5),
        ("FASTWSH_CLEANUP_TIMEOUT", "0.5", "cleanup_timeout", 0.5),
        ("FASTWSH_LOG_LEVEL", "fine", "log_level", "fine"),
        ("FASTWSH_ACCESS_LOG", "-", "access_log", "-"),
        ("FASTWSH_CGI_PATHS", "/a,/b", "cgi_paths", "/a,/b"),
        ("FASTWSH_WEBSOCK_HANDLERS", "-w", "websock_handlers", "-w"),
        ("FASTWSH_FD", "3,4", "fd", [3, 4]),
        (
            "FASTWSH_BIND",
            "[::1]:1, unix:/x",
            "bind",
            [places.Tcp("::1", 1), places.Unix("/x")],
        ),
    ],
)
def test_variable_sets_its_option(
    variables: pytest.MonkeyPatch, name: str, value: str, dest: str, expected: object
):
    variables.setenv(name, value)
    assert getattr(parse(), dest) == expected


@pytest.mark.parametrize("value", ["1", "true", "yes", "on", "TRUE", " Yes "])
def test_flag_is_switched_on(variables: pytest.MonkeyPatch, value: str):
    variables.setenv("FASTWSH_TLS", value)
    assert parse().use_tls is True


@pytest.mark.parametrize("value", ["0", "false", "no", "off", "False"])
def test_flag_is_switched_off_although_the_file_switches_it_on(
    variables: pytest.MonkeyPatch, tmp_path: Path, value: str
):
    variables.setenv("FASTWSH_TLS", value)
    assert parse("--config", file(tmp_path, "tls = 1")).use_tls is False


def test_empty_variable_counts_as_none(variables: pytest.MonkeyPatch):
    variables.setenv("FASTWSH_PORT", "")
    variables.setenv("FASTWSH_TLS", "")
    options = parse()
    assert options.port == 80
    assert options.use_tls is False


def test_command_line_comes_before_environment_before_file(
    variables: pytest.MonkeyPatch, tmp_path: Path
):
    config = file(tmp_path, "port = 1", "queue = 1", "log_level = debug")
    variables.setenv("FASTWSH_PORT", "2")
    variables.setenv("FASTWSH_QUEUE", "2")
    options = parse("--config", config, "-p", "3")
    assert (options.port, options.request_queue_size, options.log_level) == (3, 2, "debug")


def test_repeatable_option_is_replaced_as_a_whole(variables: pytest.MonkeyPatch, tmp_path: Path):
    config = file(tmp_path, "fd = 3, 4")
    assert parse("--config", config).fd == [3, 4]
    variables.setenv("FASTWSH_FD", "5,6")
    assert parse("--config", config).fd == [5, 6]
    assert parse("--config", config, "--fd", "7", "--fd", "8").fd == [7, 8]


def test_variable_names_the_file(variables: pytest.MonkeyPatch, tmp_path: Path):
    variables.setenv("FASTWSH_CONFIG", file(tmp_path, "port = 5"))
    assert parse().port == 5


def test_file_of_the_command_line_comes_before_that_of_the_variable(
    variables: pytest.MonkeyPatch, tmp_path: Path
):
    variables.setenv("FASTWSH_CONFIG", str(tmp_path / "none.conf"))
    assert parse("--config", file(tmp_path, "port = 5")).port == 5


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("FASTWSH_PORT", "tcp://10.0.0.1:80", "is not a port number"),
        ("FASTWSH_QUEUE", "many", "is not a whole number"),
        ("FASTWSH_TLS", "maybe", "is neither yes nor no"),
        ("FASTWSH_LOG_LEVEL", "loud", "is none of fine, debug"),
        ("FASTWSH_BIND", "127.0.0.1:80,localhost", "'localhost' is no place to listen on"),
        ("FASTWSH_FD", "3,", "is not the number of a descriptor"),
    ],
)
def test_wrong_value_is_one_sentence_and_status_2(
    variables: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str,
    reason: str,
):
    variables.setenv(name, value)
    with pytest.raises(SystemExit) as caught:
        parse()
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"fastwsh: {name}")
    assert reason in error
    assert error.count("\n") == 1


def test_two_variables_for_one_option_are_refused(
    variables: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    variables.setenv("FASTWSH_HOST", "a")
    variables.setenv("FASTWSH_SERVER_HOST", "b")
    with pytest.raises(SystemExit) as caught:
        parse()
    assert caught.value.code == 2
    assert "FASTWSH_SERVER_HOST and FASTWSH_HOST are the same option" in capsys.readouterr().err


def test_unknown_variables_are_one_warning(variables: pytest.MonkeyPatch):
    variables.setenv("FASTWSH_PROT", "1")
    variables.setenv("FASTWSH_ALLOW_DRAFT75", "1")
    assert parse().start_warnings == (
        "no option has the name of FASTWSH_ALLOW_DRAFT75, FASTWSH_PROT: ignored",
    )


@pytest.mark.parametrize("name", ["--ssl-certfile", "--ssl_keyfile"])
def test_name_of_uvicorn_switches_tls_on(name: str):
    assert parse(name, "f.pem").use_tls is True


@pytest.mark.parametrize("name", ["-k", "-c", "--private-key", "--certificate"])
def test_name_of_pywebsocket_does_not_switch_tls_on(name: str):
    assert parse(name, "f.pem").use_tls is False


def test_ssl_certfile_alone_holds_the_key_too(variables: pytest.MonkeyPatch):
    assert parse("--ssl-certfile", "c.pem").private_key == "c.pem"
    assert parse("--tls", "--certificate", "c.pem").private_key == ""
    variables.setenv("FASTWSH_SSL_KEYFILE", "k.pem")
    assert parse("--ssl-certfile", "c.pem").private_key == "k.pem"


def test_flag_that_is_off_beats_a_file_of_the_same_source(variables: pytest.MonkeyPatch):
    variables.setenv("FASTWSH_TLS", "0")
    variables.setenv("FASTWSH_SSL_CERTFILE", "c.pem")
    assert parse().use_tls is False


@pytest.mark.parametrize(
    ("args", "named"),
    [([], False), (["-p", "80"], True), (["-H", ""], True), (["--uds", "x"], False)],
)
def test_port_is_named_if_it_was_given(args: list[str], named: bool):
    assert parse(*args).port_is_named is named


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("port = x", "argument -p/--port: 'x' is not a port number"),
        ("log-level = loud", "invalid choice: 'loud'"),
        ("bind = 127.0.0.1:0,", "argument --bind: '' is no place to listen on"),
    ],
)
def test_a_wrong_value_in_a_file_names_the_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, reason: str
):
    path = file(tmp_path, line)
    with pytest.raises(SystemExit) as ended:
        parse("--config", path)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert f"error: in the configuration file {path!r}: " in said
    assert reason in said


def test_a_start_that_fails_by_a_file_is_explained(tmp_path: Path):
    ended = run_fastwsh("--config", file(tmp_path, "tls = no"), "--ping-timeout=1", cwd=tmp_path)
    assert ended.returncode == 1
    assert "'tls = no'" in ended.stderr
    assert "turns --tls on, as in pywebsocket" in ended.stderr
    assert "fastwsh: TLS needs a key and a certificate" in ended.stderr
    # which is not why
    assert "--ping-timeout" not in ended.stderr
