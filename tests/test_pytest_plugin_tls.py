"""`wss_server`: the certificate of the session, one of the user's own, and none."""

from pytest_plugin_support import run

__all__ = ["run"]

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
