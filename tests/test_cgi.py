"""CGI programs: what they are told, what becomes of their output."""

import os
import socket
import sys
from pathlib import Path

import pytest

from cgi_support import TEXT, Programs, environment, programs
from conftest import StartServer
from http_support import fetch, read_reply, request_head

__all__ = ["programs"]


def test_output_is_the_answer(programs: Programs):
    programs.add("cgi-bin/hello", TEXT + "echo hello from cgi")
    server = programs.serve()
    reply = fetch(server, "/cgi-bin/hello")
    assert (reply.status, reply.reason) == (200, "Script output follows")
    assert reply.header("Content-Type") == "text/plain"
    assert str(reply.header("Server")).startswith("fastwsh/")
    assert reply.body == b"hello from cgi\n"


@pytest.mark.parametrize(
    "target",
    [
        "/cgi-bin/hello",
        "/cgi-bin//hello",
        "/%63gi-bin/hello",
        "/cgi-bin%2fhello",
        "//cgi-bin/hello",
        "/cgi-bin/./hello",
        "/cgi-bin/hello#x",
        "/cgi-bin/hello?..",
        "cgi-bin/hello",
    ],
)
def test_program_is_found_by_its_decoded_path(programs: Programs, target: str):
    programs.add("cgi-bin/hello", TEXT + "echo hello")
    assert fetch(programs.serve(), target).body == b"hello\n"


def test_connection_stays_open_behind_a_program(programs: Programs):
    programs.add("cgi-bin/hello", TEXT + "echo hello")
    with programs.serve().connect() as client:
        for _ in range(3):
            client.send(request_head("/cgi-bin/hello"))
            assert read_reply(client).body == b"hello\n"


def test_http_1_0_client_gets_the_body_without_chunks(programs: Programs):
    programs.add("cgi-bin/hello", TEXT + "echo hello")
    reply = fetch(programs.serve(), "/cgi-bin/hello", version="HTTP/1.0")
    assert reply.header("Transfer-Encoding") is None
    assert reply.body == b"hello\n"


def test_variables(programs: Programs):
    programs.add("cgi-bin/sub/env", TEXT + "env")
    server = programs.serve(env={"SECRET_TOKEN": "hidden", "TZ": "Asia/Tokyo"})
    target = "/cgi-bin/sub/env/path/in%66o?a=b&c"
    headers = ["X-Custom: 1", "Cookie: a=b", "Cookie: c=d", "Accept: x/y", "Accept: z/*"]
    headers += ["User-Agent: \u00e9", "Proxy: http://evil/", "Referer: http://r/"]
    variables = environment(server, target, *headers)
    root = str(programs.root.resolve())
    expected = {
        "GATEWAY_INTERFACE": "CGI/1.1",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": str(server.port),
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "/cgi-bin/sub/env",
        "PATH_INFO": "/path/info",
        "PATH_TRANSLATED": f"{root}/path/info",
        "QUERY_STRING": "a=b&c",
        "REMOTE_ADDR": "127.0.0.1",
        "REMOTE_HOST": "",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "",
        "HTTP_HOST": "localhost",
        "HTTP_ACCEPT": "x/y,z/*",
        "HTTP_COOKIE": "a=b; c=d",
        "HTTP_USER_AGENT": "\u00e9",
        "HTTP_REFERER": "http://r/",
        "HTTP_X_CUSTOM": "1",
        "TZ": "Asia/Tokyo",
    }
    assert {name: variables.get(name) for name in expected} == expected
    assert variables["SERVER_SOFTWARE"].startswith("fastwsh/")
    assert "PATH" in variables
    assert not {"SECRET_TOKEN", "HTTP_PROXY", "HOME", "AUTH_TYPE", "REMOTE_USER"} & set(variables)


def test_user_is_told(programs: Programs):
    programs.add("cgi-bin/env", TEXT + "env")
    server = programs.serve("--basic-auth")
    variables = environment(server, "/cgi-bin/env", "Authorization: Basic dGVzdDp0ZXN0")
    assert (variables["AUTH_TYPE"], variables["REMOTE_USER"]) == ("Basic", "test")
    assert "HTTP_AUTHORIZATION" not in variables
    assert fetch(server, "/cgi-bin/env").status == 401


@pytest.mark.parametrize(
    ("query", "arguments"),
    [("", "1 []"), ("?one+two", "1 [one two]"), ("?%41", "1 [%41]"), ("?a=b", "0 []")],
)
def test_query_that_is_no_form_is_the_argument(programs: Programs, query: str, arguments: str):
    programs.add("cgi-bin/args", TEXT + 'echo "$# [$1]"')
    reply = fetch(programs.serve(), f"/cgi-bin/args{query}")
    assert reply.body.decode() == f"{arguments}\n"


def test_working_directory_and_user(programs: Programs):
    programs.add("cgi-bin/who", TEXT + "pwd; id -u; id -g")
    directory, user, group = fetch(programs.serve(), "/cgi-bin/who").body.decode().split()
    assert Path(directory).samefile(programs.root)
    if os.geteuid() == 0:
        assert user != "0"
        assert group != "0"
    else:
        assert user == str(os.geteuid())


def test_nothing_of_the_server_is_left_open(programs: Programs):
    programs.add("cgi-bin/fds", TEXT + "ls /proc/self/fd")
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    # the fourth is the folder that ls reads
    assert fetch(programs.serve(), "/cgi-bin/fds").body.split() == [b"0", b"1", b"2", b"3"]


def test_body_is_the_input(programs: Programs):
    programs.add("cgi-bin/post", TEXT + 'cat; printf "|$CONTENT_LENGTH|$CONTENT_TYPE"')
    server = programs.serve()
    reply = fetch(
        server, "/cgi-bin/post", method="POST", body=b"hello", headers=("Content-Type: a/b",)
    )
    assert reply.body == b"hello|5|a/b"
    assert fetch(server, "/cgi-bin/post", method="POST").body == b"||text/plain"


def test_body_and_output_are_streamed(programs: Programs):
    script = (
        "import sys\n"
        "sys.stdout.write('Content-Type: text/plain\\n\\n')\n"
        "sys.stdout.flush()\n"
        "for line in iter(sys.stdin.readline, ''):\n"
        "    sys.stdout.write(line.upper())\n"
        "    sys.stdout.flush()\n"
    )
    python = os.path.realpath(sys.executable) if os.geteuid() != 0 else "/usr/bin/env python3"
    programs.add("cgi-bin/echo", script, shebang=f"#!{python}")
    server = programs.serve()
    if fetch(server, "/cgi-bin/echo").status != 200:
        pytest.skip("no Python that every user can start")
    with server.connect() as client:
        client.send(request_head("/cgi-bin/echo", "POST", ("Content-Length: 12",)))
        assert client.read_response().status == 200
        for line in [b"first\n", b"other\n"]:
            client.send(line)
            assert client.read(11) == b"6\r\n" + line.upper() + b"\r\n"
        assert client.read(5) == b"0\r\n\r\n"


def test_large_body_and_output(programs: Programs):
    programs.add("cgi-bin/cat", TEXT + "cat")
    body = os.urandom(5 << 20)
    reply = fetch(programs.serve(), "/cgi-bin/cat", method="POST", body=body)
    assert reply.body == body


def test_client_that_expects_to_be_told_to_go_on_is_told(programs: Programs):
    programs.add("cgi-bin/cat", TEXT + "cat")
    with programs.serve().connect() as client:
        headers = ("Content-Length: 2", "Expect: 100-continue")
        client.send(request_head("/cgi-bin/cat", "POST", headers))
        assert client.read_response().status == 100
        client.send(b"ok")
        assert read_reply(client).body == b"ok"


def test_body_without_a_length_is_refused(programs: Programs):
    programs.add("cgi-bin/cat", TEXT + "cat")
    headers = ("Transfer-Encoding: chunked",)
    with programs.serve().connect() as client:
        client.send(request_head("/cgi-bin/cat", "POST", headers) + b"2\r\nok\r\n0\r\n\r\n")
        assert read_reply(client).status == 411


def test_program_need_not_read_its_input(programs: Programs):
    programs.add("cgi-bin/hello", TEXT + "echo hello")
    with programs.serve().connect() as client:
        client.send(request_head("/cgi-bin/hello", "POST", ("Content-Length: 1000",)) + b"x")
        assert read_reply(client).body == b"hello\n"


def test_status_and_headers_are_honoured(programs: Programs):
    script = "printf 'Status: 404 Nope\\nX-A: 1\\nX-A: 2\\nConnection: x\\n\\nbody'"
    programs.add("cgi-bin/status", script)
    reply = fetch(programs.serve(), "/cgi-bin/status")
    assert (reply.status, reply.reason, reply.body) == (404, "Nope", b"body")
    assert [value for name, value in reply.headers if name.lower() == "x-a"] == ["1", "2"]
    assert reply.header("Connection") is None
    assert reply.header("Status") is None


@pytest.mark.parametrize(
    ("output", "status", "location", "body"),
    [
        ("Location: http://h/x\\n\\n", 302, "http://h/x", b""),
        ("Location: http://h/x", 302, "http://h/x", b""),
        ("Status: 303 See\\nLocation: /x\\n\\n", 303, "/x", b""),
        ("Location: /x\\nSet-Cookie: a=b\\n\\n", 302, "/x", b""),
        ("Location: /page.txt?q\\n\\n", 200, None, b"page"),
        ("Location: /cgi-bin/second?q=%%20\\n\\n", 200, None, b"second GET q=%20\n"),
        ("Location: /nope\\n\\n", 404, None, None),
    ],
)
def test_redirects(
    programs: Programs, output: str, status: int, location: str | None, body: bytes | None
):
    (programs.root / "page.txt").write_text("page")
    programs.add("cgi-bin/first", f"printf '{output}'")
    programs.add("cgi-bin/second", TEXT + 'echo "second $REQUEST_METHOD $QUERY_STRING"')
    server = programs.serve()
    for method in ["GET", "POST"]:
        reply = fetch(server, "/cgi-bin/first", method=method)
        assert (reply.status, reply.header("Location")) == (status, location)
        assert body is None or reply.body == body


def test_programs_that_redirect_in_a_circle_are_stopped(programs: Programs):
    programs.add("cgi-bin/loop", "printf 'Location: /cgi-bin/loop\\n\\n'")
    assert fetch(programs.serve(), "/cgi-bin/loop").status == 502


def test_head_runs_the_program_and_has_no_body(programs: Programs):
    programs.add("cgi-bin/hello", TEXT + 'echo hello; echo "ran $REQUEST_METHOD" >&2')
    server = programs.serve()
    with server.connect() as client:
        client.send(request_head("/cgi-bin/hello", "HEAD", ("Connection: close",)))
        head, _, body = client.read_to_end().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 Script output follows\r\n")
    assert body == b""
    server.log.wait_for("ran HEAD")


def test_answer_without_content(programs: Programs):
    programs.add("cgi-bin/none", "printf 'Status: 204\\n\\nnobody reads this'")
    with programs.serve().connect() as client:
        for _ in range(2):
            client.send(request_head("/cgi-bin/none"))
            assert read_reply(client).status == 204


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ("exit 0", 200),
        ("exit 3", 502),
        ("echo hello", 502),
        ("printf 'Status: x\\n\\n'", 502),
        ("printf 'Status: 101 Switching\\n\\n'", 502),
        ("printf '\\nbody'", 200),
        (TEXT + "exit 3", 200),
    ],
)
def test_output_that_is_no_answer(programs: Programs, script: str, status: int):
    programs.add("cgi-bin/odd", script)
    assert fetch(programs.serve(), "/cgi-bin/odd").status == status


def test_messages_and_failures_are_logged(programs: Programs):
    programs.add("cgi-bin/err", "printf 'one\\033[31m\\ntwo' >&2\n" + TEXT + "exit 3")
    server = programs.serve()
    assert fetch(server, "/cgi-bin/err").status == 200
    server.log.wait_for(r'CGI script "/cgi-bin/err": one\\x1b\[31m$')
    server.log.wait_for('CGI script "/cgi-bin/err": two$')
    server.log.wait_for('CGI script "/cgi-bin/err": exit status: 3$')


def test_missing_interpreter_is_a_bad_gateway(programs: Programs):
    programs.add("cgi-bin/odd", "", shebang="#!/no/such/interpreter")
    server = programs.serve()
    assert fetch(server, "/cgi-bin/odd").status == 502
    server.log.wait_for("cannot be started: its interpreter is missing")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/cgi-bin/noexec", 403),
        ("/cgi-bin/noexec.py", 403),
        ("/cgi-bin/../cgi-bin/run", 403),
        ("/alias", 403),
        ("/folder/run", 403),
        ("/cgi-bin/nope", 404),
        ("/cgi-bin/outside", 404),
        ("/cgi-bin/run.txt/x", 404),
    ],
)
def test_source_of_a_program_is_not_shown(programs: Programs, target: str, status: int):
    programs.add("cgi-bin/run", TEXT)
    programs.add("cgi-bin/noexec", "secret", mode=0o644)
    programs.add("cgi-bin/noexec.py", "secret", shebang="", mode=0o644)
    (programs.root / "cgi-bin/run.txt").write_text("text")
    outside = programs.root.parent / "outside"
    outside.write_text(f"#!/bin/sh\n{TEXT}")
    outside.chmod(0o755)
    (programs.root / "cgi-bin/outside").symlink_to(outside)
    (programs.root / "alias").symlink_to("cgi-bin/run")
    (programs.root / "folder").symlink_to("cgi-bin")
    reply = fetch(programs.serve(), target)
    assert reply.status == status
    assert b"secret" not in reply.body


def test_other_files_in_a_folder_of_programs_are_served(programs: Programs):
    (programs.root / "cgi-bin/style.css").write_text("a{}")
    programs.add("plain/near-miss.sh", "")
    server = programs.serve()
    assert fetch(server, "/cgi-bin/style.css").body == b"a{}"
    assert fetch(server, "/cgi-bin/").status == 200
    assert fetch(server, "/cgi-bin").header("Location") == "/cgi-bin/"
    assert fetch(server, "/plain/near-miss.sh").body == b"#!/bin/sh\n"
    assert fetch(server, "/cgi-bin/style.css", method="POST").status == 501
    assert fetch(server, "/cgi-bin/style.css", method="PUT").status == 501


def test_there_are_no_programs_unless_asked_for(
    start_server: StartServer, tmp_path: Path, programs: Programs
):
    programs.add("cgi-bin/hello.sh", TEXT)
    server = start_server("-d", programs.root, "-w", tmp_path)
    assert fetch(server, "/cgi-bin/hello.sh").body.startswith(b"#!/bin/sh\n")
    assert fetch(server, "/cgi-bin/hello.sh", method="POST").status == 501


def test_half_closed_client_is_answered(programs: Programs):
    programs.add("cgi-bin/hello", TEXT + "echo hello")
    with programs.serve().connect() as client:
        client.send(request_head("/cgi-bin/hello"))
        client.socket.shutdown(socket.SHUT_WR)
        assert read_reply(client).body == b"hello\n"


def test_headers_too_large_for_a_program(programs: Programs):
    programs.add("cgi-bin/hello", TEXT)
    headers = tuple(f"X-{number}: {'v' * 60_000}" for number in range(60))
    assert fetch(programs.serve(), "/cgi-bin/hello", headers=headers).status == 431


@pytest.mark.parametrize("header", ["", "Status: 404 Gone\\n"])
def test_program_that_writes_less_than_it_announces(programs: Programs, header: str):
    """What it has written arrives; the client finds out that something is missing."""
    script = f"printf 'Content-Type: text/plain\\n{header}Content-Length: 5\\n\\nabc'"
    programs.add("cgi-bin/short", script)
    server = programs.serve()
    for _ in range(20):
        with server.connect() as client:
            client.send(request_head("/cgi-bin/short"))
            assert client.read_response().status in {200, 404}
            assert client.read_to_end() == b"abc"
