"""Lets in pages of this server and of the origins configured here, and refuses all others.

Any page on the web may open a WebSocket to any server, and the browser sends along the cookies
that its user has there. A handler that trusts those cookies must therefore look at the Origin
header, which the browser fills in and a page cannot change. (A program that is not a browser can
send any Origin: this check protects your users, and does not replace a login.)

That Origin agrees with the Host header is not enough. Whoever owns a name can let it lead to this
server after his page has been loaded (DNS rebinding), and then both headers have his name. So the
server's own names are written down as well.
"""

import os
import urllib.parse

from pywebsocket3 import common
from pywebsocket3.handshake import HandshakeException

# The names by which people open pages of this server, without port. They may also be given,
# separated by spaces, in the environment variable OWN_NAMES.
OWN_NAMES = frozenset(os.environ.get("OWN_NAMES", "localhost 127.0.0.1 ::1").lower().split())

# Origins allowed besides the server's own, such as "https://www.example.com": scheme, host, and
# the port if it is not the scheme's usual one. They may also be given, separated by spaces, in the
# environment variable ALLOWED_ORIGINS.
ALLOWED_ORIGINS = frozenset(os.environ.get("ALLOWED_ORIGINS", "").lower().split())


def web_socket_do_extra_handshake(request):
    # An exception here refuses the handshake: the client gets "403 Forbidden" and no details, the
    # server's log gets the message.
    if not is_allowed(request.ws_origin, request.headers_in.get("Host")):
        raise HandshakeException(
            f"origin {request.ws_origin!r} is not allowed", status=common.HTTP_STATUS_FORBIDDEN
        )


def web_socket_transfer_data(request):
    request.ws_stream.send_message(f"Welcome, page from {request.ws_origin}")
    while True:
        message = request.ws_stream.receive_message()
        if message is None:
            return
        request.ws_stream.send_message(message, binary=isinstance(message, bytes))


def is_allowed(origin, host):
    """Whether a page of this origin may connect to a server that it addressed as `host`.

    `origin` is None if the client sent none, and "null" for pages without one (a local file, a
    sandboxed frame). Neither is allowed.
    """
    if not origin:
        return False
    if origin.lower() in ALLOWED_ORIGINS:
        return True
    try:
        parts = urllib.parse.urlsplit(origin)
        name = parts.hostname
    except ValueError:
        return False
    # Browsers leave the usual port out of both headers, so they compare as they are. The scheme is
    # not compared: behind a proxy that does the TLS, this server is not aware of the "https".
    return (
        parts.scheme in ("http", "https")
        and name in OWN_NAMES
        and bool(host)
        and parts.netloc.lower() == host.strip().lower()
    )
