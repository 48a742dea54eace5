"""Topics: what is published once reaches every connection that has subscribed to its topic.

    from fastwsh import topics

    def web_socket_transfer_data(request):
        topics.subscribe(request, "room/1")
        while (text := request.ws_stream.receive_message()) is not None:
            topics.publish("room/1", text, exclude=request)

All functions may be called in handlers that are functions, in coroutines, and in any thread. None
of them waits for a client. Messages are sent natively, while the handlers of the subscribers wait
or compute; a message never stands inside one that a handler sends in fragments. It arrives at most
once, and messages of one publisher to one topic arrive in their order.

A connection for which more than `--topic-queue-bytes` wait is treated as `--slow-subscriber` says.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
from collections.abc import Callable, Iterable

from fastwsh import _core

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

__all__ = ["on_gap", "publish", "subscribe", "subscribers", "unsubscribe"]

# The topics of the server whose handler runs, unless that runs in the hub; None for no server.
_HERE: Final[contextvars.ContextVar[_core.Topics | None]] = contextvars.ContextVar("topics")

_LOGGER: Final = logging.getLogger("fastwsh.server")

_gap_functions: Final[list[Callable[[str, int], object]]] = []

# All servers of this process that run.
_running: list[_core.Server] = []

# In a process that was forked from theirs: the topics of those that run there.
_left_behind: Final[list[_core.Topics]] = []


def subscribe(request: object, topic: str) -> None:
    """Have a connection receive what is published to a topic from now on, until it ends.

    In the extra handshake this takes effect when the handshake is done. To subscribe again changes
    nothing.

    Args:
        request: The handler's argument.
        topic: Any text, of 1 to 255 bytes in UTF-8.

    Raises:
        TypeError: `request` is no request of a server, or `topic` no str.
        ValueError: `topic` is empty or too long.
        OSError: The system has no thread for sending.
    """
    connection = connection_of(request)
    _core.Topics.of(connection).subscribe(connection, topic, stream_of(request))


def unsubscribe(request: object, topic: str) -> None:
    """End a subscription, if there is one. What was published before may still arrive.

    Raises:
        TypeError: `request` is no request of a server, or `topic` no str.
        ValueError: `topic` is empty or too long.
    """
    connection = connection_of(request)
    _core.Topics.of(connection).unsubscribe(connection, topic)


def publish(
    topic: str,
    message: str | bytes | bytearray | memoryview,
    *,
    binary: bool | None = None,
    exclude: object = None,
) -> int:
    """Send a message to all subscribers of a topic. Does not wait for any of them.

    A handler publishes to the subscribers of its server. Code elsewhere, also in threads that a
    handler starts, publishes to those of every server that runs in this process, which is usually
    one. `WebSocketServer.publish` chooses the server.

    Args:
        topic: Any text, of 1 to 255 bytes in UTF-8.
        message: A str is sent as text, bytes as a binary message.
        binary: False to send bytes as text, which must be UTF-8.
        exclude: A request, or several of them, whose connections do not get the message.

    Returns:
        To how many connections the message was handed.

    Raises:
        TypeError: An argument is of the wrong type.
        ValueError: `topic` is empty or too long, or the message is longer than
            `--topic-queue-bytes` or no UTF-8.
        RuntimeError: This process was forked from the server's, which has the connections.
    """
    excluded = connections_of(exclude)
    return sum(here.publish(topic, message, binary, excluded) for here in _reached())


def subscribers(topic: str) -> int:
    """Return the number of connections that get what is published to a topic now.

    This is a number, because a list of subscribers might be out of date before the caller reads it;
    a handler that must know names keeps its own list. Servers are chosen as by `publish`.

    Raises:
        TypeError: `topic` is no str.
        ValueError: `topic` is empty or too long.
    """
    return sum(here.subscribers(topic) for here in _reached())


def on_gap(function: Callable[[str, int], object]) -> Callable[[], None]:
    """Have a function called when messages of another server have not arrived here.

    That happens when the backplane was away, or could not keep up (`--backplane`). A missing
    message is noticed when the next one of its publisher arrives, so the loss of the last one is
    not noticed.

    Args:
        function: Called with the topic and the number of messages, in a thread of its own for all
            of these calls. Its exceptions are logged.

    Returns:
        A function that ends this.
    """
    _gap_functions.append(function)

    def end() -> None:
        with contextlib.suppress(ValueError):
            _gap_functions.remove(function)

    return end


def tell_gap(topic: str, missed: int) -> None:
    """Call the functions of `on_gap`."""
    for function in _gap_functions:
        try:
            function(topic, missed)
        except Exception:
            _LOGGER.exception("A function of topics.on_gap failed")


def _reached() -> list[_core.Topics]:
    try:
        here = _HERE.get()
    except LookupError:
        here = _core.Topics.here()
    if here is not None:
        return [here]
    # those that were left behind say why they cannot be reached
    return [server.topics for server in _running] or _left_behind


def connection_of(request: Any) -> _core.Connection:
    """Return the native connection of a request; raises TypeError if it is no request."""
    connection = getattr(request, "connection", None)
    if not isinstance(connection, _core.Connection):
        raise TypeError(f"the argument of a handler is wanted, not {type(request).__name__}")
    return connection


def stream_of(request: Any) -> Any:
    """Return the native stream of a request, if it has one by now."""
    stream = vars(request).get("ws_stream")
    return stream.blocking if isinstance(stream, _core.AsyncStream) else stream


def connections_of(requests: Any) -> list[_core.Connection]:
    """Return the native connections of a request, of several, or of none."""
    if requests is None:
        return []
    if isinstance(requests, Iterable) and not hasattr(requests, "connection"):
        return [connection_of(request) for request in requests]
    return [connection_of(requests)]


def enter(connection: _core.Connection) -> None:
    """Let the handler that runs in this context reach the topics of its server."""
    # The hub knows which handler runs. Without a variable its handlers need no context of their
    # own, which would take memory and be exchanged at each switch.
    if _core.Topics.here() is None:
        _HERE.set(_core.Topics.of(connection))


def note_running(server: _core.Server) -> None:
    """Have code outside of handlers reach a server's topics."""
    global _running  # noqa: PLW0603 (replaced, not changed: other threads go through it)
    _running = [*_running, server]


def leave_behind(server: _core.Server) -> None:
    """Note that this process was forked from the one in which a server runs."""
    note_stopped(server)
    _left_behind.append(server.topics)
    # a server that this process starts is reached from where it was forked, too
    _HERE.set(None)


def note_stopped(server: _core.Server) -> None:
    """Undo `note_running`."""
    global _running  # noqa: PLW0603
    _running = [known for known in _running if known is not server]
