"""The console: sends lines, and shows messages above the prompt."""

import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stderr,
    suppress,
)
from types import FrameType
from typing import Final

from fastwsh.client.commands import CommandError, Ping, parse
from fastwsh.client.connection import ClientConnection
from fastwsh.client.keepalive import Keepalive
from fastwsh.client.speakers import FrameSpeaker, MessageSpeaker, Speaker
from fastwsh.client.status import Status, of_close
from fastwsh.client.terminal import ShownErrors, Terminal, escape
from fastwsh.errors import ConnectionClosed, FastwshError
from fastwsh.output.stdout import OutputError
from fastwsh.process.interrupts import INTERRUPTED

__all__ = ["Console"]

_GOING_AWAY: Final = 1001
_NOT_UTF8: Final = "what was typed is not UTF-8; /binary sends other bytes"
# The longest time in which a thread notices that the connection is over.
_NOTICE_SECONDS: Final = 2.0
_WAKE_SECONDS: Final = 0.05


class Console:
    """Uses a connection until one of both sides ends it. Runs in the main thread.

    Args:
        connection: An open connection.
        raw: Whether to show and send frames.
        binary: Whether lines are sent as binary messages.
        ping_interval: Seconds between pings; None: there are none.

    Raises:
        OutputError: There is no standard output.
    """

    def __init__(
        self,
        connection: ClientConnection,
        *,
        raw: bool,
        binary: bool = False,
        ping_interval: float | None = None,
    ) -> None:
        self._connection = connection
        self._raw = raw
        self._ping_interval = ping_interval
        self._terminal = Terminal()
        self._speaker: Speaker = (
            FrameSpeaker(connection, self._terminal.show)
            if raw
            else MessageSpeaker(connection, self._terminal.show, binary=binary)
        )
        self._closed: ConnectionClosed | None = None
        self._failure: Exception | None = None
        self._ended = threading.Event()
        # The main thread has stopped reading lines.
        self._left = threading.Event()
        # Whether it is reading a line, and whether it has seen an interrupt; only it sets these.
        self._reads = False
        self._is_interrupted = False

    def run(self) -> int:
        """Return the exit status when the connection is over.

        Raises:
            BrokenPipeError: The reader of standard output has gone.
            OutputError: It cannot be written to.
        """
        show = self._terminal.show
        # Without the password that may precede the host.
        place = escape(re.sub(r"//[^/?#]*@", "//", self._connection.url))
        show("#", f"connected to {place}; {self._agreed()}; /help")
        receiver = threading.Thread(target=self._receive, name="fastwsh-receive", daemon=True)
        before = signal.signal(signal.SIGINT, self._interrupted)
        receiver.start()
        self._start_pings()
        try:
            with self._watching_interrupts(), self._showing_errors():
                self._read()
        except KeyboardInterrupt:
            if not self._ended.is_set():
                self._left.set()
                self._connection.close(_GOING_AWAY)
                return INTERRUPTED
        finally:
            self._left.set()
            signal.signal(signal.SIGINT, before)
            self._terminal.close()
        if not self._raw:
            self._connection.close()
        self._connection.disconnect()
        # The receiver notices this at once, and reports how the connection ended.
        self._ended.wait(_NOTICE_SECONDS)
        if self._failure is not None:
            raise self._failure
        closed = self._closed
        if closed is None:
            return Status.FAILED
        show("#", escape(str(closed)))
        return Status.OK if self._speaker.has_closed else of_close(closed)

    def _interrupted(self, _number: int, _frame: FrameType | None) -> None:
        """Raise an interrupt, unless the receiver has sent it too late to be of use."""
        self._is_interrupted = True
        if self._reads or not self._ended.is_set():
            raise KeyboardInterrupt

    def _showing_errors(self) -> AbstractContextManager[object]:
        """Let what is for standard error not be written into the line being typed."""
        if sys.stderr.isatty():
            return redirect_stderr(ShownErrors(self._terminal))
        return nullcontext()

    @contextmanager
    def _watching_interrupts(self) -> Iterator[None]:
        """Let no interrupt be lost: one just before the wait for a line does not end the wait."""
        arrivals, told = socket.socketpair()
        told.setblocking(False)
        before = signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False)
        threading.Thread(
            target=self._repeat_interrupt, args=(arrivals,), name="fastwsh-interrupt", daemon=True
        ).start()
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            told.close()

    def _repeat_interrupt(self, arrivals: socket.socket) -> None:
        """Send an interrupt again until it is seen."""
        with arrivals:
            while (number := arrivals.recv(1)) and number[0] != signal.SIGINT:
                pass
            while number and not (self._left.wait(_WAKE_SECONDS) or self._is_interrupted):
                self._wake()
            # until the other end is closed: Python complains if it cannot write to it
            while arrivals.recv(1):
                pass

    def _start_pings(self) -> None:
        if not self._raw:
            keepalive = Keepalive(
                self._connection, self._ping_interval, lambda text: self._terminal.show("!", text)
            )
            keepalive.start()
        elif self._ping_interval is not None:
            threading.Thread(target=self._ping, name="fastwsh-ping", daemon=True).start()

    def _ping(self) -> None:
        """Send pings as frames, without waiting for pongs."""
        with suppress(ConnectionClosed, OutputError, OSError):
            while not self._ended.wait(self._ping_interval):
                self._speaker.do(Ping(b""))

    def _agreed(self) -> str:
        names = [f"subprotocol {self._connection.subprotocol or 'none'}"]
        if self._connection.is_compressed:
            names.append("permessage-deflate")
        return escape(", ".join(names))

    def _read(self) -> None:
        """Execute lines, until there are no more or the connection is closed."""
        while True:
            try:
                self._reads = True
                if self._ended.is_set():
                    return
                line = self._terminal.read_line()
            except EOFError:
                return
            except UnicodeDecodeError:
                self._terminal.show("!", _NOT_UTF8)
                continue
            finally:
                self._reads = False
            if not line:
                continue
            try:
                self._speaker.do(parse(line, raw=self._raw))
            except ConnectionClosed:
                return
            except UnicodeEncodeError:
                # readline gives bytes that are not UTF-8 as lone surrogates
                self._terminal.show("!", _NOT_UTF8)
            except (CommandError, FastwshError, ValueError) as error:
                self._terminal.show("!", escape(str(error)))

    def _receive(self) -> None:
        try:
            while True:
                self._speaker.receive()
        except ConnectionClosed as closed:
            self._closed = closed
        except (BrokenPipeError, OutputError) as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 (told; the main thread goes on)
            self._terminal.show("!", escape(str(error)))
        self._ended.set()
        # Repeatedly, because a signal just before the wait for a line does not end the wait.
        while not self._left.wait(_WAKE_SECONDS):
            self._wake()

    def _wake(self) -> None:
        """Interrupt the wait for a line."""
        main = threading.main_thread().ident
        if self._reads and main is not None:
            signal.pthread_kill(main, signal.SIGINT)
