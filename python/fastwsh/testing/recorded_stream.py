"""`request.ws_stream` of handlers that block their thread: it records, and keeps the pace."""

from typing import Any

from fastwsh.pywebsocket.stream import Stream
from fastwsh.testing.expectation import Message
from fastwsh.testing.recorded import RecordedConnection

__all__ = ["RecordingStream"]


class RecordingStream(Stream):
    """`request.ws_stream` of every handler of the test server: it records, and keeps the pace."""

    def __init__(self, request: Any, options: Any, connection: RecordedConnection) -> None:
        super().__init__(request, options)
        self._recorded = connection
        self._is_fragmented = False

    def receive_message(self) -> Message | None:
        """Receive as any stream, and record the message."""
        self._recorded.pace.wait_until_reading()
        message = super().receive_message()
        self._recorded.pace.wait_until_reading()
        self._recorded.note_received(message)
        return message

    def send_message(self, message: Any, end: bool = True, binary: bool = False) -> None:
        """Send as any stream, at the connection's pace."""
        connection = self._recorded
        is_whole = end and not self._is_fragmented
        if is_whole and connection.is_throttled:
            connection.write_message(message, binary)
        else:
            super().send_message(message, end, binary)
        self._is_fragmented = not end
        connection.sent.append(message)
