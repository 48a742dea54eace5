"""A compressed message says so, whatever another thread sends meanwhile (RFC 7692 6)."""

import collections

from conftest import BOTH_WAYS, StartServer, WriteHandler
from wire import PING, TEXT

pytestmark = BOTH_WAYS

HANDLER = """
import threading
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    stream = request.ws_stream
    stop = threading.Event()
    def ping():
        while not stop.is_set():
            stream.send_ping(b'')
    pinging = threading.Thread(target=ping)
    pinging.start()
    try:
        for number in range(150):
            # large enough for another thread to run while it is compressed
            stream.send_message(('%d, ' % number) * 30_000)
    finally:
        stop.set()
        pinging.join()
"""


def test_a_ping_in_between_takes_nothing(start_server: StartServer, write_handler: WriteHandler):
    write_handler("mark", HANDLER)
    server = start_server("-w", "handlers")
    with server.connect() as client:
        client.handshake("/mark", [("Sec-WebSocket-Extensions", "permessage-deflate")])
        seen: collections.Counter[tuple[int, int]] = collections.Counter()
        while seen[TEXT, 4] + seen[TEXT, 0] < 150:
            frame = client.read_frame()
            seen[frame.opcode, frame.rsv] += 1
    assert seen[TEXT, 0] == 0
    assert set(seen) <= {(TEXT, 4), (PING, 0), (TEXT, 0)}
