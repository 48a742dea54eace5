"""The opening handshake over requests of plain Python (RFC 6455 4.2, RFC 8441)."""

import http.client
import io

import pytest

from fastwsh.pywebsocket import common, handshake, stream
from fastwsh.pywebsocket.handshake import base, hybi
from surface_support import ACCEPT, GOOD_HEADERS, Request


class Handler:
    """A dispatcher that asks a function."""

    def __init__(self, do_extra_handshake=lambda request: None):
        self.do_extra_handshake = do_extra_handshake


def choose(protocol):
    def do_extra_handshake(request):
        request.ws_protocol = protocol

    return Handler(do_extra_handshake)


def headers(**changes):
    """Return the headers of a good request with some changed; None takes one away."""
    changed = {**GOOD_HEADERS, **{name.replace("_", "-"): v for name, v in changes.items()}}
    return {name: value for name, value in changed.items() if value is not None}


def shake(request, dispatcher=None):
    """Do the handshake and return the lines of the answer."""
    handshake.do_handshake(request, dispatcher or Handler())
    answer = request.connection.written.decode()
    assert answer.endswith("\r\n\r\n")
    return answer.removesuffix("\r\n\r\n").split("\r\n")


def test_good_handshake_is_answered_as_in_rfc_6455():
    assert shake(Request()) == [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {ACCEPT}",
    ]


def test_request_gets_its_attributes():
    request = Request({**GOOD_HEADERS, "Origin": "http://example.com"}, uri="/echo?a=b")
    shake(request)
    assert isinstance(request.ws_stream, stream.Stream)
    assert {name: value for name, value in vars(request).items() if name.startswith("ws_")} == {
        "ws_close_code": None,
        "ws_close_reason": None,
        "ws_extension_processors": [],
        "ws_extensions": None,
        "ws_origin": "http://example.com",
        "ws_protocol": None,
        "ws_requested_extensions": None,
        "ws_requested_protocols": None,
        "ws_resource": "/echo?a=b",
        "ws_stream": request.ws_stream,
        "ws_version": 13,
    }
    assert (request.client_terminated, request.server_terminated) == (False, False)


def test_stream_does_not_exist_in_the_extra_handshake():
    seen = []
    shake(Request(), Handler(lambda request: seen.append(hasattr(request, "ws_stream"))))
    assert seen == [False]


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": None},
        {"Upgrade": "h2c"},
        {"Upgrade": "h2c, websocket"},
        {"Connection": None},
        {"Connection": "keep-alive"},
        {"Connection": "Upgrade keep-alive"},
        {"Connection": '"Upgrade"'},
        {"Host": None},
        {"Sec_WebSocket_Version": None},
        {"Sec_WebSocket_Version": "13, 8"},
        {"Sec_WebSocket_Key": None},
        {"Sec_WebSocket_Key": "YQ=="},
        {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZR=="},
        {"Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==,dGhlIHNhbXBsZSBub25jZQ=="},
        {"Sec_WebSocket_Protocol": ""},
        {"Sec_WebSocket_Protocol": "a/b"},
        {"Sec_WebSocket_Extensions": ",,"},
        {"Sec_WebSocket_Extensions": "permessage-deflate; a="},
    ],
)
def test_bad_header_is_a_400(changes):
    request = Request(headers(**changes))
    with pytest.raises(handshake.HandshakeException) as caught:
        shake(request, choose("a"))
    assert caught.value.status == 400
    assert request.connection.written == b""


@pytest.mark.parametrize(("name", "value"), [("method", "POST"), ("protocol", "HTTP/1.0")])
def test_bad_request_line_is_a_400(name, value):
    request = Request()
    setattr(request, name, value)
    with pytest.raises(handshake.HandshakeException) as caught:
        shake(request)
    assert caught.value.status == 400


def test_request_that_is_no_handshake_has_no_status_yet():
    with pytest.raises(handshake.HandshakeException) as caught:
        hybi.Handshaker(Request(headers(Upgrade=None)), Handler()).do_handshake()
    assert caught.value.status is None


@pytest.mark.parametrize("version", ["8", "0", "013", "thirteen", ""])
def test_other_version_is_told_ours(version):
    with pytest.raises(handshake.VersionException) as caught:
        shake(Request(headers(Sec_WebSocket_Version=version)))
    assert caught.value.supported_versions == "13"


@pytest.mark.parametrize(
    "changes",
    [
        {"Upgrade": " WebSocket\t"},
        {"Connection": "keep-alive, uPgRaDe , "},
        {"Sec_WebSocket_Version": "  13  "},
        {"Sec_WebSocket_Key": "  dGhlIHNhbXBsZSBub25jZQ==  "},
    ],
)
def test_white_space_around_a_value_is_not_part_of_it(changes):
    assert shake(Request(headers(**changes)))[3].endswith(ACCEPT)


def parsed(*lines):
    """Return headers as `http.server` parses them."""
    text = "".join(f"{line}\r\n" for line in lines) + "\r\n"
    return http.client.parse_headers(io.BytesIO(text.encode("latin-1")))


def test_repeated_list_headers_are_combined():
    good = [f"{name}: {value}" for name, value in GOOD_HEADERS.items() if name != "Connection"]
    lists = ["Connection: keep-alive", "Connection: Upgrade"]
    lists += ["Sec-WebSocket-Protocol: chat", "Sec-WebSocket-Protocol: superchat"]
    lists += ["Sec-WebSocket-Extensions: x", "Sec-WebSocket-Extensions: permessage-deflate"]
    request = Request(parsed(*good, *lists))
    answer = shake(request, choose("superchat"))
    assert request.ws_requested_protocols == ["chat", "superchat"]
    assert answer[4:] == [
        "Sec-WebSocket-Protocol: superchat",
        "Sec-WebSocket-Extensions: permessage-deflate",
    ]


@pytest.mark.parametrize("chosen", ["a", "surprise"])
def test_chosen_subprotocol_is_answered(chosen):
    answer = shake(Request(headers(Sec_WebSocket_Protocol="a, b")), choose(chosen))
    assert answer[4] == f"Sec-WebSocket-Protocol: {chosen}"


@pytest.mark.parametrize(
    ("requested", "chosen"), [("a", None), ("a", ""), ("a", "b c"), (None, "a"), (None, "")]
)
def test_wrong_choice_of_subprotocol_is_a_400(requested, chosen):
    with pytest.raises(handshake.HandshakeException) as caught:
        shake(Request(headers(Sec_WebSocket_Protocol=requested)), choose(chosen))
    assert caught.value.status == 400


def test_handler_may_skip_the_choice_of_a_subprotocol():
    def forget(request):
        request.ws_requested_protocols = None

    assert len(shake(Request(headers(Sec_WebSocket_Protocol="a")), Handler(forget))) == 4


def deflate_request(offer="permessage-deflate"):
    return Request(headers(Sec_WebSocket_Extensions=offer))


def test_first_acceptable_offer_is_the_only_one_answered():
    offer = "permessage-deflate; foo, x, permessage-deflate, permessage-deflate"
    request = deflate_request(offer)
    assert shake(request)[4] == "Sec-WebSocket-Extensions: permessage-deflate"
    assert [item.name() for item in request.ws_requested_extensions] == [
        *("permessage-deflate", "x", "permessage-deflate", "permessage-deflate")
    ]
    assert [item.is_active() for item in request.ws_extension_processors] == [False, True, False]


@pytest.mark.parametrize("processors", [[], [None]])
def test_handler_may_remove_the_processors(processors):
    def remove(request):
        request.ws_extension_processors = processors

    request = deflate_request()
    assert len(shake(request, Handler(remove))) == 4
    assert request.ws_extensions is None


def test_extra_headers_come_last_in_their_order():
    extra = [("Set-Cookie", "a=b"), ("Set-Cookie", "c=d"), ("X-Empty", ""), ("X-Number", 5)]
    answer = shake(Request(), Handler(lambda request: request.extra_headers.extend(extra)))
    assert answer[4:] == ["Set-Cookie: a=b", "Set-Cookie: c=d", "X-Empty: ", "X-Number: 5"]


def test_line_end_in_an_extra_header_may_begin_another_one():
    extra = [("Set-Cookie", "a=b\r\nX-Origin: c")]
    answer = shake(Request(), Handler(lambda request: request.extra_headers.extend(extra)))
    assert answer[4:] == ["Set-Cookie: a=b", "X-Origin: c"]


@pytest.mark.parametrize("value", ["a\r\n", "a\nb", "a\rb", "a\0b"])
def test_line_end_in_an_extra_header_is_a_403(value):
    request = Request()
    with pytest.raises(handshake.HandshakeException, match="X-I") as caught:
        shake(request, Handler(lambda request: request.extra_headers.append(("X-I", value))))
    assert caught.value.status == 403
    assert request.connection.written == b""


@pytest.mark.parametrize("error", [handshake.AbortedByUserException, ZeroDivisionError])
def test_exception_of_the_handler_goes_through(error):
    def fail(request):
        raise error

    with pytest.raises(error):
        shake(Request(), Handler(fail))


def test_established_connection_is_logged(caplog):
    with caplog.at_level("INFO", "pywebsocket3.handshake"):
        shake(Request())
    assert caplog.messages == ["Established (RFC 6455 protocol)"]


class Http2Handshaker(base.HandshakerBase):
    """WebSockets over HTTP/2, as web-platform-tests derive them."""

    def __init__(self, request, dispatcher):
        self._logger = base.util.get_class_logger(self)
        self._request = request
        self._dispatcher = dispatcher

    def _transform_header(self, header):
        return header.lower()

    def _protocol_rfc(self):
        return "RFC 8441"

    def _validate_request(self):
        base.validate_mandatory_header(self._request, ":protocol", "websocket")
        base.get_mandatory_header(self._request, "authority")

    def _set_accept(self):
        pass

    def _send_handshake(self):
        self._request.status = 200
        self._request.headers_out = dict(self._request.extra_headers)
        if self._request.ws_extensions:
            value = common.format_extensions(self._request.ws_extensions)
            self._request.headers_out["sec-websocket-extensions"] = value


def http2_request(**more):
    return Request(
        {":protocol": "websocket", "authority": "x", "sec-websocket-version": "13", **more}
    )


def test_handshake_over_http2_uses_lower_case_names():
    offer = {"sec-websocket-extensions": "permessage-deflate", "origin": "http://x"}
    request = http2_request(**offer, **{"sec-websocket-protocol": "chat"})
    Http2Handshaker(request, choose("chat")).do_handshake()
    assert request.status == 200
    assert request.headers_out == {"sec-websocket-extensions": "permessage-deflate"}
    assert request.ws_origin == "http://x"
    assert request.connection.written == b""


def test_handshake_over_http2_does_without_optional_headers():
    request = http2_request()
    Http2Handshaker(request, Handler()).do_handshake()
    assert (request.ws_origin, request.ws_protocol, request.ws_extensions) == (None, None, None)


def test_accept_is_computed_from_bytes_and_from_text():
    key = GOOD_HEADERS["Sec-WebSocket-Key"]
    assert hybi.compute_accept(key.encode()) == ACCEPT.encode()
    assert hybi.compute_accept_from_unicode(key) == ACCEPT.encode()
    with pytest.raises(TypeError):
        hybi.compute_accept(key)


@pytest.mark.parametrize(
    ("host", "parts"),
    [("h", ("h", 80)), ("h:8080", ("h", 8080))],
)
def test_host_header_is_split(host, parts):
    assert base.parse_host_header(Request(headers(Host=host))) == parts
    assert base.get_default_port(True) == 443


def test_host_header_with_a_bad_port_is_refused():
    with pytest.raises(handshake.HandshakeException):
        base.parse_host_header(Request(headers(Host="h:x")))


@pytest.mark.parametrize("name", ["a b", "a\tb", "", "\u65e5", "a,b"])
def test_subprotocol_that_is_no_token_is_refused(name):
    with pytest.raises(handshake.HandshakeException):
        base.validate_subprotocol(name)


def test_failure_of_a_mandatory_header_has_the_status_asked_for():
    with pytest.raises(handshake.HandshakeException) as caught:
        base.validate_mandatory_header(Request(), "Upgrade", "h2c", 426)
    assert caught.value.status == 426
