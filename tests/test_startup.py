"""What a server loads when it starts, and what it leaves to those who need it."""

import gc
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

HANDLER = """
import logging

def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.ws_stream.send_message(request.ws_stream.receive_message())
"""

# What few servers need, and what takes long to load.
ELSEWHERE = {
    *("asyncio", "base64", "bz2", "concurrent.futures", "configparser"),
    *("copy", "dataclasses", "datetime", "difflib", "dis", "email.message", "hashlib", "html"),
    *("http.client", "http.server", "inspect", "ipaddress", "json", "logging.handlers", "lzma"),
    *("mimetypes", "pathlib", "pickle", "pwd", "random", "secrets", "shutil", "ssl", "subprocess"),
    *("tempfile", "urllib.parse", "zipfile", "importlib.metadata"),
    *(
        "fastwsh.output.access",
        "fastwsh.aio",
        "fastwsh.asgi",
        "fastwsh.backplane",
        "fastwsh.client",
    ),
    *(
        "fastwsh.errors",
        "fastwsh.handler_types",
        "fastwsh.output.log_file",
        "fastwsh.settings.named_options",
    ),
    *("fastwsh.pywebsocket.request_handler", "fastwsh.testing", "fastwsh.workers.parent"),
}

# What the check of a handler needs, at its first connection.
NOT_BEFORE_LISTENING = {"ast", "typing"}

# Serves one connection, as the program does, and prints what is loaded by then.
PROGRAM = """
import sys
before = set(sys.modules)
from fastwsh.process import gc_pause
gc_pause.pause_collection()
import fastwsh.cli, os, socket, threading

def meet(port):
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(
            b"GET /echo HTTP/1.1\\r\\nHost: localhost\\r\\nUpgrade: websocket\\r\\n"
            b"Connection: Upgrade\\r\\nSec-WebSocket-Version: 13\\r\\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\\r\\n\\r\\n"
            b"\\x81\\x82\\0\\0\\0\\0hi"
        )
        reply = b""
        while b"\\x81\\x02hi" not in reply:
            if not (piece := client.recv(4096)):
                os._exit(1)
            reply += piece
    loaded = sorted(set(sys.modules) - before)
    import gc, json
    found = {"at_start": at_start, "loaded": loaded, "collects": gc.isenabled()}
    print(json.dumps(found), flush=True)
    os._exit(0)

def announce(server, options):
    global at_start
    at_start = sorted(set(sys.modules) - before)
    threading.Thread(target=meet, args=(server.server_port,), daemon=True).start()

fastwsh.cli.banner.show = announce
sys.exit(fastwsh.cli.main(sys.argv[1:]))
"""


def run(program: str, *arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=cwd,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_plain_server_loads_nothing_that_only_others_need(tmp_path: Path):
    (tmp_path / "echo_wsh.py").write_text(HANDLER, encoding="utf-8")
    found = json.loads(run(PROGRAM, "-H", "127.0.0.1", "-p", "0", "-w", str(tmp_path)))
    # newer Pythons load some of them for these
    inevitable = set(run("import argparse, logging, sys; print(*sys.modules)").split())
    assert not (ELSEWHERE - inevitable) & set(found["loaded"])
    assert not (NOT_BEFORE_LISTENING - inevitable) & set(found["at_start"])
    assert "fastwsh.running.session" in found["loaded"]
    assert found["collects"]


def test_parent_of_workers_collects(tmp_path: Path):
    program = """
        import gc, sys
        from fastwsh.process import gc_pause
        gc_pause.pause_collection()
        from fastwsh import cli
        from fastwsh.workers import parent
        parent.run = lambda *_, **__: print("collects", gc.isenabled()) or 0
        sys.exit(cli.main(sys.argv[1:]))
    """
    said = run(program, "-H", "127.0.0.1", "-p", "0", "-w", str(tmp_path), "--workers", "2")
    assert "collects True" in said


def test_names_of_the_list_exist():
    # a module that was renamed would be missing from every server
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"
    run(program, *sorted(ELSEWHERE))


def test_option_without_a_start_leaves_the_collector_alone(tmp_path: Path):
    program = """
        import gc
        from fastwsh.process import gc_pause
        gc_pause.resume_collection()
        gc.disable()
        gc_pause.pause_collection()
        gc_pause.resume_collection()
        assert not gc.isenabled()
        gc.enable()
        gc_pause.pause_collection()
        gc_pause.pause_collection()
        assert not gc.isenabled()
        gc_pause.resume_collection()
        assert gc.isenabled()
    """
    run(program, cwd=tmp_path)
    assert gc.isenabled()


@pytest.mark.parametrize(
    "reads",
    [
        "urllib.parse.quote",
        "logging.handlers.RotatingFileHandler",
        "http.client.OK",
        "http.server.HTTPServer",
        "email.message.Message",
        "email.utils.formatdate",
    ],
)
@pytest.mark.parametrize("place", ["handler", "module beside it"])
def test_handler_finds_the_submodules_that_pywebsocket_had_loaded(
    tmp_path: Path, place: str, reads: str
):
    package = reads.partition(".")[0]
    uses = f"import {package}\nfound = {reads}\n"
    handler = tmp_path / "echo_wsh.py"
    if place == "handler":
        handler.write_text(uses + HANDLER, encoding="utf-8")
    else:
        (tmp_path / "helper.py").write_text(uses, encoding="utf-8")
        handler.write_text("import helper\n" + HANDLER, encoding="utf-8")
    program = "import sys\nfrom fastwsh.cli import main\nsys.exit(main(sys.argv[1:]))"
    assert "1 loaded, 0 failed" in run(program, "--check", "-w", str(tmp_path))


def test_packages_have_no_other_attributes_than_before(tmp_path: Path):
    program = """
        import email, http, logging, urllib
        from fastwsh import pywebsocket
        packages = email, http, logging, urllib
        def own(name):
            if name == "own":
                return "its own"
            raise AttributeError(name)
        # as logging has one since CPython 3.15
        http.__getattr__ = own
        before = [vars(package).get("__getattr__") for package in packages]
        pywebsocket.install()
        assert http.own == "its own" and http.client.OK == 200
        for package in packages:
            assert not hasattr(package, "no_such_thing"), package
        assert not hasattr(urllib, "robotparser")
        assert urllib.parse.quote("é") == "%C3%A9"
        pywebsocket.uninstall()
        assert [vars(package).get("__getattr__") for package in packages] == before
    """
    run(program, cwd=tmp_path)


def test_importing_the_plugin_loads_nothing_else_of_fastwsh(tmp_path: Path):
    program = """
        import pytest, sys
        before = set(sys.modules)
        import fastwsh.pytest_plugin
        loaded = set(sys.modules) - before
        ours = {"pytest_inspector", "pytest_plugin", "pytest_recordings"}
        assert loaded == {"fastwsh", *(f"fastwsh.{name}" for name in ours)}, loaded
        assert fastwsh.__version__
    """
    run(program, cwd=tmp_path)
