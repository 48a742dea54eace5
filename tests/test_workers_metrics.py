"""Metrics of several workers, whatever their clients ask for."""

import signal

from conftest import StartServer, WriteHandler
from fastwsh.workers.metric_totals import MetricTotals
from http2_support import Http2Client
from metrics_support import Metrics
from workers_support import WORKERS, kill, next_pid, pids

FAMILY = "fastwsh_handler_errors_total"

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


def test_workers_that_end_at_ever_new_paths_do_not_fill_the_memory():
    totals = MetricTotals()
    totals.update(1, 0, f"# HELP {FAMILY} Errors.\n# TYPE {FAMILY} counter\n")
    for process in range(20):
        paths = [rf"/a\"{process}/{number}" for number in range(200)]
        lines = [f'{FAMILY}{{handler="{path}",phase="transfer"}} 1' for path in paths]
        totals.update(1, 0, "\n".join([*lines, f'{FAMILY}{{handler="/b",phase="open"}} 1']))
        totals.keep(1, 0)
    samples = {
        sample: float(value)
        for sample, _, value in (
            line.rpartition(" ")
            for line in totals.to_text({1: (True, 1)}).splitlines()
            if line.startswith(FAMILY)
        )
    }
    assert len(samples) < 600
    assert sum(samples.values()) == 20 * 201
    assert samples[f'{FAMILY}{{handler="/b",phase="open"}}'] == 20
    assert samples[f'{FAMILY}{{handler="other",phase="transfer"}}'] == 20 * 200 - 499
