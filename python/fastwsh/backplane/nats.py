"""NATS: one subject for each topic, `fastwsh.` and the topic's name, escaped as in a URL."""

import asyncio
import contextlib
import urllib.parse
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import NoServersError

if TYPE_CHECKING:
    from nats.aio.subscription import Subscription

__all__ = ["NatsEngine", "subject_of"]

_PREFIX: Final = "fastwsh."
_CONNECT_SECONDS: Final = 5
_PING_SECONDS: Final = 5
# Messages that wait for us, which takes each of them at once.
_PENDING_MESSAGES: Final = 1 << 16


def subject_of(topic: str) -> str:
    """Return the subject of a topic: one word, without the signs that mean something to NATS."""
    return _PREFIX + urllib.parse.quote(topic, safe="").replace(".", "%2E")


class NatsEngine:
    """See `Engine`.

    Args:
        url: nats:// or tls://.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        user, password = (
            None if text is None else urllib.parse.unquote(text)
            for text in (parts.username, parts.password)
        )
        # nats-py would take the signs of a URL for the password's own; what stands alone is a token
        self._login: dict[str, Any] = {"user": user, "password": password}
        if password is None:
            self._login = {"token": user}
        self._url = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        self._client: Client | None = None
        self._subscriptions: dict[str, Subscription] = {}
        self._received: asyncio.Queue[tuple[str, bytes] | None] = asyncio.Queue(_PENDING_MESSAGES)
        self._failure: Exception | None = None

    @property
    def max_bytes(self) -> int:
        """What the server says; 1 MiB by its default."""
        return self._connected().max_payload

    async def connect(self) -> None:
        """Connect, and log in."""
        # one that cannot log in has to be closed as well
        self._client = Client()
        try:
            await self._client.connect(
                self._url,
                allow_reconnect=False,
                # with 0 it would try without end
                max_reconnect_attempts=1,
                reconnect_time_wait=0,
                connect_timeout=_CONNECT_SECONDS,
                ping_interval=_PING_SECONDS,
                max_outstanding_pings=1,
                no_echo=True,
                error_cb=self._note_error,
                closed_cb=self._note_closed,
                disconnected_cb=self._note_closed,
                name="fastwsh",
                **self._login,
            )
        except NoServersError:
            # the error of the attempt says more
            if self._failure is None:
                raise
            raise self._failure from None

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the topics' subjects."""
        client = self._connected()
        for topic in topics:
            if topic not in self._subscriptions:
                subscription = await client.subscribe(subject_of(topic), cb=self._taker(topic))
                self._subscriptions[topic] = subscription
        await client.flush()

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """End the subscriptions."""
        for topic in topics:
            subscription = self._subscriptions.pop(topic, None)
            if subscription is not None:
                await subscription.unsubscribe()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish, and wait until the server has taken all."""
        client = self._connected()
        for topic, data in messages:
            await client.publish(subject_of(topic), data)
        await client.flush(_CONNECT_SECONDS)

    async def receive(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield messages until the connection is lost."""
        while self._failure is None:
            message = await self._received.get()
            if message is not None:
                yield message
        raise self._failure

    async def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            with contextlib.suppress(Exception):
                await asyncio.wait_for(self._client.close(), _CONNECT_SECONDS)
            # a transport that was closed ends in the loop's next turn
            await asyncio.sleep(0)

    def _connected(self) -> Client:
        if self._client is None:
            raise ConnectionError("not connected")
        return self._client

    def _taker(self, topic: str) -> Any:
        async def take(message: Msg) -> None:
            await self._received.put((topic, message.data))

        return take

    async def _note_error(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._wake()

    async def _note_closed(self) -> None:
        await self._note_error(ConnectionError("the server has closed the connection"))

    def _wake(self) -> None:
        # a queue that is full wakes anyway
        with contextlib.suppress(asyncio.QueueFull):
            self._received.put_nowait(None)
