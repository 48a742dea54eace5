"""What makes a handler need a thread of its own, and what does not: imports, and other sources."""

import sys
from pathlib import Path

import pytest

from concurrency_support import FUNCTIONS, why
from fastwsh.concurrency.check import why_threads

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


# Imports


@pytest.mark.parametrize(
    "statement",
    [
        "import struct, json, re, base64, hashlib, zlib, random, datetime, collections.abc",
        "from __future__ import annotations",
        "import urllib.parse",
        "from urllib import parse as urlparse",
        "from urllib.parse import parse_qs, urlsplit",
        "import os.path",
        "from os.path import join",
        "import http.cookies",
        "from dataclasses import dataclass",
        "import pywebsocket3.handshake.hybi",
        "from pywebsocket3 import common, extensions, handshake, msgutil, stream, util",
        "from mod_pywebsocket.handshake import AbortedByUserException, hybi",
        "from mod_pywebsocket.handshake._base import HandshakeException",
        "from mod_pywebsocket import _stream_base, http_header_util, memorizingfile",
        "from mod_pywebsocket import *",
        "from pywebsocket3.msgutil import *",
        "import six",
        "from six.moves import range, xrange, urllib, cStringIO",
        "import six.moves.urllib.parse",
        "from six.moves.urllib import parse",
        "import cgi, md5, sha, sets, urlparse, Cookie, StringIO, cStringIO",
        "from fastwsh import topics",
        "import fastwsh.topics",
    ],
)
def test_module_that_cannot_block_is_accepted(statement):
    assert why_threads(statement + FUNCTIONS) is None


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("import threading", "threading"),
        ("import json, queue", "queue"),
        ("import socket as harmless", "socket"),
        ("import xml.sax", "xml.sax"),
        ("import urllib.request", "urllib.request"),
        ("import urllib2", "urllib2"),
        ("import no_such_module", "no_such_module"),
        ("from fastwsh import connect", "fastwsh.connect"),
        ("from concurrent import futures", "concurrent"),
        ("from http import client", "http.client"),
        ("from json import tool", "json.tool"),
        ("from time import sleep", "time.sleep"),
        ("from time import time, sleep as nap", "time.sleep"),
        ("from io import open", "io.open"),
        ("from os import path, system", "os.system"),
        ("from os.path import exists", "os.path.exists"),
        ("from sys import stdin", "sys.stdin"),
        ("from six.moves import queue", "six.moves.queue"),
        ("from six.moves.urllib import request", "six.moves.urllib.request"),
        ("import six.moves.urllib.request", "six.moves.urllib.request"),
        ("from six import exec_", "six.exec_"),
        ("from cStringIO import open", "cStringIO.open"),
        ("from pywebsocket3 import standalone", "pywebsocket3.standalone"),
        ("import mod_pywebsocket.dispatch", "mod_pywebsocket.dispatch"),
        ("from mod_pywebsocket.msgutil import MessageSender", "pywebsocket3.msgutil.MessageSender"),
        ("from pywebsocket3.msgutil import queue", "queue"),
        ("from pywebsocket3.util import hide_annotations", "pywebsocket3.util.hide_annotations"),
        ("from time import *", "everything from time"),
        ("from typing import get_type_hints", "typing.get_type_hints"),
    ],
)
def test_module_or_name_that_may_block_needs_a_thread(statement, name):
    assert why_threads(f"\n{statement}{FUNCTIONS}") == f"it imports {name} (line 2)"


def test_relative_import_needs_a_thread():
    assert why_threads("from . import sibling" + FUNCTIONS) == "it has a relative import (line 1)"


@pytest.mark.parametrize(
    "body",
    [
        "import threading",
        "if request:\n    import threading",
        "try:\n    import threading\nexcept ImportError:\n    pass",
        "def inner():\n    import threading",
    ],
)
def test_import_is_found_wherever_it_stands(body):
    assert why(body).startswith("it imports threading (line ")


def test_import_into_a_class_needs_a_thread():
    reason = why("class Clock:\n    import time")
    assert reason == "it imports time within a class or function (line 5)"


def test_file_with_the_name_of_a_harmless_module_is_not_that_module(monkeypatch, tmp_path):
    assert why_threads("import colorsys" + FUNCTIONS) is None
    (tmp_path / "colorsys.py").write_text("import threading\n")
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert why_threads("import colorsys" + FUNCTIONS) == "it imports colorsys (line 1)"


def test_file_with_the_name_of_a_module_of_python_2_is_not_that_module(monkeypatch, tmp_path):
    (tmp_path / "urlparse.py").write_text("import threading\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert why_threads("import urlparse" + FUNCTIONS) == "it imports urlparse (line 1)"


# What is taken from modules


@pytest.mark.parametrize(
    ("module", "expression"),
    [
        ("time", "time.strftime('%c', time.gmtime(time.time())), time.monotonic()"),
        ("time", "hasattr(time, 'monotonic')"),
        ("sys", "sys.stdout.write(sys.version), sys.exc_info(), sys.exit(1)"),
        ("logging", "logging.getLogger('x').info('y'), logging.warning('z')"),
        ("os", "os.path.join(os.sep, 'x'), os.environ.get('HOME')"),
        ("io", "io.BytesIO(b'x').read()"),
        ("codecs", "codecs.encode('x', 'utf-8'), codecs.BOM_UTF8"),
        ("uuid", "str(uuid.uuid4())"),
        ("urllib", "urllib.parse.quote('x'), urllib.quote('x')"),
        ("datetime", "datetime.datetime.now().isoformat()"),
        ("collections", "collections.Mapping"),
        ("json", "json.decoder.JSONDecodeError"),
        ("six", "isinstance(request, six.text_type), six.moves.range(3)"),
        ("six", "six.moves.urllib.parse.quote('x')"),
        ("mod_pywebsocket", "mod_pywebsocket.msgutil.send_message(request, 'x')"),
        ("pywebsocket3.util", "pywebsocket3.util._Inflater(15)"),
        ("pywebsocket3.util", "pywebsocket3.util.hashlib.md5(b'x')"),
        ("pywebsocket3.stream", "pywebsocket3.stream.os.path.join('a', 'b')"),
        ("struct", "struct.no_such_name"),
    ],
)
def test_harmless_part_of_a_module_is_accepted(module, expression):
    assert why(expression, f"import {module}") is None


@pytest.mark.parametrize(
    ("module", "expression", "name"),
    [
        ("time", "time.sleep(1)", "time.sleep"),
        ("time", "getattr(time, 'sleep')", "time.sleep"),
        ("sys", "sys.stdin.read()", "sys.stdin"),
        ("sys", "sys.modules['time']", "sys.modules"),
        ("logging", "logging.handlers", "logging.handlers"),
        ("logging", "logging.os.system('x')", "logging.os"),
        ("os", "os.listdir('.')", "os.listdir"),
        ("os", "os.path.getsize('x')", "os.path.getsize"),
        ("io", "io.open('x')", "io.open"),
        ("codecs", "codecs.open('x')", "codecs.open"),
        ("uuid", "uuid.uuid1()", "uuid.uuid1"),
        ("urllib", "urllib.request.urlopen('x')", "urllib.request"),
        ("urllib", "urllib.urlopen('x')", "urllib.urlopen"),
        ("http", "http.client.HTTPConnection('x')", "http.client"),
        ("json", "json.codecs.open('x')", "codecs.open"),
        ("json", "json.tool", "json.tool"),
        ("six", "six.moves.input()", "six.moves.input"),
        ("pywebsocket3.msgutil", "pywebsocket3.msgutil.threading.Lock()", "threading"),
        (
            "pywebsocket3.util",
            "pywebsocket3.util.hide_annotations",
            "pywebsocket3.util.hide_annotations",
        ),
        ("pywebsocket3", "pywebsocket3.standalone._main()", "pywebsocket3.standalone"),
        (
            "mod_pywebsocket.msgutil",
            "mod_pywebsocket.msgutil.MessageReceiver(request)",
            "pywebsocket3.msgutil.MessageReceiver",
        ),
    ],
)
def test_other_part_of_a_module_needs_a_thread(module, expression, name):
    assert why(expression, f"import {module}") == f"it uses {name} (line 4)"


@pytest.mark.parametrize(
    ("before", "body", "name"),
    [
        ("import time as t", "t.sleep(1)", "time.sleep"),
        ("", "import time as t\nt.sleep(1)", "time.sleep"),
        ("from mod_pywebsocket import *", "standalone._main()", "pywebsocket3.standalone"),
        ("from six.moves import urllib as u", "u.request", "six.moves.urllib.request"),
        ("import time\ntime = None", "time.sleep(1)", "time.sleep"),
        ("import time\nif 0: time = None", "time.sleep(1)", "time.sleep"),
        ("def load():\n    global t\n    import time as t", "t.sleep(1)", "time.sleep"),
        ("import time", "class A:\n    time = None\n    time.sleep(1)", "time.sleep"),
        ("import time", "(lambda: time.sleep(1))()", "time.sleep"),
        ("import time", "[time for time in ()]; time.sleep(1)", "time.sleep"),
        ("import time", "def g(x=time.sleep): pass", "time.sleep"),
        ("import time", "f'{time.sleep(1)}'", "time.sleep"),
        ("import time", "match request:\n    case time.sleep: pass", "time.sleep"),
        ("import time\nfrom pywebsocket3 import stream as time", "time.sleep(1)", "time.sleep"),
    ],
)
def test_module_is_known_by_every_name_that_it_gets(before, body, name):
    assert why(body, before).startswith(f"it uses {name} (line ")


@pytest.mark.parametrize(
    "body",
    [
        "def g(time): time.sleep(1)",
        "time = request.clock\ntime.sleep(1)",
        "[time.sleep(1) for time in request.clocks]",
        "lambda time: time.sleep(1)",
        "try: pass\nexcept ValueError as time: time.sleep(1)",
        "match request:\n    case [time]: time.sleep(1)",
    ],
)
def test_variable_with_the_name_of_a_module_is_no_module(body):
    assert why(body, "import time") is None


@pytest.mark.parametrize(
    "body",
    [
        "clock = time",
        "request.clock = time",
        "request.connection.write(time)",
        "getattr(time, request.name)",
        "vars(time)",
        "for module in (time,): pass",
        "return time",
    ],
)
def test_module_that_is_passed_around_needs_a_thread(body):
    assert why(body, "import time").startswith("it passes the module time around (line ")


@pytest.mark.parametrize(
    "body", ["util.hexify = request.f", "setattr(util, 'hexify', request.f)", "del util.hexify"]
)
def test_module_that_is_changed_needs_a_thread(body):
    assert why(body, "from pywebsocket3 import util") == "it changes pywebsocket3.util (line 4)"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("web_socket_transfer_data", "it is a coroutine function (line 2)"),
        ("web_socket_do_extra_handshake", "it is a coroutine function (line 2)"),
        ("ask", "it has ask, a coroutine function (line 2)"),
    ],
)
def test_coroutine_function_does_not_run_in_a_shared_thread(name, reason):
    assert why_threads(f"\nasync def {name}(request): pass\n") == reason


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("\ndef (", "it cannot be parsed (line 2)"),
        ("-" * 100_000 + "1", "it cannot be parsed"),
        ("x = 1\0", "it cannot be parsed"),
    ],
)
def test_source_that_cannot_be_parsed_needs_a_thread(source, reason):
    assert why_threads(source).startswith(reason)


# Handlers of others


def test_pywebsocket3s_handlers_share_a_thread_unless_they_sleep(pywebsocket3_source):
    reasons = {
        path.name: why_threads(path.read_text(encoding="utf-8"))
        for path in pywebsocket3_source.rglob("*_wsh.py")
    }
    assert len(reasons) > 15
    assert {name for name, reason in reasons.items() if reason} == {"bench_wsh.py"}
    assert reasons["bench_wsh.py"] == "it uses time.sleep (line 58)"


def test_examples_share_a_thread_unless_they_start_one():
    reasons = {path.name: why_threads(path.read_text()) for path in EXAMPLES.glob("*_wsh.py")}
    assert {name for name, reason in reasons.items() if reason} == {"clock_wsh.py"}
