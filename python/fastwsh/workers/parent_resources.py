"""What the parent keeps open while workers come and go."""

import argparse
import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass

from fastwsh import metrics
from fastwsh.workers.inspecting import WorkersInspector
from fastwsh.workers.shared_counts import SharedCounts
from fastwsh.workers.sockets import SocketSets

__all__ = ["ParentResources", "opened"]


@dataclass(frozen=True)
class ParentResources:
    """Sockets, ports, memory and a folder, which outlive each worker.

    Attributes:
        sockets: The listening sockets of the workers.
        metrics_port: The port of the metrics.
        inspector: The port of the inspector, or nothing.
        shared_counts: The memory in which workers count connections together.
        private_folder: A folder that only this user can read.
    """

    sockets: SocketSets
    metrics_port: metrics.MetricsPort
    inspector: WorkersInspector
    shared_counts: SharedCounts
    private_folder: str


@contextlib.contextmanager
def opened(options: argparse.Namespace, count: int) -> Iterator[ParentResources]:
    """Open everything, and close it at the end.

    Args:
        options: They say where.
        count: How many workers there are.

    Raises:
        ConfigError: A place cannot be used.
    """
    with contextlib.ExitStack() as stack:
        sockets = SocketSets(options, count)
        stack.callback(sockets.close)
        port = metrics.MetricsPort()
        stack.callback(port.close)
        port.open(options)
        inspector = WorkersInspector(options, count)
        stack.callback(inspector.close)
        shared_counts = SharedCounts(options, count)
        stack.callback(shared_counts.close)
        # not below TMPDIR, whose path may be too long for a socket
        private = stack.enter_context(tempfile.TemporaryDirectory(prefix="fastwsh-", dir="/tmp"))
        yield ParentResources(sockets, port, inspector, shared_counts, private)
