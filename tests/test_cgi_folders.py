"""Folders of CGI programs, first lines of programs, and status lines."""

import os
from pathlib import Path

import pytest

from cgi_support import TEXT, Programs, programs
from conftest import run_fastwsh
from http_support import fetch

__all__ = ["programs"]


@pytest.mark.parametrize("shebang", ["#!/bin/sh\r", "#!/usr/bin/env sh\r", "#!/bin/sh -e\r"])
def test_first_line_with_a_carriage_return_is_named(programs: Programs, shebang: str):
    programs.add("cgi-bin/dos", "exit\r\n", shebang=shebang)
    server = programs.serve()
    assert fetch(server, "/cgi-bin/dos").status == 502
    server.log.wait_for('CGI script "/cgi-bin/dos": .*its first line ends with CR LF')


@pytest.mark.parametrize("folder", [".", "./", "/", "/./", "cgi-bin/.."])
def test_document_root_may_hold_programs(programs: Programs, folder: str):
    programs.add("here", TEXT + "echo ran")
    server = programs.serve("-x", folder)
    assert fetch(server, "/here").body == b"ran\n"


@pytest.mark.parametrize("folder", ["./cgi-bin", "cgi-bin/./", "/x/../cgi-bin/"])
def test_folder_of_programs_may_be_written_with_dots(programs: Programs, folder: str):
    programs.add("cgi-bin/here", TEXT + "echo ran")
    server = programs.serve("-x", folder)
    assert fetch(server, "/cgi-bin/here").body == b"ran\n"


@pytest.mark.parametrize("folder", ["..", "../cgi-bin", "/cgi-bin/../../x", "cgi-bin,.."])
def test_folder_outside_the_document_root_ends_the_start(tmp_path: Path, folder: str):
    done = run_fastwsh("-p", "0", "-x", folder, cwd=tmp_path)
    assert done.returncode == 1
    assert "of --cgi-paths is not under the document root" in done.stderr


def test_name_of_the_folder_need_not_be_utf8(programs: Programs):
    folder = os.fsdecode(b"cgi-\xff")
    programs.add(f"{folder}/here", TEXT + "echo ran")
    server = programs.serve("-x", folder)
    assert fetch(server, "/cgi-%FF/here").body == b"ran\n"


@pytest.mark.parametrize("line", ["HTTP/1.0 201 Made", "HTTP/1.1 201 Made"])
def test_status_line_is_the_status(programs: Programs, line: str):
    programs.add("cgi-bin/nph", f"printf '{line}\\r\\nX-A: b\\r\\n\\r\\nbody'")
    reply = fetch(programs.serve(), "/cgi-bin/nph")
    assert (reply.status, reply.reason, reply.body) == (201, "Made", b"body")
    assert reply.header("X-A") == "b"
