"""What a worker is told when it starts: its options, its sockets, and which one it is."""

import argparse
import base64
import os
import pickle
import socket
import sys
from dataclasses import dataclass, field
from typing import Any, TextIO

from fastwsh.listening.listeners import AddressInfo

__all__ = ["StartMessage", "WorkerSettings"]


@dataclass
class WorkerSettings:
    """What concerns one worker only: `options.worker`.

    Attributes:
        number: From 1.
        count: How many workers there are.
        descriptors: Its listening sockets.
        metrics_urls: Where the parent answers for all.
        log_descriptor: The pipe for log lines, which the parent writes.
        near: The Unix socket for topics between the workers; "" if the backplane is all they need.
        private_folder: The folder of the parent's own socket for topics.
        group: How the names of the workers begin among all servers.
        shared_counts: For the native server: where connections are counted together.
        inspect: For the native server: what it keeps for the inspector, see `_core.Server`.
        sockets: The sockets, in the worker.
        log: The pipe, in the worker.
    """

    number: int
    count: int
    descriptors: list[tuple[int, AddressInfo]]
    metrics_urls: list[str]
    log_descriptor: int
    near: str
    private_folder: str
    group: str
    shared_counts: tuple[int, int, int] | None = None
    inspect: tuple[int, int, int] | None = None
    sockets: list[tuple[socket.socket, AddressInfo]] = field(default_factory=list)
    log: TextIO = sys.stderr

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what only one process has."""
        return {**vars(self), "sockets": [], "log": None}

    def take_over(self) -> None:
        """Make objects of the inherited descriptors, which this process does not pass on."""
        for number, info in self.descriptors:
            listener = socket.socket(fileno=number)
            listener.set_inheritable(False)
            self.sockets.append((listener, info))
        os.set_inheritable(self.log_descriptor, False)
        self.log = os.fdopen(self.log_descriptor, "w", encoding="utf-8")
        if self.shared_counts is not None:
            os.set_inheritable(self.shared_counts[0], False)


@dataclass(frozen=True)
class StartMessage:
    """Everything that a worker is told.

    They are passed by the channel and not by the command line: options contain passwords, and a
    successor must not depend on files that have changed since the start.

    Attributes:
        options: With `worker`.
        folder: The document root.
        path: `sys.path`.
        arguments: `sys.argv`.
    """

    options: argparse.Namespace
    folder: str
    path: list[str]
    arguments: list[str]

    def to_text(self) -> str:
        """Return the message as one line of ASCII."""
        return base64.b64encode(pickle.dumps(self)).decode("ascii")

    @staticmethod
    def from_text(text: str) -> "StartMessage":
        """Return the message that `to_text` has made; only for what the parent has sent."""
        message: StartMessage = pickle.loads(base64.b64decode(text))  # noqa: S301 (the parent's)
        return message
