"""The dispatcher calls handlers, and turns what they raise into what the connection gets."""

import logging

import pytest

from fastwsh.loading.map_file import alias_handlers
from fastwsh.pywebsocket import common, dispatch, handshake, msgutil, stream
from surface_support import client_frame, open_request

ANSWER = client_frame(0x88, b"\x03\xe8")


@pytest.fixture
def dispatcher(tmp_path):
    return dispatch.Dispatcher(str(tmp_path))


def register(dispatcher, transfer_data=None, do_extra_handshake=None, passive=None):
    def accept(request):
        pass

    dispatcher._handler_suite_map["/echo"] = dispatch._HandlerSuite(
        do_extra_handshake or accept,
        transfer_data or accept,
        passive or (lambda request: (1000, "")),
    )


def raising(error):
    def handler(request):
        raise error

    return handler


def transfer(dispatcher, transfer_data, incoming=ANSWER):
    """Let a handler run and return what it, and the dispatcher, wrote."""
    register(dispatcher, transfer_data)
    request = open_request(incoming)
    dispatcher.transfer_data(request)
    return request.connection.written


def test_connection_is_closed_when_the_handler_returns(dispatcher):
    assert transfer(dispatcher, lambda request: None) == bytes.fromhex("88 02 03e8")


def test_connection_that_the_handler_closed_is_left_alone(dispatcher):
    def close(request):
        request.ws_stream.close_connection(3000, "x")

    assert transfer(dispatcher, close) == bytes.fromhex("88 03 0bb8 78")


def test_handler_may_close_by_hand(dispatcher):
    def close(request):
        request.connection.write(b"raw")
        request.server_terminated = True

    assert transfer(dispatcher, close) == b"raw"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (msgutil.BadOperationException, 1011),
        (msgutil.InvalidFrameException, 1002),
        (msgutil.UnsupportedFrameException, 1003),
        (stream.InvalidUTF8Exception, 1007),
    ],
)
def test_exception_of_the_stream_closes_with_its_code(dispatcher, error, code):
    written = transfer(dispatcher, raising(error("x")))
    assert written == b"\x88\x02" + code.to_bytes(2, "big")


@pytest.mark.parametrize(
    "error", [msgutil.UnsupportedFrameException, msgutil.InvalidFrameException]
)
def test_exception_may_name_its_code(dispatcher, error):
    failure = error("x")
    failure.close_code = 1009
    assert transfer(dispatcher, raising(failure)) == bytes.fromhex("88 02 03f1")


def test_lost_connection_is_dropped_silently(dispatcher, caplog):
    written = transfer(dispatcher, raising(msgutil.ConnectionTerminatedException("gone")))
    assert written == b""
    assert not caplog.records


@pytest.mark.parametrize("error", [ValueError, AssertionError, handshake.HandshakeException])
def test_other_exception_names_the_handler_and_sends_nothing(dispatcher, error):
    register(dispatcher, raising(error("why")))
    request = open_request()
    with pytest.raises(error) as caught:
        dispatcher.transfer_data(request)
    assert str(caught.value) == "web_socket_transfer_data raised exception for /echo: why"
    assert request.connection.written == b""


@pytest.mark.parametrize("error", [handshake.AbortedByUserException, SystemExit])
def test_abort_goes_through_as_it_is(dispatcher, error):
    register(dispatcher, raising(error("why")), raising(error("why")))
    request = open_request()
    for call in (dispatcher.transfer_data, dispatcher.do_extra_handshake):
        with pytest.raises(error) as caught:
            call(request)
        assert str(caught.value) == "why"
    assert request.connection.written == b""


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("why"), 403),
        (handshake.HandshakeException("why"), 403),
        (handshake.HandshakeException("why", 404), 404),
        (handshake.VersionException("why"), 403),
        (dispatch.DispatchException("why", 400), 403),
    ],
)
def test_refused_handshake_has_the_status_that_the_handler_chose(dispatcher, error, status):
    register(dispatcher, do_extra_handshake=raising(error))
    with pytest.raises(handshake.HandshakeException) as caught:
        dispatcher.do_extra_handshake(open_request())
    assert caught.value.status == status
    assert str(caught.value) == "web_socket_do_extra_handshake raised exception for /echo: why"
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("call", ["transfer_data", "do_extra_handshake"])
def test_resource_without_a_handler_is_a_404(dispatcher, call):
    with pytest.raises(dispatch.DispatchException, match="No handler") as caught:
        getattr(dispatcher, call)(open_request())
    assert caught.value.status == 404


def test_passive_closing_handshake_asks_the_handler(dispatcher):
    register(dispatcher, passive=lambda request: (3000, request.uri))
    assert dispatcher.passive_closing_handshake(open_request()) == (3000, "/echo")


def test_passive_closing_handshake_without_a_handler_is_1000(dispatcher):
    assert dispatcher.passive_closing_handshake(open_request()) == (1000, "")


def test_stream_answers_with_what_the_handler_returns(dispatcher):
    register(dispatcher, passive=lambda request: (3000, "bye"))
    request = open_request(client_frame(0x88, b"\x03\xe9"))
    request._dispatcher = dispatcher
    assert request.ws_stream.receive_message() is None
    assert request.connection.written == bytes.fromhex("88 05 0bb8 627965")


@pytest.mark.parametrize("resource", ["/echo", "/echo?", "/echo?a?b", "/echo#", "/echo?a=/x#"])
def test_query_is_not_part_of_the_resource(dispatcher, resource):
    register(dispatcher)
    assert dispatcher.get_handler_suite(resource) is dispatcher._handler_suite_map["/echo"]


@pytest.mark.parametrize("resource", ["/Echo", "/echo/", "echo", "/echo;x", "/none#x"])
def test_other_resources_have_no_handler(dispatcher, resource):
    register(dispatcher)
    assert dispatcher.get_handler_suite(resource) is None


@pytest.mark.parametrize("resource", ["/echo#x", "/echo?a#b", "/echo#a?b"])
def test_fragment_is_a_400(dispatcher, resource):
    register(dispatcher)
    with pytest.raises(dispatch.DispatchException) as caught:
        dispatcher.get_handler_suite(resource)
    assert caught.value.status == common.HTTP_STATUS_BAD_REQUEST


def test_alias_serves_the_same_handler(dispatcher):
    register(dispatcher)
    dispatcher.add_resource_path_alias("/", "/echo")
    assert dispatcher.get_handler_suite("/") is dispatcher.get_handler_suite("/echo")
    with pytest.raises(dispatch.DispatchException):
        dispatcher.add_resource_path_alias("/x", "/none")


def test_map_file_names_aliases(dispatcher, tmp_path, caplog):
    register(dispatcher)
    map_file = tmp_path / "map"
    map_file.write_text("# comment\n\n/ /echo\n/deep/er\t  /echo\n/x /none\none\n/a /b /c\n")
    with caplog.at_level(logging.WARNING):
        alias_handlers(dispatcher, str(map_file))
    assert sorted(dispatcher._handler_suite_map) == ["/", "/deep/er", "/echo"]
    assert caplog.messages == [
        "No handler for: '/none' in map file",
        "Wrong format in map file: one",
        "Wrong format in map file: /a /b /c",
    ]


def test_scan_dir_must_be_in_the_root(tmp_path):
    (tmp_path / "a").mkdir()
    dispatch.Dispatcher(str(tmp_path), str(tmp_path / "a"))
    with pytest.raises(dispatch.DispatchException):
        dispatch.Dispatcher(str(tmp_path / "a"), str(tmp_path))


def test_dispatcher_takes_its_arguments_by_position(tmp_path):
    (tmp_path / "echo_wsh.py").write_text(
        "def web_socket_do_extra_handshake(request): pass\n"
        "def web_socket_transfer_data(request): pass\n"
    )
    (tmp_path / "bad_wsh.py").write_text("x = 1\n")
    found = dispatch.Dispatcher(str(tmp_path), None, False, "utf-8")
    assert list(found._handler_suite_map) == ["/echo"]
    assert found._handler_suite_map["/echo"].path == str(tmp_path / "echo_wsh.py")
    assert found.source_warnings() == [
        f"{tmp_path / 'bad_wsh.py'}: web_socket_do_extra_handshake is not defined."
    ]


@pytest.mark.parametrize("source", ["", "def", "1/0", "raise SystemExit"])
def test_source_that_is_no_handler_is_a_dispatch_exception(source):
    with pytest.raises(dispatch.DispatchException):
        dispatch._source_handler_file(source)
