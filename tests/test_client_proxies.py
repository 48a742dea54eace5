"""Servers behind a proxy: CONNECT and SOCKS 5, by argument and environment."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

import fastwsh
from client_support import Peer, serving
from conftest import Server, StartServer, WriteHandler
from echo_handlers import ECHO
from forward_proxy import ForwardProxy, connect_proxy, socks_proxy
from tls_support import certificate
from wire import DEADLINE_SECONDS

SCHEMES = ["http", "socks5", "socks5h"]
VARIABLES = ["WS_PROXY", "WSS_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*VARIABLES, *map(str.lower, VARIABLES), "REQUEST_METHOD"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def echo(start_server: StartServer, write_handler: WriteHandler) -> Server:
    write_handler("echo", ECHO)
    return start_server("-w", "handlers")


@contextmanager
def running(
    scheme: str, credentials: tuple[str, str] | None = None, refuses_with: bytes | None = None
) -> Iterator[ForwardProxy]:
    kind = connect_proxy if scheme == "http" else socks_proxy
    with kind(credentials, refuses_with) as proxy:
        yield proxy


def echoes(url: str, **options: object) -> None:
    """Check that an echo answers."""
    with fastwsh.connect(url, **options) as client:
        client.send("hello")
        assert client.recv(DEADLINE_SECONDS) == "hello"


def sentence(url: str, **options: object) -> fastwsh.ConnectError:
    with pytest.raises(fastwsh.ConnectError) as caught:
        fastwsh.connect(url, **options)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize("scheme", SCHEMES)
def test_leads_to_the_server(echo: Server, scheme: str):
    with running(scheme) as proxy:
        echoes(echo.url("/echo"), proxy=proxy.url(scheme))
        assert proxy.asked == [f"127.0.0.1:{echo.port}"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_leads_to_the_server_in_an_event_loop(echo: Server, scheme: str):
    async def talk(proxy: str) -> None:
        async with fastwsh.connect(echo.url("/echo"), proxy=proxy) as client:
            await client.send("hello")
            assert await client.recv(DEADLINE_SECONDS) == "hello"

    with running(scheme) as proxy:
        asyncio.run(talk(proxy.url(scheme)))
        assert proxy.asked == [f"127.0.0.1:{echo.port}"]


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_the_proxy_looks_names_up(echo: Server, scheme: str):
    with running(scheme) as proxy:
        proxy.leads_to = ("127.0.0.1", echo.port)
        echoes("ws://server.invalid:81/echo", proxy=proxy.url(scheme))
        assert proxy.asked == ["server.invalid:81"]


def test_socks5_looks_names_up_here(echo: Server):
    with socks_proxy() as proxy:
        error = sentence("ws://server.invalid/", proxy=proxy.url("socks5"))
        assert "unknown host server.invalid" in str(error)
        assert proxy.asked == []
        echoes(f"ws://localhost:{echo.port}/echo", proxy=proxy.url("socks5"))
        assert proxy.asked[-1] in {f"127.0.0.1:{echo.port}", f"::1:{echo.port}"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_literal_ipv6_addresses(scheme: str, echo: Server):
    with running(scheme) as proxy:
        proxy.leads_to = ("127.0.0.1", echo.port)
        echoes("ws://[2001:db8::1]:81/echo", proxy=proxy.url(scheme))
        assert proxy.asked == ["2001:db8::1:81"]
        assert all(head.startswith("CONNECT [2001:db8::1]:81 ") for head in proxy.heads)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(
    ("credentials", "userinfo"),
    [
        (("me", "secret"), "me:secret@"),
        (("m@e", "sec:ret/ü"), "m%40e:sec:ret%2F%C3%BC@"),
    ],
)
def test_credentials(echo: Server, scheme: str, credentials: tuple[str, str], userinfo: str):
    with running(scheme, credentials) as proxy:
        echoes(echo.url("/echo"), proxy=proxy.url(scheme, userinfo))


@pytest.mark.parametrize(
    ("scheme", "userinfo", "says"),
    [
        ("http", "", "407 Proxy Authentication Required .* wants credentials"),
        ("http", "me:secret@", "407 .* does not accept"),
        ("socks5", "", "wants credentials: write socks5://"),
        ("socks5h", "me:secret@", "does not accept the credentials"),
    ],
)
def test_credentials_that_are_missing_or_wrong(echo: Server, scheme: str, userinfo: str, says: str):
    with running(scheme, ("me", "other")) as proxy:
        error = sentence(echo.url("/echo"), proxy=proxy.url(scheme, userinfo))
        assert isinstance(error, fastwsh.ConnectProxyError)
        assert error.status == (407 if scheme == "http" else None)
        assert f"the proxy 127.0.0.1:{proxy.port} " in str(error)
        with pytest.raises(fastwsh.ConnectProxyError, match=says):
            fastwsh.connect(echo.url("/echo"), proxy=proxy.url(scheme, userinfo))


@pytest.mark.parametrize("userinfo", ["", "me:secret@"])
def test_a_scheme_that_is_not_spoken_is_named(echo: Server, userinfo: str):
    head = b"HTTP/1.1 407 x\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n"
    with connect_proxy(refuses_with=head) as proxy:
        error = sentence(echo.url("/echo"), proxy=proxy.url("http", userinfo))
    assert "; it wants credentials by Negotiate or NTLM, and this client has Basic alone" in str(
        error
    )


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tls_is_between_client_and_server(
    scheme: str, tmp_path: Path, start_server: StartServer, write_handler: WriteHandler
):
    authority = trustme.CA()
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    write_handler("echo", ECHO)
    server = start_server("-w", "handlers", *certificate(authority, tmp_path, "localhost"))
    with running(scheme) as proxy:
        proxy.leads_to = ("127.0.0.1", server.port)
        echoes("wss://localhost:81/echo", proxy=proxy.url(scheme), ca_file=ca_file)
        error = sentence("wss://127.0.0.1/echo", proxy=proxy.url(scheme), ca_file=ca_file)
        assert "another name" in str(error)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("HTTPS_PROXY", "wss://server.invalid/echo"),
        ("https_proxy", "wss://server.invalid/echo"),
        ("HTTPS_PROXY", "ws://server.invalid/echo"),
        ("HTTP_PROXY", "ws://server.invalid/echo"),
        ("http_proxy", "ws://server.invalid/echo"),
        ("ALL_PROXY", "ws://server.invalid/echo"),
        ("all_proxy", "wss://server.invalid/echo"),
    ],
)
def test_the_environment_names_a_proxy(monkeypatch: pytest.MonkeyPatch, name: str, url: str):
    with connect_proxy(refuses_with=b"HTTP/1.1 502 Bad Gateway\r\n\r\n") as proxy:
        monkeypatch.setenv(name, proxy.url("http"))
        error = sentence(url)
        assert f"the proxy 127.0.0.1:{proxy.port} (of {name.upper()}) answered 502" in str(error)
        assert "unknown host" in str(sentence(url, proxy=None))
        assert "unknown host" in str(sentence(url, proxy=False))
        monkeypatch.setenv("NO_PROXY", "other, .invalid")
        assert "unknown host" in str(sentence(url))
        monkeypatch.setenv("no_proxy", "")
        assert "answered 502" in str(sentence(url))


def test_credentials_in_the_environment(echo: Server, monkeypatch: pytest.MonkeyPatch):
    with socks_proxy(("me", "secret")) as proxy:
        monkeypatch.setenv("all_proxy", proxy.url("socks5h", "me:secret@"))
        echoes(f"ws://localhost:{echo.port}/echo")
        assert proxy.asked == [f"localhost:{echo.port}"]


def test_bytes_in_the_environment_that_are_not_utf8(echo: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "\udcff, 127.0.0.1")
    echoes(echo.url("/echo"))
    monkeypatch.setenv("HTTP_PROXY", "http://\udcff:1")
    monkeypatch.delenv("NO_PROXY")
    with pytest.raises(fastwsh.ConnectError, match="the proxy"):
        fastwsh.connect(echo.url("/echo"))


def test_an_empty_variable_names_none(echo: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "")
    echoes(echo.url("/echo"))


def test_a_header_named_proxy_names_none(echo: Server, monkeypatch: pytest.MonkeyPatch):
    # What a CGI program has of its client (CVE-2016-5385).
    monkeypatch.setenv("REQUEST_METHOD", "GET")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    echoes(echo.url("/echo"))


def test_an_argument_is_stronger_than_the_environment(
    echo: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    with connect_proxy() as proxy:
        echoes(echo.url("/echo"), proxy=proxy.url("http"))
        assert len(proxy.asked) == 1


@pytest.mark.parametrize(
    ("proxy", "says"),
    [
        ("https://h:1", "cannot use the proxy: .* write http://"),
        ("ftp://me:secret@h", "must begin with http://, socks5://"),
        ("http://me:secret@", "no host"),
        ("h:port", "port must be a number"),
        ("socks5://me@h", "1 to 255 bytes"),
    ],
)
def test_proxies_that_make_no_sense(proxy: str, says: str, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(fastwsh.ConnectArgumentError, match=says) as caught:
        fastwsh.connect("ws://127.0.0.1:1/", proxy=proxy)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(fastwsh.ConnectArgumentError, match="cannot use the proxy of ALL_PROXY"):
        fastwsh.connect("ws://127.0.0.1:1/")


def test_arguments_of_another_type():
    with pytest.raises(TypeError, match="proxy is 3128; give a URL"):
        fastwsh.connect("ws://127.0.0.1:1/", proxy=3128)


def test_a_unix_socket_is_not_behind_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    url = f"ws+unix://{tmp_path}/none.sock"
    with pytest.raises(fastwsh.ConnectArgumentError, match="Unix socket is not behind a proxy"):
        fastwsh.connect(url, proxy="http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert "No such file" in str(sentence(url))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_proxy_that_does_not_run(scheme: str):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = sentence("ws://127.0.0.1:1/", proxy=f"{scheme}://127.0.0.1:{port}")
    assert f"cannot reach the proxy 127.0.0.1:{port}: 127.0.0.1:{port} refused" in str(error)
    assert isinstance(error, fastwsh.ConnectProxyError)
    error = sentence("ws://127.0.0.1:1/", proxy=f"{scheme}://nowhere.invalid")
    assert "cannot reach the proxy nowhere.invalid:" in str(error)
    assert "unknown host" in str(error)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_proxy_that_does_not_answer(scheme: str):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        proxy = f"{scheme}://127.0.0.1:{port}"
        error = sentence("ws://127.0.0.1:1/", proxy=proxy, open_timeout=0.2)
    assert isinstance(error, fastwsh.ConnectTimeoutError)
    assert f"the proxy 127.0.0.1:{port} did not lead to the server within 200ms" in str(error)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "answered 403 Forbidden to CONNECT h:1"),
        (b"HTTP/1.0 405 Method Not Allowed\r\n\r\n", "405 .* does not do CONNECT"),
        (b"HTTP/1.1 504 x\r\n\r\n", "504 Gateway Timeout .* cannot reach the server"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", "302 Found"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", "101"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "cannot be the server's"),
        (b"HTTP/1.1 200 OK\r\n", "does not answer CONNECT in HTTP"),
        (b"\x05\xff", "if it speaks SOCKS, write socks5://"),
        (b"nonsense\r\n\r\n", "does not answer CONNECT in HTTP"),
        (b"", "without an answer"),
        (b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70_000, "longer than 65536"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 4000, "longer than 65536"),
    ],
)
def test_what_an_http_proxy_refuses_with(answer: bytes, says: str):
    with connect_proxy(refuses_with=answer) as proxy:
        sentence("ws://h:1/", proxy=proxy.url("http"))
        with pytest.raises(fastwsh.ConnectProxyError, match=says):
            fastwsh.connect("ws://h:1/", proxy=proxy.url("http"))


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (1, "cannot reach h:1: it failed"),
        (2, "does not let this client reach h:1"),
        (3, "network is unreachable"),
        (4, "host is unreachable"),
        (5, "connection is refused"),
        (6, "took too long"),
        (7, "does not make connections"),
        (8, "no such kind of address"),
        (9, "cannot reach h:1: its reply is 9, which SOCKS 5 does not define"),
        (255, "cannot reach h:1: its reply is 255"),
    ],
)
def test_what_a_socks_proxy_refuses_with(reply: int, says: str):
    with socks_proxy(refuses_with=bytes([reply])) as proxy:
        sentence("ws://h:1/", proxy=proxy.url("socks5h"))
        with pytest.raises(fastwsh.ConnectProxyError, match=says):
            fastwsh.connect("ws://h:1/", proxy=proxy.url("socks5h"))


def test_a_reply_that_is_not_defined_after_credentials():
    with socks_proxy(("me", "secret"), refuses_with=b"\x63") as proxy:
        error = sentence("ws://h:1/", proxy=proxy.url("socks5h", "me:secret@"))
        assert "cannot reach h:1: its reply is 99" in str(error)


def test_a_socks_proxy_that_wants_other_credentials():
    def script(peer: Peer) -> None:
        assert peer.read(3) == b"\x05\x01\x00"
        # GSSAPI (RFC 1961)
        peer.send(b"\x05\x01")

    with serving(script) as url:
        error = sentence("ws://h:1/", proxy=url.replace("ws:", "socks5h:"))
    assert "wants credentials by method 1, which was not offered" in str(error)


def test_proxies_of_the_other_kind():
    with connect_proxy() as proxy:
        error = sentence("ws://h:1/", proxy=proxy.url("socks5h"), open_timeout=1)
        assert f"127.0.0.1:{proxy.port}" in str(error)
    with socks_proxy() as proxy:
        error = sentence("ws://h:1/", proxy=proxy.url("http"))
        assert f"127.0.0.1:{proxy.port}" in str(error)


def test_a_server_that_speaks_no_tls_behind_a_proxy(echo: Server):
    with connect_proxy() as proxy:
        url = echo.url("/echo", "wss")
        error = sentence(url, proxy=proxy.url("http"), verify=False)
        assert "does not speak TLS" in str(error) or "ended the connection" in str(error)
