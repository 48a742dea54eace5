"""WebSockets in a server of the standard library's `http.server`.

fastwsh's own server does not use this module. It is for programs that derive from
`WebSocketRequestHandler` or use it in their own server class: one thread per connection, with plain
Python sockets.
"""

import http.client
import http.server
import logging
from pathlib import Path
from typing import Any, Final

from fastwsh.pywebsocket import common, dispatch, handshake, http_header_util, memorizingfile, util
from fastwsh.pywebsocket._signatures import hide_annotations

__all__ = ["WebSocketRequestHandler"]

# The most lines of a head: more than any opening handshake has.
_MAX_MEMORIZED_LINES = 1024

# Python 3.15 has no CGI any more; it serves files under a CGI path as files.
_HTTPRequestHandler: Any = getattr(
    http.server, "CGIHTTPRequestHandler", http.server.SimpleHTTPRequestHandler
)


class _StandaloneConnection:
    """`request.connection`: the bytes of the TCP connection, and its two addresses."""

    def __init__(self, request_handler: Any) -> None:
        self._request_handler = request_handler

    def get_local_addr(self) -> tuple[str, int]:
        """Return the host name that the server was given, and its port."""
        server = self._request_handler.server
        return server.server_name, server.server_port

    local_addr = property(get_local_addr)

    def get_remote_addr(self) -> Any:
        """Return the client's address."""
        return self._request_handler.client_address

    remote_addr = property(get_remote_addr)

    def write(self, data: bytes) -> Any:
        """Send bytes."""
        return self._request_handler.wfile.write(data)

    def read(self, length: int) -> Any:
        """Wait for bytes; return at most `length` of them, none at the end of the stream."""
        return self._request_handler.rfile.read(length)

    def get_memorized_lines(self) -> Any:
        """Return the lines of the request's head."""
        return self._request_handler.rfile.get_memorized_lines()


class _StandaloneRequest:
    """The request that a handler gets."""

    def __init__(self, request_handler: Any, use_tls: bool) -> None:
        self._logger = util.get_class_logger(self)
        self._request_handler = request_handler
        self._use_tls = use_tls
        self.connection = _StandaloneConnection(request_handler)
        self.headers_in = request_handler.headers

    def get_uri(self) -> Any:
        """Return the path, query included, as the request line has it."""
        return self._request_handler.path

    uri = property(get_uri)

    def get_unparsed_uri(self) -> Any:
        """Return the same as `uri`."""
        return self._request_handler.path

    unparsed_uri = property(get_unparsed_uri)

    def get_method(self) -> Any:
        """Return the method."""
        return self._request_handler.command

    method = property(get_method)

    def get_protocol(self) -> Any:
        """Return "HTTP/1.1", or what the request line has in its place."""
        return self._request_handler.request_version

    protocol = property(get_protocol)

    def is_https(self) -> bool:
        """Tell whether the connection is encrypted."""
        return self._use_tls


class WebSocketRequestHandler(_HTTPRequestHandler):  # type: ignore[misc]
    """Serves WebSockets at the resources that have a handler, and files and CGI elsewhere.

    The server must have `websocket_server_options`: the options of the command line, with
    `dispatcher`, `cgi_directories` and `is_executable_method` added.
    """

    MessageClass = http.client.HTTPMessage
    # Unbuffered, so that handlers can read what is there; so was Python's class for CGI, which 3.15
    # removes.
    rbufsize = 0

    def __init__(self, request: Any, client_address: Any, server: Any) -> None:
        # The base class serves the connection in its constructor.
        self._logger = util.get_class_logger(self)
        self._options = server.websocket_server_options
        self.cgi_directories = self._options.cgi_directories
        if self._options.is_executable_method is not None:
            self.is_executable = self._options.is_executable_method
        super().__init__(request, client_address, server)

    def setup(self) -> None:
        """Let the input memorize the lines of the request's head."""
        super().setup()
        self.rfile: Any = memorizingfile.MemorizingFile(self.rfile, _MAX_MEMORIZED_LINES)

    def parse_request(self) -> bool:
        """Parse the request's head; serve a WebSocket from its opening to its end.

        Returns:
            Whether this is a request for the base class to answer.
        """
        if not super().parse_request():
            return False
        if not self._is_authorized():
            return False
        resource = self._websocket_resource()
        if resource is None:
            self._logger.info("Fallback to CGIHTTPRequestHandler")
            return True
        self.path = resource
        dispatcher = self._options.dispatcher
        try:
            if not dispatcher.get_handler_suite(resource):
                self._logger.info("No handler for resource: %r", resource)
                self._logger.info("Fallback to CGIHTTPRequestHandler")
                return True
        except dispatch.DispatchException as error:
            self._logger.info("Dispatch failed for error: %s", error)
            self.send_error(error.status)
            return False
        self._serve_websocket(dispatcher)
        return False

    def _is_authorized(self) -> bool:
        if not self._options.use_basic_auth:
            return True
        if self.headers.get("Authorization") == self._options.basic_auth_credential:
            return True
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="Pywebsocket"')
        self.end_headers()
        self._logger.info("Request basic authentication")
        return False

    def _websocket_resource(self) -> str | None:
        """Return the resource, or None if the request is not meant for this server's WebSockets."""
        host, port, resource = http_header_util.parse_uri(self.path)
        if resource is None:
            self._logger.info("Invalid URI: %r", self.path)
            return None
        for what, value in (("host", host), ("port", port)):
            expected = getattr(self._options, f"validation_{what}", None)
            if None not in (value, expected) and value != expected:
                self._logger.info("Invalid %s: %r (expected: %r)", what, value, expected)
                return None
        return resource

    def _serve_websocket(self, dispatcher: Any) -> None:
        request: Any = _StandaloneRequest(self, self._options.use_tls)
        try:
            if self._open_websocket(request, dispatcher):
                request._dispatcher = dispatcher
                dispatcher.transfer_data(request)
        except handshake.AbortedByUserException as error:
            self._logger.info("Aborted: %s", error)

    def _open_websocket(self, request: Any, dispatcher: Any) -> bool:
        """Do the opening handshake, or send a refusal; return whether it succeeded."""
        try:
            handshake.do_handshake(request, dispatcher)
        except handshake.VersionException as error:
            self._logger.info("Handshake failed for version error: %s", error)
            self.send_response(common.HTTP_STATUS_BAD_REQUEST)
            self.send_header(common.SEC_WEBSOCKET_VERSION_HEADER, error.supported_versions)
            self.end_headers()
        except handshake.HandshakeException as error:
            self._logger.info("Handshake failed for error: %s", error)
            self.send_error(error.status)
        else:
            return True
        return False

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        """Log a request that was answered, at level INFO."""
        self._logger.info('"%s" %s %s', self.requestline, code, size)

    def log_error(self, *args: Any) -> None:
        """Log a request that failed, at level WARNING."""
        if self._logger.isEnabledFor(logging.WARNING):
            self._logger.warning("%s - %s", self.address_string(), args[0] % args[1:])

    def is_cgi(self) -> bool:
        """Tell whether the path leads to an executable file under a CGI path."""
        if not hasattr(super(), "is_cgi") or not super().is_cgi() or ".." in self.path:
            return False
        script = self.translate_path(self.path.split("?", 1)[0])
        return Path(script).is_file() and bool(self.is_executable(script))


hide_annotations(globals())

# to find out what a program has replaced
_ORIGINAL: Final = dict(vars(WebSocketRequestHandler))
