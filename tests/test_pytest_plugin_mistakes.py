"""Markers and fixtures of the pytest plugin that say what cannot be: one sentence each."""

import pytest

from pytest_plugin_support import run

__all__ = ["run"]


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ("max_mesage_bytes=1", "'max_mesage_bytes' is no option*did you mean max_message_bytes?"),
        ("max_message_bytes='x'", "max_message_bytes='x': 'x' is not a whole number (0 or more)*"),
        ("handlers='nowhere'", "nowhere' is neither a folder nor a handler file*"),
        ("'handlers'", "the marker wsserver takes keywords only: wsserver(handlers='handlers')"),
        ("handlers=5", "handlers=[[]5[]]; give the path of a folder or file, or several"),
        ("handlers=['handlers', 5]", "give the path of a folder or file, or several"),
        ("tls=True", "the marker wsserver takes no tls=; use the fixture wss_server*"),
        ("http3=True", "http3 needs TLS and a port; use wss_server, or give tls=make_tls_files*"),
        ("replay=5", "the marker wsserver has replay=5; give the path of a HAR file, or True"),
        ("replay=True, url=5", "the marker wsserver has url=5; give a str"),
    ],
)
def test_what_the_marker_cannot_say_is_named(run, marker, text):
    result = run(f"""
@pytest.mark.wsserver({marker})
def test_it(wsserver):
    pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{text}"])
    result.stdout.no_fnmatch_line("*.py:[0-9]*")


@pytest.mark.parametrize("address", ["'127.0.0.1'", "('127.0.0.1', 0, 1)", "None"])
def test_an_address_that_is_none_is_refused_with_the_remedy(run, address):
    result = run(f"""
@pytest.fixture(scope="session")
def wsserver_listen_address():
    return {address}

def test_it(wsserver):
    pass
""")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["wsserver: the fixture wsserver_listen_address returns *; return a host*"]
    )


def test_an_empty_host_is_every_address(run):
    result = run("""
@pytest.fixture(scope="session")
def wsserver_listen_address():
    return "", 0

def test_it(wsserver):
    wsserver.reply("hello")
    with connect(wsserver.url) as client:
        assert client.recv() == "hello"

def test_tls(wss_server):
    wss_server.reply("hello")
    with connect(wss_server.url, ssl=wss_server.client_ssl_context()) as client:
        assert client.recv() == "hello"
""")
    result.assert_outcomes(passed=2)
