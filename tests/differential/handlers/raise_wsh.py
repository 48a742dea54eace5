"""Raises in one of its functions: the query is "function/exception"."""

import sys

from pywebsocket3 import common, dispatch, handshake, msgutil
from pywebsocket3.handshake.base import VersionException
from pywebsocket3.stream import InvalidUTF8Exception


class OwnError(Exception):
    pass


EXCEPTIONS = {
    "aborted": handshake.AbortedByUserException("on purpose"),
    "handshake": handshake.HandshakeException("on purpose"),
    "handshake404": handshake.HandshakeException("on purpose", status=404),
    "version": VersionException("on purpose", supported_versions="13"),
    "dispatch": dispatch.DispatchException("on purpose", status=400),
    "bad-operation": msgutil.BadOperationException("on purpose"),
    "invalid-frame": msgutil.InvalidFrameException("on purpose"),
    "unsupported-frame": msgutil.UnsupportedFrameException("on purpose"),
    "terminated": msgutil.ConnectionTerminatedException("on purpose"),
    "utf8": InvalidUTF8Exception("on purpose"),
    "own": OwnError("on purpose"),
    "value": ValueError("on purpose"),
    "os": OSError("on purpose"),
    "assert": AssertionError(),
    "exit": SystemExit(3),
    "interrupt": KeyboardInterrupt(),
    "stop-iteration": StopIteration(),
}


def raise_in(function, request):
    where, _, what = request.ws_resource.partition("?")[2].partition("/")
    if where == function:
        if what == "sys.exit":
            sys.exit()
        raise EXCEPTIONS[what]


def web_socket_do_extra_handshake(request):
    raise_in("extra", request)


def web_socket_transfer_data(request):
    raise_in("transfer", request)
    request.ws_stream.receive_message()


def web_socket_passive_closing_handshake(request):
    raise_in("passive", request)
    return common.STATUS_NORMAL_CLOSURE, ""
