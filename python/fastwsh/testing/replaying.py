"""Recordings on a test server: which connection of a file a client gets, and what came of it."""

import http
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from fastwsh.pywebsocket import common
from fastwsh.pywebsocket.handshake import AbortedByUserException, HandshakeException
from fastwsh.testing.connection import Connection
from fastwsh.testing.errors import ScriptError
from fastwsh.testing.har import REDACTED, Conversation, HarError
from fastwsh.testing.recording import Recorder
from fastwsh.testing.replay_steps import (
    Player,
    ReplayOptions,
    Step,
    close_frame_of,
    steps_of,
)
from fastwsh.testing.steps import StepFailed

__all__ = ["Replay"]

_SERVICE_UNAVAILABLE: Final = http.HTTPStatus.SERVICE_UNAVAILABLE.value
# Written anew for each client, or about the connection that was recorded.
_OWN_HEADERS: Final = frozenset(
    {
        *("connection", "upgrade", "content-length", "transfer-encoding", "keep-alive", "date"),
        *("sec-websocket-accept", "sec-websocket-protocol", "sec-websocket-extensions"),
    }
)


@dataclass
class _Turn:
    """A recorded connection, and how far it has been played."""

    number: int
    conversation: Conversation
    steps: Sequence[Step] = field(default_factory=list)
    is_taken: bool = False
    # an earlier turn of the same connection
    was_taken: bool = False
    place: int = 0
    has_failed: bool = False

    @property
    def is_over(self) -> bool:
        return self.has_failed or self.place >= len(self.steps)


class Replay:
    """The connections of a file, each for one client, in the order in which they come.

    A client gets the first connection that is left of its path and query, or else of its path. If
    the file has none of the path `/`, that stands for all of them.

    Args:
        name: The file, for messages.
        conversations: What it holds.
        recorder: Gets the failures.
        manner: How to play.
        repeats: Whether to begin again when all connections have been played.

    Raises:
        HarError: There is nothing to replay.
    """

    def __init__(
        self,
        name: str,
        conversations: Sequence[Conversation],
        recorder: Recorder,
        manner: ReplayOptions,
        *,
        repeats: bool,
    ) -> None:
        if not conversations:
            raise HarError(f"{name} has no WebSocket connection to replay")
        if not any(one.has_messages for one in conversations):
            raise HarError(
                f"{name} has WebSocket connections, but no list of their messages, as Firefox "
                "exports it; record with python -m fastwsh.record, Chromium or mitmproxy"
            )
        self.name = name
        self._recorder = recorder
        self._manner = manner
        self._repeats = repeats
        self._lock = threading.Lock()
        self._has_failed = False
        self._turns = [
            _Turn(number, one, steps_of(one)) for number, one in enumerate(conversations, 1)
        ]

    @property
    def paths(self) -> list[str]:
        """The paths that are served, each once, in the order of the file."""
        return list(dict.fromkeys(turn.conversation.path for turn in self._turns))

    @property
    def path(self) -> str:
        """The first of these, for a failure of the whole."""
        return self.paths[0]

    def open(self, request: Any) -> None:
        """Answer an opening handshake as the real server did.

        Raises:
            HandshakeException: There is no recorded connection for it.
            AbortedByUserException: It has been answered with a refusal that was recorded.
        """
        turn = self._take(request.ws_resource)
        if turn is None:
            raise self._no_turn(request)
        request._replay_turn = turn
        conversation = turn.conversation
        if not conversation.is_open:
            turn.place = len(turn.steps)
            if conversation.status:
                request.connection.write(_refusal(conversation))
            raise AbortedByUserException(f"refused, as in {self.name}")
        self._choose_subprotocol(request, turn)
        if conversation.response_headers and not conversation.header("Sec-WebSocket-Extensions"):
            request.ws_extension_processors = []
        request.extra_headers += [
            (name, value)
            for name, value in conversation.response_headers
            if name.lower() not in _OWN_HEADERS and value != REDACTED
        ]

    def play(self, connection: Connection) -> None:
        """Play what was recorded; the handler of an open connection."""
        turn: _Turn = connection._request._replay_turn

        def note_step(place: int) -> None:
            turn.place = place
            self._recorder.note_change()

        steps, begun = turn.steps, turn.conversation.started
        player = Player(connection, steps, begun, self._manner, note_step)
        try:
            player.play()
        except StepFailed as failure:
            if not (connection.is_dropped or self._recorder.is_interrupting):
                self._fail(connection, turn, str(failure))
        except Exception as error:
            self._note_failure(turn)
            error.add_note(f"in {self._where(turn)}")
            raise
        finally:
            if connection.is_dropped or self._recorder.is_interrupting:
                # a fault of the test's, or the recorded end
                turn.place = len(steps)
            self._recorder.note_change()

    def passive_close(self, request: Any) -> tuple[int | None, str]:
        """Return code and reason of the answer to the client's close frame."""
        turn: _Turn = request._replay_turn
        answer = close_frame_of(turn.conversation)
        if answer is not None:
            return answer.close_code, answer.close_reason
        code: int | None = request.ws_close_code
        return (None if code == common.STATUS_NO_STATUS_RECEIVED else code), ""

    def _take(self, resource: str) -> _Turn | None:
        path = resource.partition("?")[0]
        everything = path == "/" and "/" not in self.paths
        with self._lock:
            choices = [
                [turn for turn in self._turns if turn.conversation.resource == resource],
                [turn for turn in self._turns if turn.conversation.path == path],
                self._turns if everything else [],
            ]
            for turns in choices:
                for turn in turns:
                    if not turn.is_taken:
                        turn.is_taken = True
                        return turn
            turns = next(filter(None, choices), [])
            if not self._repeats or not turns:
                return None
            # those that are under way have turns of their own
            again = {
                one.number: _Turn(one.number, one.conversation, one.steps, was_taken=True)
                for one in turns
            }
            self._turns = [again.get(turn.number, turn) for turn in self._turns]
            first = again[turns[0].number]
            first.is_taken = True
            return first

    def _no_turn(self, request: Any) -> HandshakeException:
        resource = request.ws_resource
        path = resource.partition("?")[0]
        count = sum(turn.conversation.path == path for turn in self._turns)
        if count or path == "/":
            count = count or len(self._turns)
            have = f"{count} connection{'s' if count > 1 else ''}"
            why = f"a client came to {resource} once more; the recording has {have} for it"
            status = _SERVICE_UNAVAILABLE
        else:
            why = f"a client came to {resource}; the recording has {', '.join(self.paths)}"
            status = common.HTTP_STATUS_NOT_FOUND
        error = ScriptError(f"replay of {self.name}: {why}")
        self._recorder.note_error(path, error, str(error))
        return HandshakeException(str(error), status)

    def _choose_subprotocol(self, request: Any, turn: _Turn) -> None:
        offered = request.ws_requested_protocols or []
        chosen = turn.conversation.subprotocol
        if chosen is None or chosen == REDACTED:
            # a server need not choose one
            request.ws_requested_protocols = None
            return
        if chosen in offered:
            request.ws_protocol = chosen
            return
        if not self._manner.is_strict:
            request.ws_requested_protocols = None
            return
        self._note_failure(turn)
        offer = f"offers {', '.join(offered)}" if offered else "offers none"
        error = ScriptError(
            f"replay of {self.name}: {self._where(turn)}: the subprotocol is {chosen}, and the "
            f"client {offer}"
        )
        self._recorder.note_error(turn.conversation.path, error, str(error))
        raise HandshakeException(str(error), common.HTTP_STATUS_BAD_REQUEST)

    def _fail(self, connection: Connection, turn: _Turn, text: str) -> None:
        self._note_failure(turn)
        where = self._where(turn)
        error = ScriptError(f"replay of {self.name}: {where}: {text}")
        self._recorder.note_error(connection.path, error, str(error))
        step = f"step {turn.place + 1} of {len(turn.steps)}"
        connection.close(common.STATUS_INTERNAL_ENDPOINT_ERROR, f"the replay failed: {step}")

    def _note_failure(self, turn: _Turn) -> None:
        turn.has_failed = self._has_failed = True

    def _where(self, turn: _Turn) -> str:
        count, place = len(turn.steps), turn.place
        step = f"after step {count}, the last" if place >= count else f"step {place + 1} of {count}"
        return f"connection {turn.number} of {len(self._turns)} ({turn.conversation.path}), {step}"

    @property
    def is_settled(self) -> bool:
        """Whether no connection has steps before it."""
        return all(turn.is_over for turn in self._turns if turn.is_taken)

    @property
    def is_over(self) -> bool:
        """Whether all connections have been played."""
        return all(turn.is_taken and turn.is_over for turn in self._turns)

    def unfinished(self) -> ScriptError | None:
        """Say what has not been played; None if all was, or a failure has been recorded."""
        if not self._manner.is_strict or self._has_failed:
            return None
        for turn in self._turns:
            if not (turn.is_taken or turn.was_taken):
                return ScriptError(
                    f"replay of {self.name}: no client came for connection {turn.number} of "
                    f"{len(self._turns)} ({turn.conversation.path}); leave connections out with "
                    "path=, or do not be strict"
                )
            if turn.is_taken and not turn.is_over:
                step = turn.steps[turn.place]
                return ScriptError(
                    f"replay of {self.name}: {self._where(turn)} is still to come: {step}"
                )
        return None


def _refusal(conversation: Conversation) -> bytes:
    """Return the answer that refused, as bytes."""
    head = [f"HTTP/1.1 {conversation.status} {conversation.status_text}"]
    head += [
        f"{name}: {value}"
        for name, value in conversation.response_headers
        if name.lower() not in _OWN_HEADERS and value != REDACTED
    ]
    head += [f"Content-Length: {len(conversation.body)}", "Connection: close"]
    return "\r\n".join([*head, "", ""]).encode("latin-1", "replace") + conversation.body
