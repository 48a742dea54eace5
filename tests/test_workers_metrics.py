"""Metrics of several workers, whatever their clients ask for."""

import signal

from conftest import StartServer, WriteHandler
from http2_support import Http2Client
from metrics_support import Metrics
from workers_support import WORKERS, kill, next_pid, pids

FAILS = """\
web_socket_subpaths = True
def web_socket_do_extra_handshake(request):
    pass
def web_socket_transfer_data(request):
    raise ValueError
"""


def test_a_path_with_a_line_separator_is_one_label(
    start_server: StartServer, write_handler: WriteHandler
):
    write_handler("fails", FAILS)
    server = start_server(*WORKERS, "--metrics-port", "0", "--http2")
    metrics = Metrics(server)
    # it separates lines for Python's `splitlines`, and not in Prometheus' format
    path = "/fails/\u2028"
    with Http2Client(server) as client:
        client.websocket(path).wait_end()
    metrics.wait_for("handler_errors_total", 1, handler=path, phase="transfer")
    # the parent takes the last metrics of each worker that ends
    for number, [pid] in pids(server).items():
        kill(pid, signal.SIGTERM)
        next_pid(server, number, pid)
    metrics.wait_for("handler_errors_total", 1, handler=path, phase="transfer")
