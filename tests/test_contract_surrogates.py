"""Text that UTF-8 cannot encode, the name of a file perhaps, in what handlers say."""

import re

import pytest

from conftest import CONTRACT_WAYS
from contract_support import extra_handshake, opened, serve
from wire import CLOSE

__all__ = ["serve"]

pytestmark = CONTRACT_WAYS


@pytest.mark.parametrize("field", ["('X-File', 'a\\udcff')", "('X-\\udcff', 'a')"])
@pytest.mark.parametrize("option", [[], ["--strict-compat"]])
def test_header_is_refused_in_one_sentence(serve, field: str, option: list[str]):
    server = serve(extra_handshake(f"request.extra_headers.append({field})"), *option)
    with server.connect() as client:
        client.send_request("/h")
        assert client.read_response().status == 403
    server.log.wait_for(r"header 'X-.*' has no text that UTF-8 can encode: 'a")
    assert not re.search("Traceback", "\n".join(server.log.lines))


@pytest.mark.parametrize("option", [[], ["--log-format", "json"]])
def test_log_line_is_written(serve, option: list[str]):
    server = serve(
        "import logging\nlogging.getLogger('h').error('name %s', 'a\\udcff')\n"
        "request.ws_stream.receive_message()",
        *option,
    )
    with opened(server) as client:
        server.log.wait_for(r"name a\\+udcff")
        client.send_close()
        assert client.read_frame().opcode == CLOSE


def test_reason_of_a_close_is_the_handlers_mistake(serve):
    server = serve("request.ws_stream.close_connection(4000, 'a\\udcff')")
    with opened(server) as client:
        assert client.read_to_end() == b""
    server.log.wait_for("UnicodeEncodeError")


def test_reason_that_is_none_is_no_reason(serve):
    server = serve("request.ws_stream.close_connection(4000, None)")
    with opened(server) as client:
        assert client.read_frame().close_code == 1011


def test_refusal_says_what_it_can(serve):
    server = serve(extra_handshake("raise handshake.HandshakeException('no a\\udcff', 403)"))
    with server.connect() as client:
        client.send_request("/h")
        assert client.read_response().status == 403
    server.log.wait_for("code 403, message Forbidden: .*no a")
