"""Why a server does not start: one sentence that names the cause, and no other one."""

import argparse
import errno
import os
import socket
from pathlib import Path

import pytest

from conftest import StartServer, WriteHandler, run_fastwsh
from fastwsh.process import start_failures
from fastwsh.settings import private_files
from wire import Client

OPTIONS = argparse.Namespace(server_host="h", port=80)


def failure(tmp_path: Path, *args: str, env: dict[str, str] | None = None) -> str:
    done = run_fastwsh("-H", "127.0.0.1", "-p", "0", *args, cwd=tmp_path, env=env)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize("is_checked", [False, True])
def test_map_file_that_is_not_utf8_is_named(tmp_path: Path, is_checked: bool):
    (tmp_path / "map").write_bytes("/café /echo".encode("latin-1"))
    line = failure(tmp_path, "-m", "map", *(["--check"] if is_checked else []))
    assert "cannot understand the map file 'map'" in line
    assert line.endswith("save it as UTF-8")


@pytest.mark.parametrize("is_checked", [False, True])
def test_configuration_that_is_not_utf8_is_named(tmp_path: Path, is_checked: bool):
    text = "[pywebsocket]\n# café\nlog_level = info\n"
    (tmp_path / "server.ini").write_bytes(text.encode("latin-1"))
    line = failure(tmp_path, "--config", "server.ini", *(["--check"] if is_checked else []))
    assert "cannot understand the configuration file 'server.ini'" in line
    assert line.endswith("save it as UTF-8")


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_map_file_is_read_as_utf8_whatever_the_locale(
    start_server: StartServer, write_handler: WriteHandler, tmp_path: Path, mark: bytes
):
    write_handler("echo", "request.ws_stream.send_message('here')")
    (tmp_path / "map").write_bytes(mark + "/café /echo\r\n\r\n# no more\n".encode())
    env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    server = start_server("-w", "handlers", "-m", "map", env=env)
    with Client(server.port) as client:
        client.handshake("/caf%C3%A9")
        assert client.read_frame().payload == b"here"


def test_absent_map_file_is_named(tmp_path: Path):
    assert "cannot use the map file" in failure(tmp_path, "-m", "none")


@pytest.mark.parametrize("host", ["no..dots", "x" * 70, "nowhere.invalid"])
def test_unknown_host_is_named(tmp_path: Path, host: str):
    done = run_fastwsh("-H", host, "-p", "0", cwd=tmp_path)
    assert f"unknown host {host!r}" in done.stderr or f"look up the host {host!r}" in done.stderr


@pytest.mark.parametrize("name", ["", "nosuch", "é", "rot13", "base64"])
def test_encoding_that_is_none_is_named(tmp_path: Path, name: str):
    line = failure(tmp_path, "--handler-encoding", name)
    assert f"{name!r} is no text encoding; name one that Python knows with --handler-enc" in line


def test_scan_folder_outside_the_handler_root_is_named(tmp_path: Path):
    (tmp_path / "handlers").mkdir()
    (tmp_path / "other").mkdir()
    line = failure(tmp_path, "-w", "handlers", "-s", "other")
    assert "the scan folder 'other' is not inside the handler root 'handlers'" in line
    assert line.endswith("with --scan-dir")


def test_a_file_that_is_key_and_certificate_is_named_once(tmp_path: Path):
    options = argparse.Namespace(private_key="both.pem", certificate="both.pem", uds="a.sock")
    names = [Path(path).name for path in private_files.of(options)]
    assert names == ["both.pem", "a.sock"]


@pytest.mark.parametrize("option", ["--server-host", "--validation-host", "--handler-encoding"])
def test_option_that_is_no_text_is_named(tmp_path: Path, option: str):
    done = run_fastwsh("-p", "0", option, os.fsdecode(b"\xff"), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"of {option} is not valid UTF-8" in done.stderr


def test_credential_is_the_bytes_that_were_typed(start_server: StartServer):
    credential = os.fsdecode(b"a:\xff")
    server = start_server("--basic-auth", "--basic-auth-credential", credential)
    for value, status in (("YTr/", 404), ("YTo/", 401)):
        with Client(server.port) as client:
            client.send_request("/none", [("Authorization", f"Basic {value}")])
            assert client.read_response().status == status


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), "'utf-8' codec can't"),
        (PermissionError(errno.EACCES, "Permission denied"), "the server cannot start (Perm"),
        (PermissionError(errno.EACCES, "Permission denied", "/x"), "cannot use '/x' (Permission"),
        (PermissionError(errno.EACCES, "Permission denied", b"/x"), "cannot use '/x' (Permission"),
        (OSError(errno.EADDRINUSE, "Address already in use"), "the server cannot start (Address"),
        (OSError(errno.ENOSYS, "Function not implemented"), "the server cannot start (Function"),
        (OSError(errno.ENOSPC, "No space left"), "the server cannot start (No space left); free"),
        (OSError("odd"), "odd"),
        (OSError(errno.EMFILE, "Too many open files"), "the server cannot start (Too many open"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "unknown host 'h'"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "cannot look up the host 'h' (T"),
        (RuntimeError("can't start new\nthread"), "can't start new thread"),
        (RuntimeError("can't start new thread"), "the server cannot start (the system gives"),
        (MemoryError(), "the server cannot start (the system gives it no more threads or memory)"),
    ],
)
def test_error_of_the_start_is_not_taken_for_another(error: Exception, text: str):
    assert start_failures.explain(error, OPTIONS).startswith(text)


@pytest.mark.parametrize(
    ("number", "port", "text"),
    [
        (errno.EADDRINUSE, 80, "port 80 of h is already in use"),
        (errno.EACCES, 80, "port 80 of h may not be opened by this user"),
        (errno.EACCES, 9998, "cannot listen on port 9998 of h (Permission denied)"),
        (errno.EADDRNOTAVAIL, 80, "'h' is no address of this machine"),
        (
            errno.EMFILE,
            80,
            f"the server cannot start ({os.strerror(errno.EMFILE)}); raise the limit",
        ),
        (
            errno.ENOMEM,
            80,
            f"cannot listen on port 80 of h ({os.strerror(errno.ENOMEM)}); choose another",
        ),
    ],
)
def test_error_of_a_port_is_explained(number: int, port: int, text: str):
    options = argparse.Namespace(server_host="h", port=port)
    sentence = start_failures.explain_bind(OSError(number, os.strerror(number)), options)
    assert sentence.startswith(text)
