"""One recorded connection, played to a client step by step.

The client's messages are steps that it has to take; the server's messages, pings and close frames,
and an unclean end, are steps that we take. Pings and pongs of the client are none: when they come
is the matter of clocks, and the stream answers them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fastwsh.pywebsocket import common
from fastwsh.testing.clock import monotonic
from fastwsh.testing.connection import Connection
from fastwsh.testing.errors import Disconnected, WaitTimeoutError
from fastwsh.testing.expectation import Message as Data
from fastwsh.testing.expectation import show
from fastwsh.testing.har import CLOSE, PING, PONG, TEXT, Conversation, End, Message
from fastwsh.testing.matching import Mismatch
from fastwsh.testing.recording import DEFAULT_TIMEOUT
from fastwsh.testing.steps import StepFailed

__all__ = ["Player", "ReplayOptions", "Step", "close_frame_of", "steps_of"]


@dataclass(frozen=True)
class Step:
    """A step: a message, or the unclean end."""

    what: Message | End

    @property
    def time(self) -> float:
        """When it was taken, in seconds since 1970."""
        return self.what.time

    @property
    def is_clients(self) -> bool:
        """Whether the client has to take it."""
        if isinstance(self.what, End):
            return self.what.by_client is not False
        return self.what.from_client

    @property
    def is_end(self) -> bool:
        """Whether nothing comes behind it."""
        return isinstance(self.what, End) or self.what.opcode == CLOSE

    @property
    def name(self) -> str:
        """What the side does whose step it is."""
        what = self.what
        if isinstance(what, End):
            return "end the connection" + (" by a reset" if what.was_reset else "")
        if what.opcode == CLOSE:
            code = what.close_code
            return "close" if code is None else f"close with {code}"
        kind = {PING: "a ping with ", PONG: "a pong with "}.get(what.opcode, "")
        return f"send {kind}{show(what.data)}"

    def __str__(self) -> str:
        return f"the {'client' if self.is_clients else 'server'} has to {self.name}"


@dataclass(frozen=True)
class ReplayOptions:
    """How recordings are replayed.

    Attributes:
        mismatch: Compares messages.
        is_strict: Whether the client has to do exactly what it did.
        speed: How many times as fast as recorded; 0: without a pause.
        timeout: Seconds that the client has for a step; None: no limit.
    """

    mismatch: Mismatch
    is_strict: bool = True
    speed: float = 0.0
    timeout: float | None = DEFAULT_TIMEOUT

    def pause(self, seconds: float) -> float:
        """Return how long to wait where so many seconds went by when it was recorded."""
        return max(0.0, seconds) / self.speed if self.speed else 0.0


def steps_of(conversation: Conversation) -> list[Step]:
    """Return the steps of a connection."""
    steps: list[Step] = []
    pings: list[str | bytes] = []
    for message in conversation.messages:
        if message.from_client and message.opcode == PING:
            pings.append(message.data)
        elif message.from_client and message.opcode == PONG:
            pass
        elif message.opcode == PONG and message.data in pings:
            # it answers the pings before as well (RFC 6455 5.5.3)
            del pings[: pings.index(message.data) + 1]
        else:
            steps.append(Step(message))
            if message.opcode == CLOSE:
                return steps
    if conversation.end is not None and conversation.end.by_client is not None:
        steps.append(Step(conversation.end))
    return steps


def close_frame_of(conversation: Conversation) -> Message | None:
    """Return the close frame with which the server answered the client's, if it did."""
    closes = [one for one in conversation.messages if one.opcode == CLOSE]
    if len(closes) > 1 and closes[0].from_client and not closes[1].from_client:
        return closes[1]
    return None


class Player:
    """Plays steps on a connection.

    Args:
        connection: The connection, which is open.
        steps: The steps.
        begun: When the recorded connection was opened.
        manner: How to play.
        note_step: Called with the number of steps that have been taken.
    """

    def __init__(
        self,
        connection: Connection,
        steps: Sequence[Step],
        begun: float,
        manner: ReplayOptions,
        note_step: Callable[[int], object],
    ) -> None:
        self._connection = connection
        self._steps = steps
        self._begun = begun
        self._manner = manner
        self._note_step = note_step
        # what came while a pause was made
        self._early: list[Data] = []
        self._over: Disconnected | None = None

    def play(self) -> None:
        """Play all steps, and wait for the client to close if nobody has.

        Raises:
            StepFailed: The client took another step.
            Exception: The client broke the protocol, or a function that compares failed.
        """
        place = 0
        before = self._begun or (self._steps[0].time if self._steps else 0.0)
        while place < len(self._steps):
            step = self._steps[place]
            pause = self._manner.pause(step.time - before)
            taken = 1
            try:
                if step.is_clients:
                    taken = self._follow(place, pause)
                else:
                    self._pause(pause)
                    self._lead(step)
            except Disconnected as error:
                if not self._manner.is_strict:
                    self._note_step(len(self._steps))
                    return
                raise StepFailed(f"{step}, but {error}") from None
            place += taken
            before = self._steps[place - 1].time
            self._note_step(place)
            if self._connection.is_dropped:
                return
        if not self._steps or not self._steps[-1].is_end:
            self._await_end()

    def _follow(self, place: int, pause: float) -> int:
        """Let the client take its step; return how many it has taken."""
        step = self._steps[place]
        if step.is_end:
            self._expect_end(step, pause)
            return 1
        if self._manner.is_strict:
            self._expect(step, pause)
            return 1
        group = 1
        while place + group < len(self._steps) and self._is_message(place + group):
            group += 1
        self._expect_all(self._steps[place : place + group], pause)
        return group

    def _is_message(self, place: int) -> bool:
        step = self._steps[place]
        return step.is_clients and not step.is_end

    def _expect(self, step: Step, pause: float) -> None:
        message = self._receive(step, pause)
        assert isinstance(step.what, Message)  # noqa: S101 (ends are not expected here)
        if (mismatch := self._manner.mismatch(step.what.data, message)) is not None:
            raise StepFailed(mismatch)

    def _expect_all(self, steps: Sequence[Step], pause: float) -> None:
        """Wait for several messages in any order, and pass over others."""
        missing = list(steps)
        while missing:
            message = self._receive(missing[0], pause)
            for step in missing:
                what = step.what
                if isinstance(what, Message) and not self._manner.mismatch(what.data, message):
                    missing.remove(step)
                    break

    def _expect_end(self, step: Step, pause: float) -> None:
        while True:
            try:
                message = self._receive(step, pause)
            except Disconnected:
                break
            if self._manner.is_strict:
                raise StepFailed(f"{step}, but it sent {show(message)}")
        if not self._manner.is_strict or isinstance(step.what, End):
            return
        got = self._connection.close_code
        wanted = step.what.close_code or common.STATUS_NO_STATUS_RECEIVED
        if got != wanted and not self._connection.is_dropped:
            how = "it ended without a close frame" if got is None else f"it closed with {got}"
            raise StepFailed(f"{step}, but {how}")

    def _receive(self, step: Step, pause: float) -> Data:
        if self._early:
            return self._early.pop(0)
        if self._over is not None:
            raise self._over
        timeout = self._manner.timeout
        try:
            return self._connection.recv(None if timeout is None else timeout + pause)
        except WaitTimeoutError:
            raise StepFailed(f"{step}, but nothing came within {timeout:g} s") from None

    def _await_end(self) -> None:
        while True:
            try:
                message = self._early.pop(0) if self._early else self._connection.recv()
            except Disconnected:
                return
            if self._manner.is_strict:
                raise StepFailed(f"nothing more was to come, but the client sent {show(message)}")

    def _pause(self, seconds: float) -> None:
        """Let time go by; pings that come meanwhile are answered."""
        deadline = monotonic() + seconds
        while self._over is None and (left := deadline - monotonic()) > 0:
            try:
                self._early.append(self._connection.recv(left))
            except WaitTimeoutError:
                return
            except Disconnected as error:
                self._over = error

    def _lead(self, step: Step) -> None:
        if self._over is not None:
            raise self._over
        connection, what = self._connection, step.what
        try:
            if isinstance(what, End):
                connection.reset() if what.was_reset else self._end_sending()
            elif what.opcode == CLOSE:
                connection.send_frame(CLOSE, what.data)
                self._await_answer()
            elif what.opcode in {PING, PONG}:
                connection.send_frame(what.opcode, what.data)
            elif what.opcode == TEXT and isinstance(what.data, bytes):
                # not UTF-8, as it was then
                connection.send_frame(TEXT, what.data)
            else:
                self._send(what)
        except ConnectionError as error:
            raise connection._ended() from error

    def _send(self, message: Message) -> None:
        count = len(message.fragments)
        if count < 2:
            self._connection.send(message.data)
            return
        stream: Any = self._connection.request.ws_stream
        pieces = _split(message.data, message.fragments)
        for number, piece in enumerate(pieces, 1):
            stream.send_message(piece, number == count, not isinstance(piece, str))

    def _end_sending(self) -> None:
        self._connection.half_close()
        self._await_answer()

    def _await_answer(self) -> None:
        """Wait for the client to go as well; what it sent before it knew is of no interest."""
        timeout = self._manner.timeout
        deadline = monotonic() + (DEFAULT_TIMEOUT if timeout is None else timeout)
        while self._over is None:
            try:
                self._connection.recv(max(0.0, deadline - monotonic()))
            except (Disconnected, WaitTimeoutError):
                return


def _split(data: str | bytes, sizes: Sequence[int]) -> list[Any]:
    """Cut a message into as many pieces as it had frames.

    A text is cut between characters, and what was compressed into pieces of the same size.
    """
    whole = data.encode() if isinstance(data, str) else data
    count = len(sizes)
    if sum(sizes) != len(whole):
        sizes = [len(whole) * (n + 1) // count - len(whole) * n // count for n in range(count)]
    cuts, end = [0], 0
    for size in sizes[:-1]:
        end += size
        cuts.append(end)
    cuts.append(len(whole))
    if isinstance(data, bytes):
        return [data[start:stop] for start, stop in pairwise(cuts)]
    characters = [len(whole[:cut].decode(errors="ignore")) for cut in cuts]
    return [data[start:stop] for start, stop in pairwise(characters)]
