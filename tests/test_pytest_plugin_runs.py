"""The pytest plugin beside others: processes side by side, and tests that are coroutines."""

import pytest

from pytest_plugin_support import run

__all__ = ["run"]


@pytest.fixture
def run_beside_others(pytester):
    """Run a test module as `run` does, but with all plugins that are installed."""

    def run(module, *args, ini=""):
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        pytester.makepyfile(module)
        return pytester.runpytest_subprocess("--strict-markers", *args)

    return run


CLIENT = """
import pytest
from websockets.asyncio.client import connect

@pytest.mark.{marker}
async def test_script(wsserver):
    wsserver.expect("hello").reply("world").expect_close(1000)
    async with connect(wsserver.url) as client:
        await client.send("hello")
        assert await client.recv() == "world"

@pytest.mark.{marker}
async def test_handler(wsserver):
    @wsserver.handler("/echo")
    def echo(connection):
        for message in connection:
            connection.send(message)

    async with connect(wsserver.url_for("/echo")) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        assert await wsserver.aio.wait_for_message("hello") == "hello"

@pytest.mark.{marker}
async def test_left_open(wsserver):
    wsserver.expect("hello")
    client = await connect(wsserver.url)
    await client.send("hello")
    await wsserver.aio.wait_for_message("hello")
    await wsserver.aio.stop()
    await client.wait_closed()
    assert client.close_code == 1001
"""


def test_asyncio_tests_use_it(run_beside_others):
    result = run_beside_others(
        CLIENT.format(marker="asyncio"), ini="asyncio_default_fixture_loop_scope = function\n"
    )
    result.assert_outcomes(passed=3)


def test_anyio_tests_use_it(run_beside_others):
    result = run_beside_others(
        CLIENT.format(marker="anyio")
        + "\n@pytest.fixture\ndef anyio_backend():\n    return 'asyncio'\n",
        *("-p", "no:asyncio"),
    )
    result.assert_outcomes(passed=3)


def test_processes_have_servers_of_their_own(run_beside_others):
    result = run_beside_others(
        """
import os
import pytest
from websockets.sync.client import connect

@pytest.fixture(scope="session")
def shared(make_wsserver):
    server = make_wsserver()
    server.handler("/")(lambda connection: connection.send(os.environ["PYTEST_XDIST_WORKER"]))
    return server

@pytest.mark.parametrize("number", range(12))
def test_it(wsserver, shared, number):
    wsserver.expect(str(number)).reply("world").expect_close()
    with connect(wsserver.url) as client:
        client.send(str(number))
        assert client.recv(20) == "world"
    with connect(shared.url) as client:
        assert client.recv(20) == os.environ["PYTEST_XDIST_WORKER"]
""",
        *("-p", "no:asyncio", "-n", "2"),
    )
    result.assert_outcomes(passed=12)


def test_unittest_tests_may_ask_for_it(run):
    result = run(
        """
import unittest
import pytest
from websockets.sync.client import connect

class TestIt(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _server(self, wsserver):
        self.server = wsserver

    def test_it(self):
        self.server.expect("hello").reply("world")
        with connect(self.server.url) as client:
            client.send("hello")
            self.assertEqual(client.recv(20), "world")
""",
    )
    result.assert_outcomes(passed=1)


UNITTEST = """
import asyncio
import unittest
import pytest
import fastwsh

class OfTests:
    @pytest.fixture(autouse=True)
    def _served(self, wsserver):
        self.server = wsserver

    def says(self, text):
        self.server.expect("hello").reply("world")
        with fastwsh.connect(self.server.url) as connection:
            connection.send(text)
            self.assertEqual(connection.recv(timeout=5), "world")

class TestThreads(OfTests, unittest.TestCase):
    def test_fails(self):
        self.says("hallo")

    def test_fails_before_it_connects(self):
        self.server.expect("hello")
        self.fail("on its own")

    def test_skips(self):
        try:
            self.says("hallo")
        except fastwsh.ConnectionClosed:
            self.skipTest("no world")

    @unittest.expectedFailure
    def test_is_expected(self):
        self.says("hallo")

class TestLoop(OfTests, unittest.IsolatedAsyncioTestCase):
    async def test_fails(self):
        await asyncio.to_thread(self.says, "hallo")
"""


def test_a_unittest_test_that_fails_says_what_the_server_has_found(run):
    result = run(UNITTEST)
    result.assert_outcomes(failed=4, xfailed=1)
    text = result.stdout.str()
    found = "script of /: step 1 of 2 expected 'hello', but got 'hallo'"
    assert text.count(f"CheckError: {found}") == 2
    assert text.count(f"\n{found}\n") == 1
    assert "no client came" not in text


DOCTEST = """
import fastwsh

def raises():
    '''
    >>> server = getfixture("wsserver").expect("hello").reply("world")
    >>> with fastwsh.connect(getfixture("wsserver").url) as connection:
    ...     connection.send("hallo")
    ...     connection.recv(timeout=5)
    'world'
    '''

def differs():
    '''
    >>> server = getfixture("wsserver").expect("hello").reply("world")
    >>> with fastwsh.connect(getfixture("wsserver").url) as connection:
    ...     connection.send("hallo")
    ...     list(connection)
    ['world']
    '''
"""


def test_a_doctest_that_fails_says_what_the_server_has_found(run):
    result = run(DOCTEST, "--doctest-modules")
    result.assert_outcomes(failed=2)
    found = "script of /: step 1 of 2 expected 'hello', but got 'hallo'"
    assert result.stdout.str().count(found) == 2


def test_steps_of_a_test_that_is_skipped_are_no_mistake(run):
    result = run(
        """
import pytest

@pytest.fixture
def nothing(wsserver):
    wsserver.expect("hello")
    pytest.skip("no client here")

def test_in_its_fixture(nothing):
    pass

def test_in_its_call(wsserver):
    wsserver.expect("hello")
    pytest.skip("no client here")
""",
    )
    result.assert_outcomes(skipped=2)


def test_test_that_is_run_again_is_checked_again(run, pytester):
    pytester.makeconftest("""
import pytest
from _pytest.runner import runtestprotocol

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item):
    runtestprotocol(item, log=False)
    item._initrequest()
    for report in runtestprotocol(item, log=False):
        item.ihook.pytest_runtest_logreport(report=report)
    return True
""")
    result = run(
        """
runs = []

def test_one(wsserver):
    wsserver.expect("hello")
    runs.append(1)
    assert len(runs) > 1
""",
    )
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines("*script of /: no client came*")
