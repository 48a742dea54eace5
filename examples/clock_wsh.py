"""Pushes the time to the client: once on connecting, then at every full second.

A handler that only sends does not notice that its client has left until a send fails, which can
take long. So this one does two things at once: a second thread sends, while the handler itself
waits in receive_message(), which returns in the moment the client closes or disappears.
"""

import threading
import time
from datetime import UTC, datetime

from pywebsocket3 import msgutil


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    left = threading.Event()
    # A daemon, because a client that does not read can hold it in a send for ever.
    ticker = threading.Thread(target=send_time, args=(request.ws_stream, left), daemon=True)
    ticker.start()
    try:
        # Nothing is expected from the client but its close. This also answers its pings.
        while request.ws_stream.receive_message() is not None:
            pass
    finally:
        left.set()


def send_time(stream, left):
    """Send the time at every full second until the client has left."""
    try:
        while True:
            stream.send_message(datetime.now(UTC).isoformat(timespec="milliseconds"))
            # Event.wait() instead of time.sleep(): it ends at once when the client leaves.
            if left.wait(1 - time.time() % 1):
                return
    except (msgutil.BadOperationException, msgutil.ConnectionTerminatedException, OSError):
        # The client left just before the send. The receiving side has noticed, or will.
        return
