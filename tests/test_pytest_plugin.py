"""The pytest plugin: fixtures, marker, ini setting, and which test fails for what."""

import subprocess
import sys

import pytest

PREAMBLE = """
import pytest
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

def say(server, message, path="/"):
    with connect(server.url_for(path)) as client:
        client.send(message)
        return client.recv(20)
"""

ECHO = """
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    for message in iter(request.ws_stream.receive_message, None):
        request.ws_stream.send_message(message)
"""


@pytest.fixture
def run(pytester):
    """Run a test module in a pytest of its own, in which warnings are errors."""

    def run(module, *args, ini=""):
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        pytester.makepyfile(PREAMBLE + module)
        return pytester.runpytest_subprocess("-p", "no:asyncio", "--strict-markers", *args)

    return run


def failures(result):
    """Count the tests that failed: at once, or when their server had stopped."""
    outcomes = result.parseoutcomes()
    return outcomes.get("failed", 0) + outcomes.get("errors", 0)


def test_the_fixture_serves_what_the_test_says(run):
    result = run("""
def test_function(wsserver):
    @wsserver.handler("/upper")
    def upper(connection):
        for message in connection:
            connection.send(message.upper())

    assert say(wsserver, "hello", "/upper") == "HELLO"
    assert wsserver.received == ["hello"]

def test_script(wsserver):
    wsserver.expect("hello").reply("world")
    assert say(wsserver, "hello") == "world"

def test_is_new_for_each_test(wsserver):
    assert wsserver.received == []
    with pytest.raises(InvalidStatus, match="404"):
        connect(wsserver.url)
""")
    result.assert_outcomes(passed=3)


def test_an_error_in_a_handler_fails_its_test(run):
    result = run("""
def test_wrong(wsserver):
    @wsserver.handler("/")
    def wrong(connection):
        assert connection.recv() == "hello"

    with connect(wsserver.url) as client:
        client.send("hallo")
        with pytest.raises(ConnectionClosed):
            client.recv(20)

def test_right(wsserver):
    pass
""")
    assert failures(result) == 1
    result.stdout.fnmatch_lines_random(
        [
            "*the handler of / raised AssertionError: assert 'hallo' == 'hello'",
            '*assert connection.recv() == "hello"',
        ]
    )
    result.stdout.no_fnmatch_line("*test_right*")


def test_a_script_that_was_not_played_fails_its_test(run):
    result = run("""
def test_wrong(wsserver):
    wsserver.expect("hello").reply("world").expect("bye")
    assert say(wsserver, "hello") == "world"

def test_nobody(wsserver):
    wsserver.expect("hello")
""")
    assert failures(result) == 2
    bye = "*script of /: step 3 of 3 expected 'bye', but the connection of / is over: *"
    nobody = "*script of /: no client came; step 1 of 1 is: expect 'hello'"
    result.stdout.fnmatch_lines_random([bye, nobody])


def test_errors_may_be_expected(run):
    result = run("""
def test_wrong(wsserver):
    @wsserver.handler("/")
    def wrong(connection):
        raise LookupError("no")

    with connect(wsserver.url) as client, pytest.raises(ConnectionClosed):
        client.recv(20)
    wsserver.stop()
    assert [str(error.exception) for error in wsserver.take_errors()] != []
""")
    result.assert_outcomes(passed=1)


def test_the_marker_names_handlers_and_options(run, pytester):
    pytester.makepyfile(**{"first/echo_wsh": ECHO, "second/other_wsh": ECHO})
    result = run("""
pytestmark = pytest.mark.wsserver(handlers="first", max_message_bytes=10)

def test_of_the_module(wsserver):
    assert say(wsserver, "hello", "/echo") == "hello"
    with pytest.raises(ConnectionClosed, match="1009"):
        say(wsserver, "longer than 10", "/echo")

@pytest.mark.wsserver(handlers=["first/echo_wsh.py", "second"])
def test_of_its_own(wsserver):
    assert say(wsserver, "hello", "/other") == "hello"
    with pytest.raises(ConnectionClosed, match="1009"):
        say(wsserver, "longer than 10", "/echo")
""")
    result.assert_outcomes(passed=2)


def test_the_ini_setting_names_handlers(run, pytester):
    pytester.makepyfile(**{"handlers/echo_wsh": ECHO})
    result = run(
        """
def test_it(wsserver):
    assert say(wsserver, "hello", "/echo") == "hello"
""",
        ini="fastwsh_handlers = handlers\n",
    )
    result.assert_outcomes(passed=1)


def test_servers_of_the_session_live_on(run):
    result = run("""
@pytest.fixture(scope="session")
def shared(make_wsserver):
    server = make_wsserver(max_message_bytes=100)
    @server.handler("/")
    def echo(connection):
        for message in connection:
            if message == "wrong":
                raise LookupError("wrong")
            connection.send(message)
    return server

ports = set()

def test_one(shared):
    ports.add(shared.port)
    assert say(shared, "1") == "1"

def test_two(shared):
    ports.add(shared.port)
    with pytest.raises(ConnectionClosed):
        say(shared, "wrong")
    shared.wait_for_connection(2)
    while not shared._recorder.errors:
        pass

def test_three(shared, make_wsserver):
    assert say(shared, "3") == "3"
    assert ports == {shared.port}
    assert make_wsserver().port != shared.port
    assert shared.received == ["1", "wrong", "3"]
""")
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(["*_ test_two _*", "*the handler of / raised LookupError: wrong"])


def test_the_address_can_be_chosen(run):
    result = run("""
import socket

@pytest.fixture(scope="session")
def wsserver_listen_address():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return "localhost", probe.getsockname()[1]

def test_it(wsserver, wsserver_listen_address):
    assert wsserver.url == f"ws://localhost:{wsserver_listen_address[1]}/"
    wsserver.reject(410)
    with pytest.raises(InvalidStatus, match="410"):
        connect(wsserver.url)
""")
    result.assert_outcomes(passed=1)


TLS = """
import ssl

def test_tls(wss_server):
    wss_server.expect("hello").reply("world")
    assert wss_server.url.startswith("wss://")
    with connect(wss_server.url, ssl=wss_server.client_ssl_context()) as client:
        client.send("hello")
        assert client.recv(20) == "world"
    with pytest.raises(ssl.SSLError):
        connect(wss_server.url, ssl=ssl.create_default_context())
    assert ssl.create_default_context(cafile=wss_server.ca_file).cert_store_stats()["x509_ca"] >= 1
"""


def test_the_certificate_is_made_for_the_session(run):
    run(TLS).assert_outcomes(passed=1)


def test_the_certificate_can_be_chosen(run):
    result = run(
        """
@pytest.fixture(scope="session")
def wsserver_ssl_context(tmp_path_factory):
    from fastwsh.testing import TlsFiles, make_tls_files
    made = make_tls_files(tmp_path_factory.mktemp("own"), "127.0.0.1")
    return TlsFiles(made.certificate, made.private_key, authority=made.authority)
"""
        + TLS
    )
    result.assert_outcomes(passed=1)


def test_a_context_of_python_is_refused_with_the_remedy(run):
    result = run(
        """
@pytest.fixture
def wsserver_ssl_context():
    return ssl.create_default_context()
"""
        + TLS
    )
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*wsserver_ssl_context returns SSLContext, which the server cannot use*TlsFiles*"]
    )


def test_without_trustme_the_test_is_skipped(run):
    result = run(
        """
import sys
sys.modules["trustme"] = None
"""
        + TLS,
        "-rs",
    )
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*wss_server needs trustme*TlsFiles*"])


def test_a_server_without_tls_has_no_certificate(run):
    result = run("""
def test_it(wsserver):
    with pytest.raises(ValueError, match="use the fixture wss_server"):
        wsserver.ca_file
""")
    result.assert_outcomes(passed=1)


def test_fixtures_and_marker_are_described(pytester):
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "--fixtures", "--markers")
    named = "handlers=None, replay=None, url=None, [*][*]options"
    result.stdout.fnmatch_lines([f"@pytest.mark.wsserver({named}): *"])
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "--fixtures")
    for name in (
        "wsserver ",
        "make_wsserver ",
        "wss_server ",
        "wsserver_listen_address ",
        "wsserver_recording ",
    ):
        result.stdout.fnmatch_lines([f"{name}*"])


def test_the_plugin_imports_nothing_before_it_is_used():
    script = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import fastwsh.pytest_plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    ours = ["pytest_inspector", "pytest_plugin", "pytest_recordings"]
    assert done.stdout.split() == ["fastwsh", *(f"fastwsh.{name}" for name in ours)]


def test_servers_of_the_session_listen_where_they_are_told(run):
    result = run("""
import socket
import tempfile
import fastwsh

def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]

def test_it(make_wsserver):
    port = free_port()
    assert make_wsserver(port=port).port == port
    assert make_wsserver(host="localhost").url.startswith("ws://localhost:")
    # pytest's own folders have longer names than a socket may have
    server = make_wsserver(uds=tempfile.mkdtemp() + "/s")
    server.reply("hello")
    with fastwsh.connect(server.url) as client:
        assert client.recv(timeout=20) == "hello"

@pytest.mark.wsserver(port=0, host="localhost")
def test_marker(wsserver):
    assert wsserver.host == "localhost"

@pytest.mark.wsserver(port="x")
def test_wrong(wsserver):
    pass
""")
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["wsserver: port='x'; give a number*"])


def reports(result):
    """Return how often a report begins."""
    return sum(line.startswith("____") for line in result.outlines)


def test_a_mistake_of_the_client_is_one_report_with_the_cause_first(run):
    result = run("""
def test_it(wsserver):
    wsserver.expect("hello").reply("world").expect("bye")
    assert say(wsserver, "hallo") == "world"
""")
    result.assert_outcomes(failed=1)
    assert reports(result) == 1
    out = result.stdout.str()
    cause = "script of /: step 1 of 3 expected 'hello', but got 'hallo'"
    assert out.count(cause) == 1
    assert out.index(cause) < out.index("assert say(wsserver")
    assert "is still to come" not in out
    for file in ("pytest_plugin.py", "server_life.py", "testing/"):
        assert file not in out


def test_a_mistake_that_an_assertion_meets_is_noted_there_as_well(run):
    result = run("""
def test_it(wsserver):
    wsserver.expect("hello")
    with connect(wsserver.url) as client:
        client.send("hallo")
        got = list(client) if False else wsserver.wait_for_message("hallo")
        with pytest.raises(ConnectionClosed):
            client.recv(20)
    assert got == "hello"
""")
    result.assert_outcomes(failed=1)
    assert reports(result) == 1
    lines = [
        "*script of /: step 1 of 1 expected 'hello', but got 'hallo'",
        "*assert 'hallo' == 'hello'",
        "*The test server has found: script of /: step 1 of 1 expected 'hello', *",
    ]
    result.stdout.fnmatch_lines(lines)


def test_a_body_that_fails_on_its_own_is_the_only_report(run):
    result = run("""
def test_nobody(wsserver):
    wsserver.expect("hello").reply("world")
    assert 1 == 2

def test_explicit(wsserver):
    wsserver.expect("hello")
    pytest.fail("on its own")

def test_skipped(wsserver):
    pytest.skip("not today")
""")
    result.assert_outcomes(failed=2, skipped=1)
    result.stdout.no_fnmatch_line("*no client came*")
    assert reports(result) == 2


def test_a_script_that_is_left_is_told_without_the_source_of_the_fixture(run):
    result = run("""
def test_it(wsserver):
    wsserver.expect("hello")
""")
    result.assert_outcomes(passed=1, errors=1)
    out = result.stdout.str()
    assert "script of /: no client came; step 1 of 1 is: expect 'hello'" in out
    assert "def " not in out
    assert "Traceback" not in out


def test_a_failure_by_name_is_told_behind_the_cause(run):
    result = run("""
def test_it(wsserver):
    wsserver.expect("hello")
    with connect(wsserver.url) as client:
        client.send("hallo")
        try:
            client.recv(20)
        except ConnectionClosed:
            pytest.fail("the client was sent away")
""")
    result.assert_outcomes(failed=1)
    assert reports(result) == 1
    out = result.stdout.str()
    assert out.index("but got 'hallo'") < out.rindex("the client was sent away")
