"""The worker's end of the socket between worker and parent.

A line of JSON in either direction is a message. The worker reports its state, as `Notifier` reports
it to a service manager, and answers questions. When the parent's end is closed, the parent has
ended, and the worker ends as well.
"""

import argparse
import json
import logging
import math
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from fastwsh import _core
from fastwsh.output import banner
from fastwsh.workers import module_state
from fastwsh.workers.start_message import StartMessage

if TYPE_CHECKING:
    from fastwsh.server import WebSocketServer

__all__ = ["Channel"]

_LOGGER: Final = logging.getLogger("fastwsh.workers")


class Channel:
    """Speaks with the parent. It has the methods of `Notifier`, and stands for one.

    Args:
        descriptor: The socket.
    """

    is_active = True

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._lines = self._socket.makefile("r", encoding="utf-8")
        self._lock = threading.Lock()
        self._server: WebSocketServer | None = None

    def receive_start_message(self) -> StartMessage:
        """Wait for the settings, which come first.

        Raises:
            EOFError: The parent has ended.
        """
        line = self._lines.readline()
        if not line:
            raise EOFError
        return StartMessage.from_text(json.loads(line)["settings"])

    def start(self, end_seconds: float, folder: str) -> None:
        """Answer questions from now on, in a thread of its own, and end with the parent.

        Args:
            end_seconds: How long this process may need to end when the parent has ended.
            folder: The parent's private folder, for a parent that could not remove it.
        """
        _core.end_with_peer(self._socket.fileno(), end_seconds, folder)
        threading.Thread(target=self._answer, name="fastwsh-worker", daemon=True).start()

    def announce(self, server: "WebSocketServer", options: argparse.Namespace) -> None:
        """Report what the server serves, for the parent's banner."""
        self._server = server
        worker = options.worker
        if worker.number == 1:
            # all have the same handlers, and one warning is enough
            files = [file for _, file in banner.listing(options.dispatcher._handler_suite_map)]
            encoding = options.handler_encoding
            for sentence in module_state.warnings(files, encoding, worker.count):
                _LOGGER.warning("%s", banner.clean(sentence))
        self._send(banner=banner.lines(server, options))

    def failed(self, sentence: str) -> None:
        """Report why this worker cannot start."""
        self._send(failed=sentence)

    def ready(self, status: str) -> None:
        """Report that connections are accepted."""
        self._send(state="ready", status=status)

    def status(self, status: str) -> None:
        """Report a short status for people."""
        self._send(status=status)

    def reloading(self) -> None:
        """Report that the configuration is read again; `ready` follows."""
        self._send(state="reloading")

    def stopping(self, status: str) -> None:
        """Report that the server is about to end."""
        self._send(state="stopping", status=status)

    def beat(self) -> float:
        """Return infinity: the parent asks when it wants to know whether this worker is alive."""
        return math.inf

    def close(self) -> None:
        """Report the last metrics. The socket stays open until the process has ended."""
        if self._server is not None:
            self._send(metrics=self._server.metrics())

    def _answer(self) -> None:
        # an error means that the parent has ended
        with suppress(OSError, ValueError):
            for line in self._lines:
                question = json.loads(line)
                self._send(answer=question["id"], **self._reply(question))

    def _reply(self, question: dict[str, Any]) -> dict[str, Any]:
        server = self._server
        match question["ask"]:
            case "metrics" if server is not None:
                return {"metrics": server.metrics()}
            case "inspect":
                from fastwsh.inspector import answering  # noqa: PLC0415 (few need it)

                return answering.answer(server, question)
            case _:
                return {"is_alone": server is not None and server._lacks_backplane()}

    def _send(self, **message: Any) -> None:
        data = json.dumps(message).encode() + b"\n"
        with self._lock, suppress(OSError):
            self._socket.sendall(data)
