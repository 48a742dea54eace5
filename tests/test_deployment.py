"""The configurations of docs/deployment.md: Debian's web servers with fastwsh behind."""

import json
import os
import re
import runpy
import select
import signal
import ssl
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import trustme

import docs_markdown as markdown
import proxy_support as support
from conftest import DEFAULT_CONCURRENCY, Server, starting_servers
from fastwsh.options import parse_args_and_config
from metrics_support import metrics_port
from proxy_support import CLIENT_ADDRESS, HOST, SITES, THAT_CUT, Proxy, Site, connected, request
from tls_support import authority, trusting
from wire import BINARY, CLOSE, PING, PONG, TEXT, Client, Frame

__all__ = ["authority"]

# A path that a proxy could write otherwise: %61 is an "a".
FACTS = "/deep/f%61cts"

HANDLERS = {
    "echo": """\
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    while (message := request.ws_stream.receive_message()) is not None:
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))
    print("closed with", request.ws_close_code, request.ws_close_reason, flush=True)
""",
    "close": """\
def web_socket_do_extra_handshake(request):
    pass

def web_socket_transfer_data(request):
    request.ws_stream.close_connection(4002, "enough")
""",
    "refuse": """\
def web_socket_do_extra_handshake(request):
    raise ValueError("not today")

def web_socket_transfer_data(request):
    pass
""",
    FACTS.removeprefix("/"): """\
import json
import os

def web_socket_do_extra_handshake(request):
    request.ws_protocol = (request.ws_requested_protocols or [None])[0]

def web_socket_transfer_data(request):
    request.ws_stream.send_message(json.dumps({
        "resource": request.unparsed_uri,
        "host": request.headers_in["Host"],
        "origin": request.ws_origin,
        "forwarded": request.headers_in.get_all("X-Forwarded-For"),
        "peer": request.connection.remote_addr,
        "process": os.getpid(),
    }))
""",
}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """What is served. Everybody may enter it: workers of a proxy have users of their own."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for handler, code in HANDLERS.items():
            path = root / "handlers" / f"{handler}_wsh.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, encoding="utf-8")
        (root / "www").mkdir()
        (root / "www" / "page.txt").write_text("a page", encoding="utf-8")
        yield root


@pytest.fixture(scope="module")
def context(authority: trustme.CA) -> ssl.SSLContext:
    """What a client needs to trust the site."""
    return trusting(authority)


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    """The certificate of the site."""
    return authority.issue_cert(HOST)


def open_folder(parent: Path) -> Path:
    """Make a folder for a proxy, which everybody may enter as well."""
    folder = Path(tempfile.mkdtemp(dir=parent))
    folder.chmod(0o755)
    return folder


@pytest.fixture(scope="module", params=SITES, ids=lambda site: site.name)
def site(request: pytest.FixtureRequest) -> Site:
    """Each configuration in front of each server that it is for."""
    assert isinstance(request.param, Site)
    return request.param


@pytest.fixture(scope="module")
def server(site: Site, folder: Path) -> Iterator[Server]:
    """The server behind it."""
    with starting_servers(folder, DEFAULT_CONCURRENCY) as start:
        yield support.start_behind(start, site.server, folder)


@pytest.fixture(scope="module")
def proxy(
    site: Site, server: Server, folder: Path, certificate: trustme.LeafCert
) -> Iterator[Proxy]:
    """The site, which runs."""
    proxy = Proxy(site, open_folder(folder), server.port or folder / "fastwsh.sock", certificate)
    proxy.check()
    with support.running(proxy):
        yield proxy


@pytest.fixture
def client(proxy: Proxy, context: ssl.SSLContext) -> Iterator[Client]:
    """A TLS connection to the site."""
    with connected(proxy, context) as client:
        yield client


def opened(client: Client, path: str = "/echo", **headers: str) -> Client:
    response = request(client, path, **headers)
    assert response.status == 101, response
    return client


class TestSite:
    @pytest.mark.parametrize(
        "message",
        [Frame(TEXT, "schön".encode()), Frame(BINARY, bytes(range(256)) * 4096)],
        ids=["text", "1 MiB"],
    )
    def test_messages_pass(self, client: Client, message: Frame):
        opened(client).send_frame(message.opcode, message.payload)
        assert client.read_frame() == message

    def test_compression_is_agreed_end_to_end(self, client: Client):
        offer = "permessage-deflate; client_max_window_bits"
        response = request(client, "/echo", Sec_WebSocket_Extensions=offer)
        assert response.status == 101
        assert "permessage-deflate" in (response.header("Sec-WebSocket-Extensions") or "")
        compressor = zlib.compressobj(wbits=-15)
        data = compressor.compress(b"hello " * 100) + compressor.flush(zlib.Z_SYNC_FLUSH)
        client.send_frame(TEXT, data.removesuffix(b"\x00\x00\xff\xff"), rsv=0b100)
        frame = client.read_frame()
        assert (frame.opcode, frame.rsv) == (TEXT, 0b100)
        tail = b"\x00\x00\xff\xff"
        assert zlib.decompressobj(-15).decompress(frame.payload + tail) == b"hello " * 100

    def test_close_code_of_the_client_arrives(self, client: Client, server: Server, site: Site):
        opened(client).send_close(4001, site.name)
        assert client.read_frame().opcode == CLOSE
        assert client.read_to_end() == b""
        server.out.wait_for(f"closed with 4001 {re.escape(site.name)}")

    def test_close_code_of_the_handler_arrives(self, client: Client):
        frame = opened(client, "/close").read_frame()
        assert (frame.opcode, frame.close_code, frame.payload[2:]) == (CLOSE, 4002, b"enough")
        client.send_close(4002)
        assert client.read_to_end() == b""

    @pytest.mark.parametrize(("path", "status"), [("/refuse", 403), ("/nothing", 404)])
    def test_refusal_passes(self, client: Client, path: str, status: int):
        assert request(client, path).status == status

    def test_handshake_arrives_as_it_was_sent(self, client: Client):
        path = f"{FACTS}?a=b%2Fc&d=%20+e"
        response = request(
            client, path, Origin=f"https://{HOST}", Sec_WebSocket_Protocol="chat.v2, chat.v1"
        )
        assert response.status == 101
        assert response.header("Sec-WebSocket-Protocol") == "chat.v2"
        facts = json.loads(client.read_frame().payload)
        assert facts["resource"] == path
        assert facts["host"] == f"{HOST}:{client.port}"
        assert facts["origin"] == f"https://{HOST}"

    @pytest.mark.parametrize("claimed", [{}, {"X_Forwarded_For": "192.0.2.1"}], ids=["", "forged"])
    def test_address_of_the_client_arrives(
        self, client: Client, site: Site, claimed: dict[str, str]
    ):
        opened(client, FACTS, **claimed)
        facts = json.loads(client.read_frame().payload)
        if site.server != "--proxy-protocol":
            addresses = re.split(r",\s*", ",".join(facts["forwarded"]))
            assert addresses[-1] == CLIENT_ADDRESS
        assert facts["peer"][0] == CLIENT_ADDRESS

    def test_files_are_served_on_one_connection(self, client: Client):
        for _ in range(2):
            client.send(f"GET /page.txt HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            response = client.read_response()
            assert response.status == 200
            assert client.read(int(response.header("Content-Length") or 0)) == b"a page"


@pytest.mark.parametrize("site", THAT_CUT, ids=lambda site: site.name)
def test_silence_is_cut_and_pings_are_not_silence(
    site: Site, folder: Path, certificate: trustme.LeafCert, context: ssl.SSLContext
):
    with ExitStack() as stack:
        start = stack.enter_context(starting_servers(folder, DEFAULT_CONCURRENCY))

        def opened_behind(ping_interval: str) -> Client:
            server = support.start_behind(start, site.server, folder, ping_interval)
            changes = {site.timeout: site.short}
            proxy = Proxy(site, open_folder(folder), server.port, certificate, changes=changes)
            stack.enter_context(support.running(proxy))
            return opened(stack.enter_context(connected(proxy, context)))

        pinged = opened_behind("0.1")
        silent = opened_behind("")
        # which is younger, so that the other one has lived longer than the timeout
        while not select.select([silent.socket], [], [], 0)[0]:
            ping = pinged.read_frame()
            assert ping.opcode == PING
            pinged.send_frame(PONG, ping.payload)
        assert silent.read_to_end() == b""
        pinged.send_frame(TEXT, b"still here")
        while (frame := pinged.read_frame()).opcode == PING:
            pass
        assert frame == Frame(TEXT, b"still here")


BY_TCP = [site for site in SITES if site.server != "--uds"]


@pytest.mark.parametrize("site", BY_TCP, ids=lambda site: site.name)
def test_server_that_was_away_is_found_again_at_once(
    site: Site,
    folder: Path,
    certificate: trustme.LeafCert,
    context: ssl.SSLContext,
):
    support.behind(site.server)
    port = support.free_port()
    proxy = Proxy(site, open_folder(folder), port, certificate)
    with support.running(proxy), starting_servers(folder, DEFAULT_CONCURRENCY) as start:
        # A proxy that knows nothing of HTTP has no answer.
        with connected(proxy, context) as early, suppress(EOFError, ConnectionError):
            assert request(early, "/echo").status in {502, 503}
        support.start_behind(start, site.server, folder, port=port)
        with connected(proxy, context) as client:
            opened(client)


@pytest.mark.parametrize(
    "site",
    [site for site in BY_TCP if site.file in support.table_by_file(support.SEVERAL_PROCESSES)],
    ids=lambda site: site.name,
)
def test_several_processes_share_the_connections(
    site: Site, folder: Path, certificate: trustme.LeafCert, context: ssl.SSLContext
):
    place, added = support.table_by_file(support.SEVERAL_PROCESSES)[site.file]
    with starting_servers(folder, DEFAULT_CONCURRENCY) as start:
        first, second = (support.start_behind(start, site.server, folder) for _ in range(2))
        more = {place: f"{place}\n{support.replace(added, {'9999': str(second.port)})}"}
        proxy = Proxy(site, open_folder(folder), first.port, certificate, changes=more)
        with support.running(proxy), connected(proxy, context) as one:
            opened(one, FACTS)
            with connected(proxy, context) as other:
                opened(other, FACTS)
                processes = {json.loads(c.read_frame().payload)["process"] for c in (one, other)}
        assert processes == {server.process.pid for server in (first, second)}


def test_a_balancer_turns_away_from_a_server_that_stops(
    folder: Path, certificate: trustme.LeafCert, context: ssl.SSLContext
):
    (site,) = (site for site in BY_TCP if site.file == "haproxy/fastwsh.cfg")
    with starting_servers(folder, DEFAULT_CONCURRENCY) as start:
        server = support.start_behind(start, site.server, folder, more=("--metrics-port", "0"))
        health = {"9990": str(metrics_port(server)), "inter 1s": "inter 100ms"}
        changes = {
            old: support.replace(new, health) if "9990" in new else new
            for old, new in support.rows(support.HEALTH_CHECKS)
        }
        proxy = Proxy(site, open_folder(folder), server.port, certificate, changes=changes)
        proxy.check()
        with support.running(proxy), connected(proxy, context) as client:
            opened(client)
            server.send_signal(signal.SIGTERM)
            # it does not answer, so that the server goes on waiting for it
            assert client.read_frame().close_code == 1001
            support.wait_for_log(proxy, r"fastwsh/one is DOWN, reason: Layer7 .*code: 503")


def test_dev_installs_the_programs():
    installed = runpy.run_path(str(support.ROOT / "dev_programs.py"))["WEB_SERVERS"]
    assert {site.program.name for site in SITES} == set(installed)


class TestPage:
    def test_shows_every_configuration(self):
        steps = markdown.steps_of(markdown.read(support.PAGE))
        shown = {step.title: step.code for step in steps if step.is_file}
        for site in SITES:
            assert shown[f"deploy/{site.file}"] == site.text

    def test_says_what_a_unix_socket_needs(self):
        files = {site.file for site in SITES if site.server == "--uds"}
        assert set(support.table_by_file(support.UNIX_SOCKETS)) == files

    def test_command_without_a_proxy_is_accepted(self):
        (command,) = re.findall(
            r"^\$ python -m fastwsh (.* -t .*)$", markdown.read(support.PAGE), re.MULTILINE
        )
        options, _ = parse_args_and_config(command.split())
        assert (options.port, options.use_tls) == (443, True)


def test_variables_of_the_service_are_options(monkeypatch: pytest.MonkeyPatch):
    text = (support.ROOT / "deploy/systemd/fastwsh.service.d/proxy.conf").read_text("utf-8")
    (line,) = re.findall(r"^Environment=(.*)$", text, re.MULTILINE)
    for name in [name for name in os.environ if name.startswith("FASTWSH_")]:
        monkeypatch.delenv(name)
    for name, value in (word.split("=") for word in line.split()):
        option = f"--{name.removeprefix('FASTWSH_').lower().replace('_', '-')}"
        assert option in support.SUPPORTED
        monkeypatch.setenv(name, value)
    options, _ = parse_args_and_config([])
    assert options.ping_interval == 30
