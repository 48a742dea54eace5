"""`@pytest.mark.wsserver(replay=..., url=...)` and `--fastwsh-record`."""

import re

import pytest

# Each run of pytest in this process forgets what it was first to import; cryptography cannot be
# loaded again.
import trustme  # noqa: F401

from fastwsh.testing import har, running_server
from record_support import entries_of

MODULE = """
import fastwsh
import pytest

def ask(server, *texts):
    with fastwsh.connect(server.url, headers={"X-Key": "s3cret"}) as connection:
        got = []
        for text in texts:
            connection.send(text)
            got.append(connection.recv(20))
        return got
"""


@pytest.fixture
def real():
    """The real server, which counts."""
    with running_server() as server:

        @server.handler("/feed")
        def feed(connection):
            for message in connection:
                connection.send(f"{message} {len(server.connections)}")

        yield server


@pytest.fixture
def run(pytester, real):
    def run(tests, *args, ini=""):
        pytester.makeini(f"[pytest]\nfilterwarnings = error\n{ini}")
        text = (MODULE + tests).replace("REAL", real.url_for("/feed"))
        pytester.makepyfile(test_client=text)
        return pytester.runpytest_inprocess("-p", "no:asyncio", "--strict-markers", *args)

    return run


TEST = """
@pytest.mark.wsserver(replay="feed.har", url="REAL")
def test_feed(wsserver):
    assert ask(wsserver, "a")[0].startswith("a ")
"""


def test_the_first_run_records_and_later_ones_replay(run, real, pytester):
    for _ in range(3):
        run(TEST, "--fastwsh-record=once").assert_outcomes(passed=1)
    run(TEST).assert_outcomes(passed=1)
    run(TEST, "--fastwsh-record=none").assert_outcomes(passed=1)
    assert len(real.connections) == 1
    messages = har.read(pytester.path / "feed.har")[0].messages
    assert [one.data for one in messages][:2] == ["a", "a 1"]
    assert sorted(path.name for path in pytester.path.glob("*.har*")) == ["feed.har"]


def test_all_records_anew(run, real, pytester):
    for _ in range(2):
        run(TEST, "--fastwsh-record=all").assert_outcomes(passed=1)
    assert len(real.connections) == 2
    (conversation,) = har.read(pytester.path / "feed.har")
    assert conversation.messages[1].data == "a 2"


def test_without_a_recording_the_test_says_how_to_make_one(run, real):
    result = run(TEST)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["wsserver: there is no recording *feed.har; make it with pytest --fastwsh-record=once"]
    )
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")
    assert real.attempts == 0


def test_a_test_that_fails_leaves_the_recording_as_it_was(run, pytester):
    bad = TEST + '    assert "first" == "run"\n'
    run(bad, "--fastwsh-record=once").assert_outcomes(failed=1)
    assert not (pytester.path / "feed.har").exists()
    run(TEST, "--fastwsh-record=once").assert_outcomes(passed=1)
    before = entries_of(pytester.path / "feed.har")
    run(bad, "--fastwsh-record=all").assert_outcomes(failed=1)
    assert entries_of(pytester.path / "feed.har") == before
    assert sorted(path.name for path in pytester.path.glob("*.har*")) == ["feed.har"]


def test_a_client_that_strays_from_the_recording_fails(run):
    run(TEST, "--fastwsh-record=once").assert_outcomes(passed=1)
    result = run(TEST.replace('"a")', '"b")'))
    assert sum(result.parseoutcomes().get(key, 0) for key in ("failed", "errors")) >= 1
    result.stdout.fnmatch_lines(["*replay of *feed.har: connection 1 of 1 (/feed), step 1 of *"])


def test_a_recording_has_a_place_of_its_own_if_none_is_named(run, pytester):
    tests = """
LONG = [pytest.param("d", id="d" * length) for length in (300, 301)]

@pytest.mark.wsserver(replay=True, url="REAL")
@pytest.mark.parametrize("text", ["a", "b/c", "b-c", "b c", *LONG])
def test_feed(wsserver, text):
    assert ask(wsserver, text)[0].startswith(text)

@pytest.mark.wsserver(replay=True, url="REAL")
class TestFeed:
    def test_feed(self, wsserver):
        assert ask(wsserver, "c")[0].startswith("c")

    class TestAgain:
        def test_feed(self, wsserver):
            assert ask(wsserver, "d")[0].startswith("d")
"""
    run(tests, "--fastwsh-record=once").assert_outcomes(passed=8)
    run(tests).assert_outcomes(passed=8)
    folder = pytester.path / "cassettes" / "test_client"
    names = sorted(path.name for path in folder.iterdir())
    assert names[:3] == [
        "TestFeed.TestAgain.test_feed.har",
        "TestFeed.test_feed.har",
        "test_feed[a].har",
    ]
    # what could not stand in a file's name is not all that makes the difference
    assert "test_feed[b-c].har" in names
    assert len([name for name in names if re.match(r"test_feed\[b-c\]-\w{8}\.har$", name)]) == 2
    assert len([name for name in names if re.match(r"test_feed\[d{190}-\w{8}\.har$", name)]) == 2


def test_the_marker_takes_the_arguments_of_replay(run):
    tests = """
@pytest.mark.wsserver(replay="feed.har", url="REAL", ignore=["id"], strict=False, speed=0)
def test_feed(wsserver):
    import os
    ask(wsserver, '{"id": %d}' % os.getpid())
"""
    run(tests, "--fastwsh-record=once").assert_outcomes(passed=1)
    run(tests).assert_outcomes(passed=1)


def test_a_fixture_says_how_to_record(run, pytester):
    tests = (
        """
@pytest.fixture(scope="session")
def wsserver_recording():
    return {"redact_headers": ["X-Key"], "headers": {"X-More": "1"}}
"""
        + TEST
    )
    run(tests, "--fastwsh-record=once").assert_outcomes(passed=1)
    text = (pytester.path / "feed.har").read_text()
    assert "s3cret" not in text
    assert "X-More" in text


def test_tls_on_our_side_is_no_matter_of_the_recording(run):
    pytest.importorskip("trustme")
    tests = """
@pytest.mark.wsserver(replay="feed.har", url="REAL")
def test_feed(wss_server):
    with fastwsh.connect(wss_server.url, ca_file=wss_server.ca_file) as connection:
        connection.send("a")
        assert connection.recv(20).startswith("a ")
"""
    run(tests, "--fastwsh-record=once").assert_outcomes(passed=1)
    run(tests).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("marker", "options", "text"),
    [
        ('replay="feed.har"', ["--fastwsh-record=once"], "*give the marker wsserver the url= of*"),
        ('replay="feed.har", url="http://a"', ["--fastwsh-record=all"], "*cannot record*http://a*"),
        ('url="REAL"', [], "*the marker wsserver has url= without replay=*"),
        ("strict=False", [], "*the marker wsserver has strict= without replay=*"),
        ('replay="other.har"', [], "*cannot replay: *other.har is no HAR file*"),
        ('replay="empty.har"', [], "*has no WebSocket connection to replay*"),
        ('replay="empty.har", match="fuzzy"', [], "*cannot replay: match='fuzzy'*"),
        (
            'replay="feed.har", url="ws://127.0.0.1:1/"',
            ["--fastwsh-record=once"],
            "*ws://127.0.0.1:1/ cannot be recorded: 127.0.0.1:1 refused the connection*",
        ),
    ],
)
def test_what_cannot_be_is_told(run, pytester, marker, options, text):
    (pytester.path / "other.har").write_text("other")
    (pytester.path / "empty.har").write_text('{"log": {"entries": []}}')
    tests = f"""
@pytest.mark.wsserver({marker})
def test_feed(wsserver):
    try:
        ask(wsserver, "a")
    except fastwsh.ConnectError:
        pass
"""
    result = run(tests, *options)
    assert result.ret != 0
    result.stdout.fnmatch_lines([text])
    assert not (pytester.path / "feed.har").exists()


def test_another_mode_is_refused(run):
    result = run(TEST, "--fastwsh-record=often")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
