"""Certificates of clients: `--tls-client-auth`, `--tls-client-cert-optional`, `--tls-client-ca`."""

import ssl

import pytest
import trustme

from conftest import Server, StartServer
from tls_servers import HANDLERS, KEY_AND_CERTIFICATE, assert_echoes, files, raw, websocket
from tls_support import authority, trusting

__all__ = ["authority", "files"]


class TestClientCertificates:
    REQUIRED = (*KEY_AND_CERTIFICATE, "--tls-client-auth", "--tls-client-ca", "ca.pem")
    OPTIONAL = (*REQUIRED, "--tls-client-cert-optional")

    @pytest.fixture
    def with_certificate(self, authority: trustme.CA) -> ssl.SSLContext:
        context = trusting(authority)
        authority.issue_cert("client@example.org").configure_cert(context)
        return context

    @pytest.fixture
    def with_foreign_certificate(self, authority: trustme.CA) -> ssl.SSLContext:
        context = trusting(authority)
        trustme.CA().issue_cert("client@example.org").configure_cert(context)
        return context

    @pytest.mark.parametrize("args", [REQUIRED, OPTIONAL])
    def test_good_one_is_let_in(
        self, start_server: StartServer, args: tuple[str, ...], with_certificate: ssl.SSLContext
    ):
        server = start_server(*HANDLERS, *args)
        with websocket(server, with_certificate) as connection:
            assert_echoes(connection)

    @pytest.mark.parametrize("args", [REQUIRED, OPTIONAL])
    def test_foreign_one_is_refused(
        self,
        start_server: StartServer,
        args: tuple[str, ...],
        with_foreign_certificate: ssl.SSLContext,
    ):
        server = start_server(*HANDLERS, *args)
        assert_refused(server, with_foreign_certificate)

    def test_none_is_let_in_if_optional(self, start_server: StartServer, authority: trustme.CA):
        server = start_server(*HANDLERS, *self.OPTIONAL)
        with websocket(server, trusting(authority)) as connection:
            assert_echoes(connection)

    def test_none_is_refused_if_required(self, start_server: StartServer, authority: trustme.CA):
        server = start_server(*HANDLERS, *self.REQUIRED)
        assert_refused(server, trusting(authority))


def assert_refused(server: Server, context: ssl.SSLContext) -> None:
    """TLS ends with an alert; with TLS 1.3 the client only sees it when it reads."""

    def ask() -> None:
        with raw(server, context) as client:
            client.send_request("/echo")
            client.read_response()

    with pytest.raises(ssl.SSLError, match="alert"):
        ask()
