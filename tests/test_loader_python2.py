"""Handlers of the Python 2 years find the names, modules and syntax that they expect."""

import ast
import builtins
import sys
import types

import pytest

from fastwsh import py2
from fastwsh.loading import loader, source_tree
from fastwsh.py2 import syntax

FUNCTIONS = """
def web_socket_do_extra_handshake(request): pass
def web_socket_transfer_data(request): return request()
"""


def load(source):
    """Load a handler and return its global variables."""
    return loader.load_source(source + FUNCTIONS).namespace


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("isinstance('x', unicode)", True),
        ("isinstance('x', basestring)", True),
        ("list(xrange(2))", [0, 1]),
        ("long('5')", 5),
        ("unichr(233)", "\xe9"),
        ("reduce(lambda a, b: a + b, [1, 2, 3])", 6),
        ("raw_input", input),
        ("cmp(1, 2), cmp(2, 2), cmp(3, 2)", (-1, 0, 1)),
        ("apply(max, (1, 2))", 2),
        ("apply(dict, (), {'a': 1})", {"a": 1}),
        ("bytes(buffer(b'x'))", b"x"),
        ("intern('x')", "x"),
        ("issubclass(StandardError, Exception)", True),
        ("file", open),
    ],
)
def test_built_in_name(expression, value):
    assert load(f"result = {expression}")["result"] == value


@pytest.mark.parametrize(
    ("module", "expression", "value"),
    [
        ("urlparse", "urlparse.urlsplit('/a?b').query", "b"),
        ("urlparse", "urlparse.parse_qs('a=1')", {"a": ["1"]}),
        ("Queue", "Queue.Queue().empty()", True),
        ("thread", "thread.allocate_lock().locked()", False),
        ("StringIO", "StringIO.StringIO('x').read()", "x"),
        ("cStringIO", "cStringIO.StringIO('x').read()", "x"),
        ("cPickle", "cPickle.loads(cPickle.dumps(1))", 1),
        ("Cookie", "Cookie.SimpleCookie('a=b')['a'].value", "b"),
        ("ConfigParser", "ConfigParser.ConfigParser().sections()", []),
        ("httplib", "httplib.OK", 200),
        ("urllib2", "issubclass(urllib2.HTTPError, urllib2.URLError)", True),
        ("urllib2", "urllib2.Request('http://x').host, urllib2.quote(' ')", ("x", "%20")),
        ("commands", "commands.getoutput('echo x')", "x"),
        ("HTMLParser", "HTMLParser.HTMLParser.__name__", "HTMLParser"),
        ("SocketServer", "SocketServer.TCPServer.__name__", "TCPServer"),
        ("BaseHTTPServer", "BaseHTTPServer.HTTPServer.__name__", "HTTPServer"),
        (
            "SimpleHTTPServer",
            "SimpleHTTPServer.SimpleHTTPRequestHandler.server_version[:6]",
            "Simple",
        ),
        ("xmlrpclib", "xmlrpclib.ServerProxy.__name__", "ServerProxy"),
        ("htmlentitydefs", "htmlentitydefs.name2codepoint['amp']", 38),
        ("copy_reg", "copy_reg.pickle.__name__", "pickle"),
        ("cookielib", "len(cookielib.CookieJar())", 0),
        ("__builtin__", "__builtin__.len is len, __builtin__.unicode is str", (True, True)),
        ("exceptions", "exceptions.StandardError is Exception", True),
        ("md5", "md5.new(b'x').hexdigest() == md5.md5(b'x').hexdigest()", True),
        ("sha", "sha.new(b'x').digest_size", 20),
        ("sets", "sets.Set([1, 1])", {1}),
        ("UserDict", "UserDict.UserDict(a=1).data", {"a": 1}),
    ],
)
def test_renamed_module(module, expression, value):
    assert load(f"import {module}\nresult = {expression}")["result"] == value


@pytest.mark.parametrize(
    ("module", "expression", "value"),
    [
        ("urllib", "urllib.quote(' '), urllib.unquote('%20')", ("%20", " ")),
        ("urllib", "urllib.urlencode({'a': 1}), urllib.parse.quote(' ')", ("a=1", "%20")),
        ("urllib", "urllib.urlopen.__module__", "urllib.request"),
        ("string", "string.letters[:3], string.lowercase[:2]", ("abc", "ab")),
        (
            "string",
            "string.join(['a', 'b'], '-'), string.upper('x'), string.atoi('5')",
            ("a-b", "X", 5),
        ),
        ("string", "'abc'.translate(string.maketrans('ab', 'xy')), string.digits[0]", ("xyc", "0")),
        ("sys", "sys.maxint", sys.maxsize),
        (
            "itertools",
            "list(itertools.izip([1], [2])), list(itertools.imap(str, [1]))",
            ([(1, 2)], ["1"]),
        ),
        ("time", "time.clock() >= 0 and time.time() > 0", True),
        ("os", "os.getcwdu() == os.getcwd()", True),
        ("types", "isinstance('x', types.StringTypes), types.ListType", (True, list)),
        ("base64", "base64.decodestring(base64.encodestring(b'x'))", b"x"),
        ("collections", "issubclass(dict, collections.Mapping)", True),
    ],
)
def test_module_that_lost_something(module, expression, value):
    assert load(f"import {module}\nresult = {expression}")["result"] == value


@pytest.mark.filterwarnings("ignore:'cgi' is deprecated:DeprecationWarning")
def test_cgi_escapes_and_parses():
    source = (
        "import cgi\nresult = cgi.escape('<\"&'), cgi.escape('\"', True), cgi.parse_qs('a=1')\n"
    )
    source += "pairs = cgi.parse_qsl('a=1')"
    found = load(source)
    assert found["result"] == ('&lt;"&amp;', "&quot;", {"a": ["1"]})
    assert found["pairs"] == [("a", "1")]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("from urllib import quote, urlencode\nresult = quote(' ')", "%20"),
        ("from urllib import *\nresult = quote(' ')", "%20"),
        ("from urlparse import urlsplit, parse_qs\nresult = urlsplit('/a?b').query", "b"),
        ("from urlparse import *\nresult = urlsplit('/a?b').query", "b"),
        ("from string import letters\nresult = letters[0]", "a"),
        ("from string import *\nresult = letters[0] + digits[0]", "a0"),
        ("from itertools import izip as z\nresult = list(z([1], [2]))", [(1, 2)]),
        ("import urllib as u\nresult = u.quote(' ')", "%20"),
        ("import urllib.parse\nresult = urllib.quote(urllib.parse.unquote('%20'))", "%20"),
        ("import os, urlparse, sys\nresult = urlparse.urlsplit('/a?b').query", "b"),
        ("q = __import__('Queue')\nresult = q.Queue().empty()", True),
        ("def f():\n    import urlparse\n    return urlparse.unquote('%20')\nresult = f()", " "),
        ("reload(__import__('sys'))\nimport sys\nsys.setdefaultencoding('x')\nresult = 1", 1),
        ("import string\nreload(string)\nresult = string.letters[0]", "a"),
    ],
)
def test_way_of_importing(source, value):
    assert load(source)["result"] == value


def test_names_are_there_while_the_handler_runs():
    suite = loader.load_source(
        "import urlparse\nf = lambda: unicode(urlparse.unquote('x'))" + FUNCTIONS
    )
    assert suite.transfer_data(suite.namespace["f"]) == "x"


def test_execfile_runs_in_the_callers_variables(tmp_path):
    script = tmp_path / "settings.py"
    script.write_text("answer = 42\n")
    assert load(f"execfile({str(script)!r})\nresult = answer")["result"] == 42


def test_setting_an_attribute_sets_it_in_the_real_module():
    load("import sys\nsys.maxint\nsys.fastwsh_test = 1")
    assert sys.fastwsh_test == 1
    del sys.fastwsh_test


def test_process_stays_as_it_was():
    load("import urlparse, Queue, sets\nunicode, reduce, xrange")
    assert not {"unicode", "reduce", "xrange"} & vars(builtins).keys()
    assert not {"urlparse", "Queue", "sets"} & sys.modules.keys()
    assert not hasattr(sys, "maxint")


def test_handler_that_needs_nothing_has_the_plain_built_in_names():
    assert load("import os, urllib.parse\nfile = long = 1")["__builtins__"] is vars(builtins)


@pytest.mark.parametrize(
    "source",
    ["import os.path as urlparse_path", "lambda: urllib.parse.urlparse('/')", "lambda x: x.file"],
)
def test_source_that_takes_old_names_from_others_only_is_not_looked_at_closely(source):
    def parse():
        raise AssertionError("parsed")

    assert not py2.find_needs(compile(source, "", "exec"), parse, source)


def test_name_of_the_handler_stays_as_it_is():
    found = load("import urlparse\nresult = __name__, '__file__' in globals()")
    assert found["result"] == ("builtins", False)


def test_module_on_the_path_wins(tmp_path, monkeypatch):
    (tmp_path / "urlparse.py").write_text("mine = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        assert load("import urlparse\nresult = urlparse.mine")["result"] == 1
    finally:
        sys.modules.pop("urlparse", None)


def test_module_that_was_imported_already_wins(monkeypatch):
    monkeypatch.setitem(sys.modules, "Queue", types.ModuleType("Queue"))
    assert load("import Queue")["Queue"] is sys.modules["Queue"]


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    unicode\n    result = 2\nexcept NameError:\n    result = 3",
        "try:\n    text = unicode\nexcept NameError:\n    result = 3",
        "try:\n    unicode\nexcept:\n    result = 3",
        "try:\n    import urlparse\nexcept ImportError:\n    result = 3",
        "try:\n    from urllib import quote\nexcept ImportError:\n    result = 3",
        "try:\n    import urlparse\nexcept (ImportError, KeyError):\n    result = 3",
        "try:\n    import Queue as queue\nexcept Exception:\n    result = 3",
        "import urllib\ntry:\n    q = urllib.quote\nexcept AttributeError:\n    result = 3",
        "import __main__ as m\nresult = 2 if hasattr(m, 'unicode') else 3",
        "result = 2 if 'unicode' in dir(__builtins__) else 3",
    ],
)
def test_handler_that_asks_is_told_the_truth(source):
    assert load(source)["result"] == 3


def test_handler_that_defines_a_name_keeps_it():
    assert load("unicode = 5\nresult = unicode")["result"] == 5
    assert load("def f(file):\n    return file\nresult = f(1)")["result"] == 1


def test_broad_exception_handler_does_not_ask():
    source = "try:\n    result = unicode('x') + '!'\nexcept Exception:\n    result = None"
    assert load(source)["result"] == "x!"


PYTHON2 = """# -*- coding: utf-8 -*-
import sys, urllib
from urlparse import urlparse

def _show(value, file=sys.stderr):
    print >>file, "value %s" % value,
    print `value`

class Box:
    def __nonzero__(self):
        return False

def web_socket_do_extra_handshake(request):
    try:
        raise ValueError, "why"
    except ValueError, e:
        request["error"] = unicode(e)
    if request.has_key("missing") or 1 <> 1 or Box():
        exec "request = None" in {}
    request["mode"] = 0755 + 10L
    request["pairs"] = zip([1], [2]), map(str, [1]), request.keys()
    request["raw"] = ur"\\d" + urllib.quote(u" ")

def web_socket_transfer_data(request):
    for key, value in request.iteritems():
\tif key == "error":
            raise KeyError, value
"""


def test_python_2_syntax_is_translated():
    pytest.importorskip("fissix")
    suite = loader.load_source(PYTHON2)
    request = {}
    suite.do_extra_handshake(request)
    assert request["error"] == "why"
    assert request["mode"] == 0o755 + 10
    assert request["pairs"] == ([(1, 2)], ["1"], ["error", "mode"])
    assert request["raw"] == r"\d%20"


def test_translation_keeps_line_numbers():
    pytest.importorskip("fissix")
    suite = loader.load_source(PYTHON2, "/handlers/old_wsh.py")
    with pytest.raises(KeyError) as caught:
        suite.transfer_data({"error": "x"})
    last = caught.traceback[-1]
    assert (str(last.path), last.lineno + 1) == ("/handlers/old_wsh.py", 27)


def test_print_to_a_file_is_translated_although_it_compiles(capsys):
    pytest.importorskip("fissix")
    load("import sys\nif 1:\n    print >>sys.stderr, 'told', 1\n    print >>sys.stderr")
    assert capsys.readouterr().err == "told 1\n\n"


def test_print_to_a_file_is_left_alone_if_nothing_translates(monkeypatch):
    monkeypatch.setattr(syntax, "can_translate", lambda: False)
    assert load("def f():\n    print >>None, 1\nresult = 1")["result"] == 1


def test_translation_of_a_file_without_a_line_end():
    pytest.importorskip("fissix")
    assert ast.unparse(syntax.translate('print "x"')) == "print('x')"


def test_tabs_of_python_2_need_no_extra(monkeypatch):
    monkeypatch.setattr(syntax, "can_translate", lambda: False)
    source = "def f(x):\n        if x:\n\t    return 1\n\treturn 2\nresult = f(0), f(1)"
    assert load(source)["result"] == (2, 1)


@pytest.mark.parametrize("text", ["'''a\n\tb'''", '"""\\\\\n\t\\"""\n"""', "'a\\\n\tb'"])
def test_tabs_in_a_string_of_several_lines_stay(monkeypatch, text):
    monkeypatch.setattr(syntax, "can_translate", lambda: False)
    source = f"def f(x):\n        # it's\n        if x:\n\t    return {text}\nresult = f(1)"
    assert load(source)["result"] == ast.literal_eval(text)


def test_broken_source_is_not_translated():
    assert syntax.translate("x = (\n") is None
    assert syntax.translate('print "x"\ny = (\n') is None


EXCEPT = "def f():\n    try:\n        {body}\n    except {caught}:\n        return {value}\n"


@pytest.mark.parametrize(
    ("before", "caught", "value"),
    [
        ("", "ZeroDivisionError, e", "str(e)"),
        ("", "(KeyError, ZeroDivisionError), e", "str(e)"),
        ("", "ArithmeticError, E", "str(E)"),
        ("e = None\n", "ZeroDivisionError, e", "str(e)"),
        ("def g(error): pass\n", "ZeroDivisionError, error", "str(error)"),
        ("from os import *\n", "ZeroDivisionError, why", "str(why)"),
        ("import sys\nself = sys\n", "ZeroDivisionError, self.why", "str(sys.why)"),
        ("found = {}\n", "ZeroDivisionError, found['why']", "str(found['why'])"),
        ("", "ZeroDivisionError, (why,)", "why"),
    ],
)
def test_an_old_except_is_translated_although_it_may_compile(before, caught, value):
    """From Python 3.14 on most of these are no error of syntax."""
    pytest.importorskip("fissix")
    source = before + EXCEPT.format(body="1 // 0", caught=caught, value=value)
    assert "division" in load(f"{source}result = f()")["result"]


def test_an_old_except_that_nothing_translates_is_told(monkeypatch):
    monkeypatch.setattr(syntax, "can_translate", lambda: False)
    source = EXCEPT.format(body="1 // 0", caught="ZeroDivisionError, e", value="e")
    with pytest.raises(loader.LoadError, match=r"parenthesized .*:4\); it looks like Python 2"):
        loader.load_source(source + FUNCTIONS, "/handlers/old_wsh.py")


@pytest.mark.skipif(sys.version_info < (3, 14), reason="an error of syntax there")
@pytest.mark.parametrize(
    ("before", "caught"),
    [
        ("", "KeyError, ZeroDivisionError"),
        ("", "ZeroDivisionError, KeyError"),
        ("", "KeyError, OSError, ZeroDivisionError"),
        ("from socket import error, timeout\n", "ZeroDivisionError, error"),
        ("import socket\n", "ZeroDivisionError, socket.error"),
        ("class stop(Exception): pass\n", "ZeroDivisionError, stop"),
        ("Failure = OSError\n", "ZeroDivisionError, Failure"),
        ("", "(ZeroDivisionError, KeyError)"),
    ],
)
def test_an_except_of_today_is_left_alone(before, caught, monkeypatch):
    monkeypatch.setattr(syntax, "translate", lambda _: pytest.fail("it was translated"))
    source = before + EXCEPT.format(body="1 // 0", caught=caught, value="'caught'")
    assert load(f"{source}result = f()")["result"] == "caught"


def test_the_line_of_an_old_except_is_found_behind_a_form_feed() -> None:
    source = "\x0c\ntry:\n    pass\nexcept A, b:\n    pass\n"
    error = source_tree._old_except(source, "x_wsh.py", ast.Name("b", lineno=4, col_offset=10))
    assert (error.lineno, error.text) == (4, "except A, b:")
