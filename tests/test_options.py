"""The command line has pywebsocket's options, spellings, destinations and defaults."""

import argparse
import ipaddress
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import clean_environment
from fastwsh.listening import places
from fastwsh.options import build_parser, parse_args_and_config
from fastwsh.settings.limits import LIMITS

# Spellings, arguments behind them, destination, value.
OPTIONS: list[tuple[list[str], list[str], str, object]] = [
    (["--config"], [], "config_file", None),
    (["-H", "--server-host", "--server_host", "--host"], ["::1"], "server_host", "::1"),
    (["-V", "--validation-host", "--validation_host"], ["h"], "validation_host", "h"),
    (["-p", "--port"], ["9998"], "port", 9998),
    (["--bind"], ["h:1"], "bind", [places.Tcp("h", 1)]),
    (["--uds"], ["p"], "uds", ["p"]),
    (["--fd"], ["3"], "fd", [3]),
    (["--http2"], [], "http2", True),
    (["--http3"], [], "http3", True),
    (["--http3-port", "--http3_port"], ["8443"], "http3_port", 8443),
    (["--http3-retry", "--http3_retry"], [], "http3_retry", True),
    (
        ["--trusted-proxies", "--trusted_proxies"],
        ["10.0.0.0/8,unix"],
        "trusted_proxies",
        [ipaddress.ip_network("10.0.0.0/8"), "unix"],
    ),
    (["--proxy-protocol", "--proxy_protocol"], [], "proxy_protocol", True),
    (["-P", "--validation-port", "--validation_port"], ["81"], "validation_port", 81),
    (["-w", "--websock-handlers", "--websock_handlers"], ["d"], "websock_handlers", "d"),
    (
        ["-m", "--websock-handlers-map-file", "--websock_handlers_map_file"],
        ["f"],
        "websock_handlers_map_file",
        "f",
    ),
    (["-s", "--scan-dir", "--scan_dir"], ["d"], "scan_dir", "d"),
    (
        ["--allow-handlers-outside-root-dir", "--allow_handlers_outside_root_dir"],
        [],
        "allow_handlers_outside_root_dir",
        True,
    ),
    (["-d", "--document-root", "--document_root"], ["d"], "document_root", "d"),
    (["-x", "--cgi-paths", "--cgi_paths"], ["/a,/b"], "cgi_paths", "/a,/b"),
    (["--cgi-timeout", "--cgi_timeout"], ["2.5"], "cgi_timeout", 2.5),
    (["-t", "--tls"], [], "use_tls", True),
    (
        ["-k", "--private-key", "--private_key", "--ssl-keyfile", "--ssl_keyfile"],
        ["f"],
        "private_key",
        "f",
    ),
    (["-c", "--certificate", "--ssl-certfile", "--ssl_certfile"], ["f"], "certificate", "f"),
    (["--tls-client-auth", "--tls_client_auth"], [], "tls_client_auth", True),
    (
        ["--tls-client-cert-optional", "--tls_client_cert_optional"],
        [],
        "tls_client_cert_optional",
        True,
    ),
    (["--tls-client-ca", "--tls_client_ca"], ["f"], "tls_client_ca", "f"),
    (["--basic-auth", "--basic_auth"], [], "use_basic_auth", True),
    (
        ["--basic-auth-credential", "--basic_auth_credential"],
        ["a:b"],
        "basic_auth_credential",
        "a:b",
    ),
    (["-l", "--log-file", "--log_file"], ["f"], "log_file", "f"),
    (["--log-level", "--log_level"], ["fine"], "log_level", "fine"),
    (["--deflate-log-level", "--deflate_log_level"], ["debug"], "deflate_log_level", "debug"),
    (
        ["--thread-monitor-interval-in-sec", "--thread_monitor_interval_in_sec"],
        ["3"],
        "thread_monitor_interval_in_sec",
        3,
    ),
    (["--log-max", "--log_max"], ["1"], "log_max", 1),
    (["--log-count", "--log_count"], ["2"], "log_count", 2),
    (["--log-format", "--log_format"], ["json"], "log_format", "json"),
    (["--access-log", "--access_log"], ["f"], "access_log", "f"),
    (["--metrics-port", "--metrics_port"], ["9100"], "metrics_port", 9100),
    (["--metrics-host", "--metrics_host"], ["::1"], "metrics_host", "::1"),
    (["-q", "--queue", "--backlog"], ["7"], "request_queue_size", 7),
    (["--handler-encoding", "--handler_encoding"], ["latin-1"], "handler_encoding", "latin-1"),
    (["--shutdown-timeout", "--shutdown_timeout"], ["1.5"], "shutdown_timeout", 1.5),
    (["--cleanup-timeout", "--cleanup_timeout"], ["1.5"], "cleanup_timeout", 1.5),
    *(([limit.option, f"--{limit.name}"], ["9"], limit.name, 9) for limit in LIMITS),
    (["--pong-while-busy", "--pong_while_busy"], [], "pong_while_busy", True),
    (["--concurrency"], ["hub"], "concurrency", "hub"),
    (["--hubs"], ["2"], "hubs", 2),
    (["--event-loop", "--event_loop"], ["uvloop"], "event_loop", "uvloop"),
    (["--workers"], ["3"], "workers", 3),
    (["--inspect"], ["9229"], "inspect", 9229),
    (["--deflate-level", "--deflate_level"], ["9"], "deflate_level", 9),
    (["--backplane"], ["unix:b"], "backplane", "unix:b"),
    (["--slow-subscriber", "--slow_subscriber"], ["drop-oldest"], "slow_subscriber", "drop-oldest"),
    (["--deflate-min-bytes", "--deflate_min_bytes"], ["9"], "deflate_min_bytes", 9),
    (["--strict-compat", "--strict_compat"], [], "strict_compat", True),
    (["--serve-dot-files", "--serve_dot_files"], [], "serve_dot_files", True),
    (["--reload"], [], "reload", True),
    (["--check"], [], "check", True),
    (["--print-dropin-path", "--print_dropin_path"], [], "print_dropin_path", True),
]

SPELLINGS = [
    pytest.param([name, *values], dest, expected, id=name)
    for names, values, dest, expected in OPTIONS
    for name in names
    if dest != "config_file"
]

DUMP_PYWEBSOCKET3 = """
import json, sys, warnings
warnings.simplefilter("ignore")
from pywebsocket3 import standalone
print(json.dumps([
    [a.option_strings, a.dest, a.default, a.nargs, a.choices]
    for a in standalone._build_option_parser()._actions if a.dest != "help"
]))
"""


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment sets options, too."""
    for name in [name for name in os.environ if name.startswith("FASTWSH_")]:
        monkeypatch.delenv(name)


def parse(*args: str) -> argparse.Namespace:
    options, rest = parse_args_and_config(list(args))
    assert rest == []
    return options


def exit_status(*args: str) -> int | str | None:
    with pytest.raises(SystemExit) as caught:
        parse_args_and_config(list(args))
    return caught.value.code


@pytest.mark.parametrize(("args", "dest", "expected"), SPELLINGS)
def test_every_spelling_reaches_its_destination(args: list[str], dest: str, expected: object):
    assert getattr(parse(*args), dest) == expected


def test_table_above_is_complete():
    ignored = {"help", "version", argparse.SUPPRESS}
    listed = {name for names, _, _, _ in OPTIONS for name in names}
    for action in build_parser()._actions:
        if action.dest not in ignored and action.help is not argparse.SUPPRESS:
            assert set(action.option_strings) <= listed, action


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="pywebsocket3 does not import there")
def test_agrees_with_pywebsocket3(pywebsocket3_source: Path):
    dump = subprocess.run(
        [sys.executable, "-c", DUMP_PYWEBSOCKET3],
        env=clean_environment(PYTHONPATH=str(pywebsocket3_source)),
        check=True,
        capture_output=True,
    )
    theirs: list[list[Any]] = json.loads(dump.stdout)
    assert len(theirs) == 26 + 1
    parser = build_parser()
    for names, dest, default, nargs, choices in theirs:
        ours = {name: parser._option_string_actions[name] for name in names}
        for name, action in ours.items():
            assert action.dest == dest, name
            assert action.default == default, name
            assert action.nargs == nargs, name
            assert (list(action.choices) if action.choices else None) == choices, name


def test_defaults_of_our_own_options():
    options = parse()
    assert options.shutdown_timeout == 10
    assert options.cleanup_timeout == 5
    assert options.cgi_timeout == 60
    assert options.max_message_bytes == 64 * 1024 * 1024
    assert options.strict_compat is False
    assert options.check is False


def test_strict_compat_has_no_message_limit_unless_one_is_given():
    assert parse("--strict-compat").max_message_bytes == 0
    assert parse("--strict-compat").deflate_level == 6
    assert parse("--strict-compat", "--max-message-bytes", "5").max_message_bytes == 5


def test_arguments_come_from_the_process_if_none_are_given(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["fastwsh", "-p", "7"])
    assert parse_args_and_config(None)[0].port == 7


def test_basic_auth_credential_stays_raw():
    assert parse("--basic-auth").basic_auth_credential == "test:test"


@pytest.mark.parametrize("args", [["echo"], ["--frobnicate"], ["-p", "1", "extra"]])
def test_unknown_argument_exits_1(args: list[str], capsys: pytest.CaptureFixture[str]):
    assert exit_status(*args) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"fastwsh: Unrecognized positional arguments: [{args[-1]!r}]")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "reason"),
    [
        (["-p", "http"], "'http' is not a port number"),
        (["-p", "65536"], "'65536' is not a port number"),
        (["-p", "-1"], "'-1' is not a port number"),
        (["-P", "-5"], "'-5' is not a port number"),
        (["-P", "65536"], "'65536' is not a port number"),
        (["-p"], "expected one argument"),
        (["--log-level", "loud"], "invalid choice: 'loud'"),
        (["--shutdown-timeout", "-1"], "'-1' is not a number of seconds"),
        (["--shutdown-timeout", "nan"], "'nan' is not a number of seconds"),
        (["--shutdown-timeout", "inf"], "'inf' is too long (at most 9223372036 seconds)"),
        (["--max-message-bytes", "1k"], "'1k' is not a whole number (0 or more)"),
        (["--max-message-bytes", "-1"], "'-1' is not a whole number (0 or more)"),
        (["--max-connections", "9" * 20], f"{'9' * 20} is too large (at most {sys.maxsize})"),
        (["-q", "2147483648"], "2147483648 is too large (at most 2147483647)"),
        (["-q", "many"], "'many' is not a whole number"),
        (["--log-max", "1k"], "'1k' is not a whole number"),
        (["--log-count", "10001"], "10001 is too large (at most 10000)"),
        (["--log-count", "9" * 5000], "is not a whole number"),
        (["--thread-monitor-interval-in-sec", "1.5"], "'1.5' is not a whole number"),
        (["--max-connections", "9" * 5000], "is not a whole number (0 or more)"),
        (["--deflate-level", "10"], "'10' is not a compression level from 0 to 9"),
        (["--deflate-level", "best"], "'best' is not a compression level from 0 to 9"),
        (["--concurrency", "fibers"], "invalid choice: 'fibers'"),
        *[
            (["--hubs", text], f"{text!r} is not a number of hubs (1 to 1024)")
            for text in ("0", "-1", "1025", "x", "1.5", "", "\u0661")
        ],
    ],
)
def test_bad_value_exits_2(args: list[str], reason: str, capsys: pytest.CaptureFixture[str]):
    assert exit_status(*args) == 2
    assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "warning"),
    [
        (["--allow-draft75"], "--allow-draft75 has no effect: only RFC 6455 is spoken"),
        (["--allow_draft75"], "--allow_draft75 has no effect: only RFC 6455 is spoken"),
        (["--strict"], "--strict has no effect: requests are always checked"),
        (["--tls-module", "ssl"], "--tls-module has no effect: TLS is built in"),
        (["--tls_module=pyopenssl"], "--tls_module has no effect: TLS is built in"),
        (["--use-basic-auth"], "--use-basic-auth is an old name of --basic-auth"),
        (["--use-tls"], "--use-tls is an old name of --tls"),
    ],
)
def test_old_name_is_accepted_with_one_warning(args: list[str], warning: str):
    assert parse(*args).start_warnings == (warning,)


def test_old_names_that_live_on_have_their_effect():
    options = parse("--use-basic-auth", "--use_tls")
    assert options.use_basic_auth is True
    assert options.use_tls is True
    assert len(options.start_warnings) == 2


def test_no_warning_without_old_names():
    options = parse()
    assert options.start_warnings == ()
    assert options.use_basic_auth is False
    assert options.use_tls is False


def test_help_names_every_option_once(capsys: pytest.CaptureFixture[str]):
    assert exit_status("--help") == 0
    text = capsys.readouterr().out
    for names, _, _, _ in OPTIONS:
        assert names[0] in text
    assert "--server_host" not in text
    assert "--allow-draft75" not in text


class TestConfigurationFile:
    """`--config`: pywebsocket's INI format, in front of the command line."""

    @staticmethod
    def parse(tmp_path: Path, text: str, *args: str) -> argparse.Namespace:
        path = tmp_path / "server.conf"
        path.write_text(text, encoding="utf-8")
        return parse("--config", str(path), *args)

    def test_sets_options_by_long_name(self, tmp_path: Path):
        options = self.parse(
            tmp_path,
            "[pywebsocket]\nport = 9998\nlog_level=debug\nserver-host: ::1\nscan_dir = a b\n",
        )
        assert options.port == 9998
        assert options.log_level == "debug"
        assert options.server_host == "::1"
        assert options.scan_dir == "a b"
        assert options.start_warnings == ()

    def test_command_line_overrides_it(self, tmp_path: Path):
        assert self.parse(tmp_path, "[pywebsocket]\nport=1\n", "-p", "2").port == 2

    def test_a_flag_of_pywebsocket_is_on_whatever_its_value_says(self, tmp_path: Path):
        lines = "tls=True\nbasic-auth=False\ntls_client_auth=maybe\nuse-tls=0\n"
        options = self.parse(tmp_path, "[pywebsocket]\n" + lines)
        assert options.use_tls is True
        assert options.use_basic_auth is True
        assert options.tls_client_auth is True
        said = [warning for warning in options.start_warnings if "turns" in warning]
        assert [warning.partition("'")[2].partition("'")[0] for warning in said] == [
            "basic-auth = False",
            "use-tls = 0",
        ]

    @pytest.mark.parametrize(
        ("value", "is_on"),
        [("1", True), ("Yes", True), ("on", True), ("", True), ("false", False), ("OFF", False)],
    )
    def test_another_flag_is_what_its_value_says(self, tmp_path: Path, value: str, is_on: bool):
        lines = f"http2={value}\nserve_dot_files = {value}\n"
        options = self.parse(tmp_path, "[pywebsocket]\n" + lines)
        assert options.http2 is is_on
        assert options.serve_dot_files is is_on
        assert options.start_warnings == ()

    def test_value_may_start_with_a_dash(self, tmp_path: Path):
        options = self.parse(
            tmp_path, "[pywebsocket]\nthread_monitor_interval_in_sec=-1\ncgi_paths=-x\n"
        )
        assert options.thread_monitor_interval_in_sec == -1
        assert options.cgi_paths == "-x"

    def test_other_sections_are_not_read(self, tmp_path: Path):
        assert self.parse(tmp_path, "[other]\nport=1\n[pywebsocket]\n").port == 80

    def test_unknown_entry_is_passed_over_with_a_warning(self, tmp_path: Path):
        options = self.parse(tmp_path, "[pywebsocket]\nfoo=1\nversion=1\nport=5\n")
        assert options.port == 5
        assert [w.partition(" of ")[0] for w in options.start_warnings] == [
            "the entry 'foo'",
            "the entry 'version'",
        ]

    def test_old_name_warns(self, tmp_path: Path):
        options = self.parse(tmp_path, "[pywebsocket]\nallow_draft75=True\ntls_module=ssl\n")
        assert len(options.start_warnings) == 2

    def test_bad_value_exits_2(self, tmp_path: Path):
        with pytest.raises(SystemExit) as caught:
            self.parse(tmp_path, "[pywebsocket]\nport=many\n")
        assert caught.value.code == 2

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("port=1\n", "put the options under the heading [pywebsocket]"),
            ("[pywebsocket]\nport\n", "write one 'name = value' per line"),
            ("[pywebsocket]\nport=%(x)s\n", "write %% for a percent sign"),
            ("[pywebsocket]\nlog_file=%h\n", "write %% for a percent sign"),
            ("[pywebsocket]\nport=1\nport=2\n", "leave one of the two"),
            ("[pywebsocket]\n[pywebsocket]\n", "leave one of the two"),
            ("[standalone]\nport=1\n", "no section [pywebsocket]"),
            ("[pywebsocket]\nlog_file=\udcff\n", "cannot understand"),
            ("[pywebsocket]\nhttp2=maybe\n", "'http2 = maybe' of"),
        ],
    )
    def test_file_that_makes_no_sense_exits_1(
        self, tmp_path: Path, text: str, reason: str, capsys: pytest.CaptureFixture[str]
    ):
        path = tmp_path / "server.conf"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        assert exit_status("--config", str(path)) == 1
        error = capsys.readouterr().err
        assert reason in error
        assert error.startswith("fastwsh: ")
        assert error.count("\n") == 1

    def test_missing_file_exits_1(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
        assert exit_status("--config", str(tmp_path / "none.conf")) == 1
        assert "No such file or directory" in capsys.readouterr().err
