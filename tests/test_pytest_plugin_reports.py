"""A mistake of a client is one report of its test, with the cause first."""

from pytest_plugin_support import reports, run

__all__ = ["run"]


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
