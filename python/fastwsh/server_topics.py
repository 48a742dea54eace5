"""The topics of one `WebSocketServer`, for programs that embed it."""

from __future__ import annotations

from fastwsh import _core, topics
from fastwsh._core import Connection, Server, Topics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastwsh.backplane.bridge import Bridge

__all__ = ["DelegatedTopics", "ServerTopics"]


class ServerTopics:
    """The functions of `fastwsh.topics` as methods of a server; a mixin of `WebSocketServer`.

    They may be called from any thread. Before the server starts and after its end there are no
    subscribers.
    """

    websocket_server_options: Any
    _core: Server | None
    _bridge: Bridge | None = None
    # in a process that was forked from the server's
    _left_topics: Topics | None = None

    def subscribe(self, request: Any, topic: str) -> None:
        """Have a connection of this server receive what is published to a topic.

        As `topics.subscribe`, which knows a request's server itself.

        Raises:
            ValueError: Also if the connection is one of another server.
        """
        connection = topics.connection_of(request)
        self._topics_for(connection).subscribe(connection, topic, topics.stream_of(request))

    def unsubscribe(self, request: Any, topic: str) -> None:
        """End a subscription, as `topics.unsubscribe`.

        Raises:
            ValueError: Also if the connection is one of another server.
        """
        connection = topics.connection_of(request)
        self._topics_for(connection).unsubscribe(connection, topic)

    def publish(
        self,
        topic: str,
        message: str | bytes | bytearray | memoryview,
        *,
        binary: bool | None = None,
        exclude: Any = None,
    ) -> int:
        """Send a message to all subscribers of a topic at this server, as `topics.publish`."""
        own = self._own_topics()
        excluded = topics.connections_of(exclude)
        return 0 if own is None else own.publish(topic, message, binary, excluded)

    def subscribers(self, topic: str) -> int:
        """Return the number of this server's connections that a message would reach now."""
        own = self._own_topics()
        return 0 if own is None else own.subscribers(topic)

    def _begin_topics(self, core: Server) -> None:
        """Let the process publish to this server, and this server to others."""
        topics.note_running(core)
        url = getattr(self.websocket_server_options, "backplane", None)
        if url:
            import secrets  # noqa: PLC0415 (few need it)

            from fastwsh.backplane.bridge import Bridge  # noqa: PLC0415 (imports asyncio)

            worker = getattr(self.websocket_server_options, "worker", None)
            near, group = (worker.near, worker.group) if worker else ("", "")
            outgoing = _core.BackplaneQueue(core.topics, group + secrets.token_hex(8))
            self._bridge = Bridge(url, outgoing, topics.tell_gap, near=near, group=group)

    def _end_topics(self, core: Server) -> None:
        topics.note_stopped(core)
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            bridge.stop()

    def _lacks_backplane(self) -> bool:
        """Tell whether other servers cannot be reached, although they should be."""
        return self._bridge is not None and not self._bridge.is_connected

    def _leave_topics(self) -> None:
        """Leave them to the parent process; called after a fork."""
        if self._core is not None:
            self._left_topics = self._core.topics
            topics.leave_behind(self._core)
        self._bridge = None

    def _topics_for(self, connection: Connection) -> Topics:
        known = Topics.of(connection)
        # a server that does not run has no topics that could tell
        if connection.server is not self:
            raise ValueError("the request belongs to a connection of another server")
        return self._own_topics() or known

    def _own_topics(self) -> Topics | None:
        return self._left_topics if self._core is None else self._core.topics


class DelegatedTopics:
    """The same for an object that has a `WebSocketServer`, in `_server`."""

    _server: Any

    def subscribe(self, request: Any, topic: str) -> None:
        """Have a connection receive what is published to a topic: `WebSocketServer.subscribe`."""
        ServerTopics.subscribe(self._server, request, topic)

    def unsubscribe(self, request: Any, topic: str) -> None:
        """End a subscription, as `WebSocketServer.unsubscribe`."""
        ServerTopics.unsubscribe(self._server, request, topic)

    def publish(
        self,
        topic: str,
        message: str | bytes | bytearray | memoryview,
        *,
        binary: bool | None = None,
        exclude: Any = None,
    ) -> int:
        """Send a message to all subscribers of a topic at this server, as `topics.publish`."""
        return ServerTopics.publish(self._server, topic, message, binary=binary, exclude=exclude)

    def subscribers(self, topic: str) -> int:
        """Return the number of this server's connections that a message would reach now."""
        return ServerTopics.subscribers(self._server, topic)
