"""Stand-ins for a connection and a request, in plain Python, as embedding programs make them."""

from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.stream import Stream, StreamOptions

MASK_KEY = b"\x37\xfa\x21\x3d"


def mask(payload):
    """Return the masking key and the payload masked with it, as a client sends them."""
    return MASK_KEY + bytes(
        byte ^ MASK_KEY[index % len(MASK_KEY)] for index, byte in enumerate(payload)
    )


def client_frame(first_byte, payload=b""):
    """Return a masked frame of up to 125 bytes."""
    return bytes([first_byte, 0x80 | len(payload)]) + mask(payload)


class Connection:
    """Reads from the given bytes and remembers what was written."""

    remote_addr = ("192.0.2.1", 4711)

    def __init__(self, incoming=b""):
        self._incoming = incoming
        self.written = b""

    def read(self, length):
        data, self._incoming = self._incoming[:length], self._incoming[length:]
        return data

    def write(self, data):
        self.written += data


class Request:
    """A request that has what a handshake asks for, and nothing else."""

    method = "GET"
    protocol = "HTTP/1.1"

    def __init__(self, headers=None, uri="/echo", incoming=b""):
        self.uri = uri
        self.headers_in = GOOD_HEADERS if headers is None else headers
        self.connection = Connection(incoming)

    def is_https(self):
        return False


# The key and its answer are those of RFC 6455 1.3.
GOOD_HEADERS = {
    "Host": "server.example.com",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def open_request(incoming=b"", options=None):
    """Return a request whose connection is open, with a stream that reads `incoming`."""
    request = Request(incoming=incoming)
    request.ws_resource = request.uri
    request.ws_version = common.VERSION_HYBI_LATEST
    request.ws_close_code = None
    request.ws_close_reason = None
    request.ws_stream = Stream(request, options or StreamOptions())
    return request
