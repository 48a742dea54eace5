"""Frames for scripts: sends lines of standard input, and writes received frames as lines."""

import threading
from collections.abc import Callable
from contextlib import suppress

from fastwsh.client.commands import CommandError, Ping, parse
from fastwsh.client.connection import ClientConnection
from fastwsh.client.output import Output
from fastwsh.client.sending import InputError, StdinLines
from fastwsh.client.speakers import FrameSpeaker
from fastwsh.client.status import Status, of_close
from fastwsh.errors import ConnectionClosed
from fastwsh.output.stdout import OutputError

__all__ = ["FrameScript"]


class FrameScript:
    """Executes lines of standard input as frames, and shows the received frames.

    Args:
        connection: An open connection.
        tell: Called with sentences for standard error.
        output: Called with the lines.
        timeout: Seconds to wait for frames after the last line.
        ping_interval: Seconds between pings; their pongs are shown. None: no pings.
    """

    def __init__(
        self,
        connection: ClientConnection,
        tell: Callable[[str], None],
        output: Output,
        *,
        timeout: float,
        ping_interval: float | None = None,
    ) -> None:
        self._connection = connection
        self._tell = tell
        self._timeout = timeout
        self._ping_interval = ping_interval
        self._lines = StdinLines()
        self._speaker = FrameSpeaker(connection, lambda mark, text: output.line(f"{mark} {text}"))
        self._over = threading.Event()
        self._closed: ConnectionClosed | None = None
        self._failure: Exception | None = None

    def run(self) -> int:
        """Return the exit status when the peer has ended the connection or the time is over.

        Raises:
            BrokenPipeError: The reader of standard output has gone.
            OutputError: It cannot be written to.
        """
        threading.Thread(target=self._receive, name="fastwsh-receive", daemon=True).start()
        if self._ping_interval is not None:
            threading.Thread(target=self._ping, name="fastwsh-ping", daemon=True).start()
        status = self._do_lines()
        self._connection.disconnect()
        self._over.wait(self._timeout)
        if self._failure is not None:
            raise self._failure
        closed = self._closed
        if status is Status.OK and closed is not None and closed.received_code is not None:
            return of_close(closed)
        return status

    def _do_lines(self) -> Status:
        try:
            for line in self._lines:
                if line and not self._over.is_set():
                    self._speaker.do(parse(str(line), raw=True))
        except ConnectionClosed:
            return Status.OK
        except (CommandError, InputError, ValueError) as error:
            self._tell(str(error))
            return Status.USAGE
        self._over.wait(self._timeout)
        return Status.OK

    def _receive(self) -> None:
        try:
            while True:
                self._speaker.receive()
        except ConnectionClosed as closed:
            self._closed = closed
        except (BrokenPipeError, OutputError) as error:
            self._failure = error
        finally:
            self._over.set()
            self._lines.stop()

    def _ping(self) -> None:
        with suppress(ConnectionClosed, OutputError, OSError):
            while not self._over.wait(self._ping_interval):
                self._speaker.do(Ping(b""))
