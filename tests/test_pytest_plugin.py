"""The pytest plugin: fixtures, marker, ini setting, and which test fails for what."""

import subprocess
import sys

from echo_handlers import ECHO_MODULE
from pytest_plugin_support import failures, run

__all__ = ["run"]


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
    pytester.makepyfile(**{"first/echo_wsh": ECHO_MODULE, "second/other_wsh": ECHO_MODULE})
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
    pytester.makepyfile(**{"handlers/echo_wsh": ECHO_MODULE})
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


def test_the_marker_is_described_among_all_plugins_that_are_installed(pytester):
    result = pytester.runpytest_subprocess("-p", "no:asyncio", "--markers")
    named = "handlers=None, replay=None, url=None, [*][*]options"
    result.stdout.fnmatch_lines([f"@pytest.mark.wsserver({named}): *"])


def test_fixtures_are_described(run):
    result = run("", "--fixtures")
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
