"""The Autobahn test suite finds what `expected.toml` says, wherever handlers run.

A selection that takes a minute; `autobahn.py` itself plays every case.
"""

import re

import pytest

from conformance import autobahn

VERDICTS = {"FAILED", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"}
GROUPS = {str(group) for group in range(1, 14)} - {"8", "11"}
"""Those that the suite has."""


@pytest.fixture(scope="module")
def suite() -> autobahn.Suite:
    try:
        return autobahn.Suite()
    except autobahn.UnavailableError as error:
        pytest.skip(str(error))


# Installing the suite, once, is part of it.
@pytest.mark.timeout(600)
@pytest.mark.parametrize("concurrency", autobahn.CONCURRENCIES)
def test_finds_what_is_expected(concurrency: str, suite: autobahn.Suite) -> None:
    cases = suite.cases(autobahn.QUICK)
    with autobahn.serving(concurrency) as url:
        verdicts = suite.run(url, cases, timeout=500)
    assert autobahn.differences(verdicts) == []
    assert {case.split(".")[0] for case in verdicts} == GROUPS


# Small cases, long and fragmented messages, closes, and compression.
THROUGH_HAPROXY = (
    "1",
    "2",
    "3",
    "4",
    "5",
    "6.4",
    "7",
    "9.1.2",
    "9.2.2",
    "9.5.1",
    "12.1.1",
    "13.1.11",
)


@pytest.mark.timeout(600)
def test_finds_the_same_over_http2(suite: autobahn.Suite) -> None:
    cases = suite.cases(THROUGH_HAPROXY)
    try:
        with autobahn.over_http2("hub") as url:
            verdicts = suite.run(url, cases, timeout=500)
    except autobahn.UnavailableError as error:
        pytest.skip(str(error))
    assert autobahn.differences(verdicts) == []


@pytest.mark.parametrize("server", ["fastwsh", "pywebsocket3"])
def test_the_data_name_cases_of_the_suite_once(server: str) -> None:
    table = autobahn.load()[server]
    cases = [case for listed in table.values() for case in listed]
    assert set(table) <= VERDICTS
    assert len(cases) == len(set(cases))
    for case in cases:
        assert re.fullmatch(r"\d+(\.\d+){1,2}", case)
        assert case.split(".")[0] in GROUPS


@pytest.mark.timeout(600)
def test_every_case_with_an_expectation_exists(suite: autobahn.Suite) -> None:
    known = {case for verdicts in autobahn.expected().values() for case in verdicts}
    assert known <= set(suite.cases())


def test_nothing_worse_than_informational_is_expected_of_fastwsh() -> None:
    assert set(autobahn.expected()["fastwsh"].values()) <= {"INFORMATIONAL"}


def test_fastwsh_is_nowhere_worse_than_pywebsocket3() -> None:
    ours, theirs = autobahn.expected()["fastwsh"], autobahn.expected()["pywebsocket3"]
    assert ours.items() <= theirs.items()


def test_a_connection_that_ends_badly_is_a_failed_case() -> None:
    assert autobahn.verdict({"behavior": "OK", "behaviorClose": "WRONG CODE"}) == "FAILED"
    assert autobahn.verdict({"behavior": "NON-STRICT", "behaviorClose": "OK"}) == "NON-STRICT"
    assert autobahn.verdict(None) == "FAILED"


def test_a_verdict_other_than_the_expected_one_is_told() -> None:
    assert autobahn.differences({"1.1.1": "OK", "7.1.6": "INFORMATIONAL"}) == []
    assert autobahn.differences({"1.1.1": "NON-STRICT", "7.1.6": "OK"}) == [
        "1.1.1: NON-STRICT, expected OK",
        "7.1.6: OK, expected INFORMATIONAL",
    ]
