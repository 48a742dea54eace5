"""Behind a proxy: whom X-Forwarded-For names, wherever an address shows; who is not believed."""

import re
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from cgi_support import Programs, environment, programs
from conftest import ALL_WAYS, StartServer, WriteHandler, run_fastwsh
from contract_support import PATH, Serve, opened, serve
from fastwsh.options import parse_args_and_config
from http_support import fetch, read_reply, request_head
from proxies_support import (
    LINE,
    LINE_6,
    LOCAL,
    OWN,
    PROXIED,
    PROXY,
    TELL,
    TRUSTED,
    UNIX,
    address_seen,
    binary,
    connected,
    forwarded,
    opening,
    own_address,
    told,
)
from wire import CLOSE, Client

__all__ = ["programs", "serve"]


class TestForwardedFor:
    @ALL_WAYS
    def test_handlers_see_whom_the_proxy_names(self, serve: Serve) -> None:
        server = serve(TELL, *TRUSTED)
        with connected(server) as client:
            assert address_seen(client, "203.0.113.7") == ("203.0.113.7", 0)
        with connected(server) as client:
            assert address_seen(client, "[2001:db8::7]:80") == ("2001:db8::7", 80, 0, 0)
        with connected(server) as client:
            assert address_seen(client) == own_address(client)

    def test_the_rightmost_that_is_not_trusted_counts(self, serve: Serve) -> None:
        server = serve(TELL, *TRUSTED)
        for values, address in [
            (["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            (["10.0.0.9, 203.0.113.7, 10.0.0.1, 127.0.0.1"], "203.0.113.7"),
            (["1.1.1.1", "203.0.113.7, 10.0.0.2", "10.0.0.1"], "203.0.113.7"),
            (["10.0.0.9, 10.0.0.1"], "10.0.0.9"),
            (["203.0.113.7, unknown, 10.0.0.1"], "10.0.0.1"),
            (["::ffff:10.0.0.9, 203.0.113.7 ,::ffff:10.0.0.1"], "203.0.113.7"),
        ]:
            with connected(server) as client:
                assert address_seen(client, *values) == (address, 0), values
        with connected(server) as client:
            assert address_seen(client, "203.0.113.7, unknown") == own_address(client)

    def test_from_others_it_means_nothing(self, serve: Serve) -> None:
        server = serve(TELL, *TRUSTED)
        with connected(server, "127.0.0.2") as client:
            assert address_seen(client, "203.0.113.7") == own_address(client)

    def test_by_default_nobody_is_believed(self, serve: Serve) -> None:
        server = serve(TELL)
        with connected(server) as client:
            assert address_seen(client, "203.0.113.7") == own_address(client)

    def test_proxies_by_unix_sockets_and_by_mapped_addresses(
        self, start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
    ) -> None:
        write_handler("h", TELL)
        server = start_server(
            *("-w", "handlers", "--trusted-proxies", "unix", "--trusted-proxies", "127.0.0.0/30"),
            listen=["--bind", f"unix:{tmp_path / 's'}", "-H", "::", "-p", "0"],
        )
        port = int(server.log.wait_for(r"Listening on \[::\]:(\d+)")[1])
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(tmp_path / "s"))
            with Client.over(plain) as client:
                assert address_seen(client, "203.0.113.7") == ("203.0.113.7", 0)
        with Client(port) as client:
            assert address_seen(client, "203.0.113.7") == ("203.0.113.7", 0)
        with Client(port) as client:
            # as sockets for both families show it
            assert address_seen(client) == (f"::ffff:{LOCAL}", own_address(client)[1], 0, 0)  # type: ignore[index]

    def test_a_unix_socket_is_nobody_unless_it_is_named(
        self, start_server: StartServer, write_handler: WriteHandler, tmp_path: Path
    ) -> None:
        write_handler("h", TELL)
        server = start_server("-w", "handlers", *TRUSTED, listen=["--uds", str(tmp_path / "s")])
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(tmp_path / "s"))
            with Client.over(plain, server.port) as client:
                assert address_seen(client, "203.0.113.7") == ""


class TestEverywhere:
    """Where else an address shows."""

    def test_access_log(self, serve: Serve) -> None:
        server = serve(TELL, *PROXY, "--access-log")
        for header, values, shown in [
            (LINE, [], r"203\.0\.113\.7:56324"),
            (binary(OWN, 0, b""), ["2001:db8::7"], r"\[2001:db8::7\]:0"),
            (binary(PROXIED, UNIX, bytes(216)), [], "unix"),
        ]:
            with connected(server) as client:
                client.send(header)
                address_seen(client, *values)
                client.send_close()
                assert client.read_frame().opcode == CLOSE
            server.out.wait_for(rf"^\[[^]]*\] {shown} /h 101 ")

    def test_lines_of_the_core(self, serve: Serve) -> None:
        server = serve(TELL, *PROXY, "--idle-timeout", "0.05")
        with connected(server) as client:
            client.send(LINE)
            address_seen(client)
            assert client.read_frame().opcode == CLOSE
        server.log.wait_for(r"203\.0\.113\.7 was idle for 0\.05 s: connection closed")
        with connected(server) as client:
            client.send(LINE_6 + b"nonsense\r\n\r\n")
            assert client.read_response().status == 400
        server.log.wait_for("2001:db8::7 - code 400")

    def test_cgi(self, programs: Programs) -> None:
        programs.add("cgi-bin/env", "printf '\\r\\n'; env")
        server = programs.serve(*TRUSTED)
        assert environment(server, "/cgi-bin/env")["REMOTE_ADDR"] == LOCAL
        with server.connect() as client:
            # the requests of several clients, as proxies send them
            for address in ("203.0.113.7", "2001:db8::7"):
                header = f"X-Forwarded-For: 1.1.1.1, {address}"
                client.send(request_head("/cgi-bin/env", headers=(header,)))
                assert f"REMOTE_ADDR={address}\n".encode() in read_reply(client).body

    def test_cgi_behind_a_header(self, programs: Programs) -> None:
        programs.add("cgi-bin/env", "printf '\\r\\n'; env")
        server = programs.serve(*PROXY)
        with server.connect() as client:
            client.send(LINE + request_head("/cgi-bin/env"))
            assert b"REMOTE_ADDR=203.0.113.7\n" in read_reply(client).body


class TestLimitPerAddress:
    LIMIT = "--max-connections-per-address", "1"
    REFUSED = re.compile(
        r"Connection of 203\.0\.113\.7 refused: 1 are open \(--max-connections-per-address\)"
    )

    def refused(self, client: Client) -> bool:
        response = client.read_response()
        if response.status == 503:
            assert response.status_line == "HTTP/1.1 503 Too many connections"
            assert response.header("Retry-After") == "1"
        return response.status == 503

    @pytest.mark.parametrize("split", [False, True])
    def test_counts_clients_by_header(self, serve: Serve, split: bool) -> None:
        server = serve(TELL, *PROXY, *self.LIMIT)

        def arrive(stack: ExitStack, header: bytes) -> Client:
            client = stack.enter_context(connected(server))
            if split:
                client.send(header[:8])
            client.send(header[8 if split else 0 :] + opening())
            return client

        with ExitStack() as stack:
            assert not self.refused(arrive(stack, LINE))
            assert not self.refused(arrive(stack, LINE_6))
            assert self.refused(arrive(stack, LINE))
            server.log.wait_for(self.REFUSED)

    def test_counts_clients_by_request(self, serve: Serve) -> None:
        server = serve(TELL, *TRUSTED, *self.LIMIT)

        def arrive(stack: ExitStack, address: str) -> Client:
            client = stack.enter_context(connected(server))
            client.send_request(PATH, forwarded(address))
            return client

        with ExitStack() as stack:
            # connections that have asked for nothing count in the total alone
            for _ in range(3):
                stack.enter_context(connected(server))
            first = arrive(stack, "203.0.113.7")
            assert not self.refused(first)
            assert not self.refused(arrive(stack, "203.0.113.8"))
            assert self.refused(arrive(stack, "203.0.113.7"))
            server.log.wait_for(self.REFUSED)
            # what is refused does not count, and what has gone does not either
            told(first)
            first.send_close()
            assert first.read_frame().opcode == CLOSE
            assert first.read_to_end() == b""
            for _ in range(2000):
                if not self.refused(arrive(stack, "203.0.113.7")):
                    return
            pytest.fail("nobody is let in")

    def test_counts_clients_of_plain_http(self, serve: Serve) -> None:
        server = serve(TELL, *TRUSTED, *self.LIMIT)

        def ask(client: Client, address: str) -> int:
            client.send(request_head("/", headers=(f"X-Forwarded-For: {address}",)))
            return read_reply(client).status

        with connected(server) as one, connected(server) as other:
            assert ask(one, "203.0.113.7") == 200
            assert ask(other, "203.0.113.7") == 503
        with connected(server) as one, connected(server) as other:
            assert ask(one, "203.0.113.8") == 200
            # its connection is the other client's now
            assert ask(one, "203.0.113.9") == 200
            assert ask(other, "203.0.113.8") == 200
            assert ask(one, "203.0.113.8") == 503

    def test_others_count_as_ever(self, serve: Serve) -> None:
        server = serve(TELL, "--trusted-proxies", "10.0.0.0/8", *self.LIMIT)
        with opened(server), connected(server) as client:
            client.send_request(PATH, forwarded("203.0.113.7"))
            assert self.refused(client)

    def test_the_total_counts_proxies_too(self, serve: Serve) -> None:
        server = serve(TELL, *TRUSTED, "--max-connections", "1")
        with connected(server) as client:
            address_seen(client, "203.0.113.7")
            assert fetch(server, "/").status == 503


class TestOptions:
    def parse(self, *args: str) -> list[str]:
        options, _ = parse_args_and_config(["--trusted-proxies", *args])
        return [str(entry) for entry in options.trusted_proxies]

    def test_values_add_up(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        expected = ["10.0.0.0/8", "127.0.0.1/32", "unix", "::1/128"]
        assert self.parse("10.0.0.0/8, 127.0.0.1,unix", "--trusted-proxies", "::1") == expected
        listed = "10.0.0.0/8,127.0.0.1, unix, ::1"
        config = tmp_path / "server.ini"
        config.write_text(f"[pywebsocket]\ntrusted-proxies = {listed}\n", encoding="utf-8")
        options, _ = parse_args_and_config(["--config", str(config)])
        assert [str(entry) for entry in options.trusted_proxies] == expected
        monkeypatch.setenv("FASTWSH_TRUSTED_PROXIES", listed)
        options, _ = parse_args_and_config([])
        assert [str(entry) for entry in options.trusted_proxies] == expected

    @pytest.mark.parametrize(
        ("value", "reason"),
        [
            ("proxy.example", "'proxy.example' is no proxy to trust; name an address"),
            ("10.0.0.0/33", "'10.0.0.0/33' is no proxy to trust; name an address"),
            ("10.0.0.1,", "'' is no proxy to trust; name an address"),
            ("10.0.0.1:80", "'10.0.0.1:80' is no proxy to trust; name an address"),
            ("10.0.0.1/8", "'10.0.0.1/8' is an address within a network; write 10.0.0.0/8 for"),
            ("::1/64", "'::1/64' is an address within a network; write ::/64 for"),
            ("*", "'*' is no proxy to trust"),
        ],
    )
    def test_bad_value(self, value: str, reason: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as caught:
            self.parse(value)
        assert caught.value.code == 2
        assert f"argument --trusted-proxies/--trusted_proxies: {reason}" in capsys.readouterr().err

    def test_a_header_of_whom(self, tmp_path: Path) -> None:
        done = run_fastwsh("--proxy-protocol", "-p", "0", cwd=tmp_path)
        assert done.returncode == 1
        error = done.stderr
        assert "--proxy-protocol needs to know whose headers to believe" in error
        assert "add --trusted-proxies" in error
