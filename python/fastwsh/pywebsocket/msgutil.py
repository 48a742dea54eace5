"""Messages of a connection, as functions of its request and as threads that move them.

The functions do what the methods of `request.ws_stream` do, and raise what those raise.
"""

from __future__ import annotations

import queue
import threading

from fastwsh.pywebsocket._signatures import hide_annotations
from fastwsh.pywebsocket._stream_exceptions import (
    BadOperationException,
    ConnectionTerminatedException,
    InvalidFrameException,
    UnsupportedFrameException,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "BadOperationException",
    "ConnectionTerminatedException",
    "InvalidFrameException",
    "MessageReceiver",
    "MessageSender",
    "UnsupportedFrameException",
    "close_connection",
    "receive_message",
    "send_message",
    "send_ping",
]


def close_connection(request: Any) -> None:
    """Send a close frame with status 1000, and wait for the peer's."""
    request.ws_stream.close_connection()


def send_message(request: Any, payload_data: Any, end: bool = True, binary: bool = False) -> None:
    """Send a message, or a piece of one.

    Args:
        request: The request of the connection.
        payload_data: Text, or bytes if `binary` is true.
        end: Whether this is the message's last piece.
        binary: Whether to send a binary message.

    Raises:
        BadOperationException: Our close frame was sent before, or `payload_data` is text and
            `binary` is true.
    """
    request.ws_stream.send_message(payload_data, end, binary)


def receive_message(request: Any) -> Any:
    """Wait for a message; answer pings meanwhile.

    Returns:
        Text, or bytes for a binary message, or None once, when the peer closes the connection.

    Raises:
        ConnectionTerminatedException: The connection ended without a closing handshake.
        InvalidFrameException: The peer broke the protocol.
        UnsupportedFrameException: The peer used a reserved bit or opcode.
        InvalidUTF8Exception: A text message is not UTF-8.
        BadOperationException: The peer's close frame was received before.
    """
    return request.ws_stream.receive_message()


def send_ping(request: Any, body: Any) -> None:
    """Send a ping with a body of up to 125 bytes."""
    request.ws_stream.send_ping(body)


def _write(request: Any, data: bytes) -> None:
    """Write raw bytes, as in pywebsocket 0.5, which had no `request.connection.write`."""
    request.connection.write(data)


class MessageReceiver(threading.Thread):
    """A daemon thread, started at once, that receives the messages of a connection.

    It ends when the peer closes, when `stop` was called and another message came, or when receiving
    fails; then it closes the connection from this side as well.

    Args:
        request: The request of the connection.
        onmessage: Called in the thread with each message, and with None when the peer closes.
            `receive` and `receive_nowait` get nothing then.
    """

    def __init__(self, request: Any, onmessage: Callable[[Any], object] | None = None) -> None:
        super().__init__(daemon=True)
        self._request = request
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._onmessage = onmessage
        self._stop_requested = False
        self.start()

    def run(self) -> None:
        """Receive until the end; runs in the thread."""
        deliver = self._onmessage or self._queue.put
        try:
            while not self._stop_requested:
                message = receive_message(self._request)
                deliver(message)
                if message is None:
                    return
        finally:
            # A thread that waits in receive() must notice that no message comes any more.
            self._queue.put(None)
            close_connection(self._request)

    def receive(self) -> Any:
        """Wait for a message; None means that there are no more."""
        return self._queue.get()

    def receive_nowait(self) -> Any:
        """Return a message if one is waiting, else None."""
        try:
            return self._queue.get_nowait()
        except queue.Empty:
            return None

    def stop(self) -> None:
        """Ask the thread to end; it does so after the message that it is waiting for."""
        self._stop_requested = True


class _Outgoing:
    """A message in a `MessageSender`, and the result of sending it."""

    def __init__(self, message: Any) -> None:
        self.message = message
        self.error: BaseException | None = None
        self.done = threading.Event()


class MessageSender(threading.Thread):
    """A daemon thread, started at once, that sends messages on a connection in order.

    It ends with the first message that cannot be sent; `send` raises from then on.

    Args:
        request: The request of the connection.
    """

    def __init__(self, request: Any) -> None:
        super().__init__(daemon=True)
        self._request = request
        self._queue: queue.SimpleQueue[_Outgoing] = queue.SimpleQueue()
        self._lock = threading.Lock()
        # The exception that ended the thread. Guarded by _lock; once it is set, nothing is queued.
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        """Send until sending fails; runs in the thread."""
        while True:
            outgoing = self._queue.get()
            try:
                send_message(self._request, outgoing.message)
            except BaseException as error:
                self._give_up(outgoing, error)
                raise
            outgoing.done.set()

    def send(self, message: Any) -> None:
        """Send a text message, and wait until it was sent.

        Raises:
            BadOperationException: It was not sent; the cause says why.
        """
        outgoing = self._enqueue(message)
        outgoing.done.wait()
        if outgoing.error is not None:
            raise BadOperationException(f"message not sent: {outgoing.error}") from outgoing.error

    def send_nowait(self, message: Any) -> None:
        """Send a text message after those that wait already; do not wait."""
        self._enqueue(message)

    def _enqueue(self, message: Any) -> _Outgoing:
        outgoing = _Outgoing(message)
        with self._lock:
            if self._error is None:
                self._queue.put(outgoing)
            else:
                outgoing.error = self._error
                outgoing.done.set()
        return outgoing

    def _give_up(self, outgoing: _Outgoing, error: BaseException) -> None:
        with self._lock:
            self._error = error
            waiting = [outgoing]
            while not self._queue.empty():
                waiting.append(self._queue.get())
        for item in waiting:
            item.error = error
            item.done.set()


hide_annotations(globals())
