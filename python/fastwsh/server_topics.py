"""The topics of one `WebSocketServer`, for programs that embed it."""

from typing import Any

from fastwsh import topics
from fastwsh._core import Server, Topics

__all__ = ["ServerTopics"]


class ServerTopics:
    """The functions of `fastwsh.topics` as methods of a server; a mixin of `WebSocketServer`.

    They may be called from any thread. Before the server starts and after its end there are no
    subscribers.
    """

    _core: Server | None

    def subscribe(self, request: Any, topic: str) -> None:
        """Have a connection of this server receive what is published to a topic.

        As `topics.subscribe`, which knows a request's server itself.

        Raises:
            ValueError: Also if the connection is one of another server.
        """
        connection = topics.connection_of(request)
        own = self._own_topics() or Topics.of(connection)
        own.subscribe(connection, topic, topics.stream_of(request))

    def unsubscribe(self, request: Any, topic: str) -> None:
        """End a subscription, as `topics.unsubscribe`.

        Raises:
            ValueError: Also if the connection is one of another server.
        """
        connection = topics.connection_of(request)
        own = self._own_topics() or Topics.of(connection)
        own.unsubscribe(connection, topic)

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

    def _own_topics(self) -> Topics | None:
        return None if self._core is None else self._core.topics
