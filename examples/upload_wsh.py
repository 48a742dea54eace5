"""Takes large files in pieces, reports the progress, and ends with their SHA-256.

The client announces a file in a text message and sends its bytes in binary messages of any size:

    -> {"name": "photo.jpg", "size": 1000000}
    <- {"received": 0, "size": 1000000}
    -> 262144 bytes, 262144 bytes, ...
    <- {"received": 262144, "size": 1000000}, ...
    <- {"received": 1000000, "size": 1000000, "name": "photo.jpg", "sha256": "..."}

Then it may announce the next file. In pieces, so that neither side has to hold the whole file in
memory, and so that there is something to report. The file is not kept: see receive_file().
"""

import hashlib
import json

from pywebsocket3 import common

MAX_FILE_BYTES = 4 * 1024 * 1024 * 1024
PROGRESS_REPORTS = 100


class UploadError(Exception):
    """The client did not keep to the protocol above."""

    def __init__(self, code, reason):
        super().__init__(reason)
        self.code = code
        self.reason = reason


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    stream = request.ws_stream
    try:
        while True:
            message = stream.receive_message()
            if message is None:
                return
            name, size = parse_announcement(message)
            sha256 = receive_file(stream, size)
            if sha256 is None:
                return
            send(stream, received=size, size=size, name=name, sha256=sha256)
    except UploadError as error:
        stream.close_connection(error.code, error.reason)


def parse_announcement(message):
    """Return (name, size) from the message that announces a file."""
    if isinstance(message, bytes):
        raise UploadError(common.STATUS_UNSUPPORTED_DATA, "announce the file before its bytes")
    try:
        announcement = json.loads(message)
        name, size = announcement["name"], announcement["size"]
    except (ValueError, KeyError, TypeError):
        raise UploadError(
            common.STATUS_POLICY_VIOLATION, "announce name and size as JSON"
        ) from None
    # bool is a kind of int, and true is not a size.
    if not isinstance(name, str) or not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise UploadError(common.STATUS_POLICY_VIOLATION, "name must be a text, size a number")
    if size > MAX_FILE_BYTES:
        raise UploadError(common.STATUS_MESSAGE_TOO_BIG, f"files may have {MAX_FILE_BYTES} bytes")
    return name, size


def receive_file(stream, size):
    """Receive `size` bytes and return their SHA-256, or None if the client left before the end.

    To keep the file, write each piece to one that you opened under a name of your own: the name
    that the client gave may be "../../etc/passwd".
    """
    digest = hashlib.sha256()
    received = 0
    # A report for each piece would be a flood if the pieces are tiny.
    step = max(size // PROGRESS_REPORTS, 1)
    next_report = step
    send(stream, received=0, size=size)
    while received < size:
        piece = stream.receive_message()
        if piece is None:
            return None
        if isinstance(piece, str):
            raise UploadError(common.STATUS_UNSUPPORTED_DATA, "a file comes in binary messages")
        received += len(piece)
        if received > size:
            raise UploadError(common.STATUS_POLICY_VIOLATION, "more bytes than announced")
        digest.update(piece)
        if next_report <= received < size:
            send(stream, received=received, size=size)
            next_report = received + step
    return digest.hexdigest()


def send(stream, **fields):
    """Send a JSON object."""
    stream.send_message(json.dumps(fields))
