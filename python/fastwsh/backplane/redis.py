"""Redis and Valkey: one channel for each topic, `fastwsh:` and the topic's name.

`?cluster=1` in the URL stands for a cluster with sharded channels. `redis-py` speaks the protocol
and knows the other words of the URL, such as `ssl_ca_certs`.
"""

import asyncio
import contextlib
import urllib.parse
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Any, Final

import redis.asyncio
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

__all__ = ["RedisEngine"]

_PREFIX: Final = "fastwsh:"

# A server that is frozen, or a network that loses everything, is found out by this.
_CONNECT_SECONDS: Final = 5.0
_HEALTH_SECONDS: Final = 2.0

# Words of redis-py which would change what arrives.
_OURS: Final = frozenset({"decode_responses", "encoding", "encoding_errors"})


class RedisEngine:
    """See `Engine`.

    Args:
        url: redis:// or rediss://, as redis-py understands it.

    Raises:
        ValueError: The URL cannot be used.
    """

    def __init__(self, url: str) -> None:
        parts = urllib.parse.urlsplit(url)
        words = urllib.parse.parse_qsl(parts.query)
        named = dict(words)
        if named.get("cluster", "0") not in ("0", "1"):
            raise ValueError("the value of cluster is neither 0 nor 1")
        if ours := _OURS.intersection(named):
            raise ValueError(f"{', '.join(ours)} cannot be chosen; leave it out")
        self._is_cluster = named.get("cluster") == "1"
        query = urllib.parse.urlencode([word for word in words if word[0] != "cluster"])
        client: Any = RedisCluster if self._is_cluster else redis.asyncio.Redis
        options: dict[str, Any] = {
            "socket_connect_timeout": _CONNECT_SECONDS,
            "socket_timeout": _CONNECT_SECONDS,
            # the bridge connects anew, and tells
            "retry": Retry(NoBackoff(), 0),
        }
        plain = urllib.parse.urlunsplit(parts._replace(query=query))
        try:
            self._client = client.from_url(plain, **options)
            if not self._is_cluster:
                # a word that is not known is found out by this
                self._client.connection_pool.make_connection()
        except TypeError as error:
            raise ValueError(f"redis-py does not know one of its words ({error})") from None
        except (RedisClusterException, RedisError) as error:
            raise ValueError(str(error)) from None
        self._messages: Any = self._client.pubsub()
        self._channels: set[str] = set()
        self._has_channels = asyncio.Event()

    @property
    def max_bytes(self) -> int:
        """Redis' own limit of a string, without `proto-max-bulk-len`."""
        return 512 << 20

    async def connect(self) -> None:
        """Connect, and log in."""
        await self._client.ping()

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Subscribe to the topics' channels."""
        begin = self._messages.ssubscribe if self._is_cluster else self._messages.subscribe
        if names := [_PREFIX + topic for topic in topics]:
            await begin(*names)
            self._channels.update(names)
            self._has_channels.set()

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """End the subscriptions."""
        end = self._messages.sunsubscribe if self._is_cluster else self._messages.unsubscribe
        if names := [_PREFIX + topic for topic in topics]:
            await end(*names)
            self._channels.difference_update(names)
            if not self._channels:
                self._has_channels.clear()

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish by one round trip, or one for each message in a cluster."""
        if self._is_cluster:
            for topic, data in messages:
                await self._client.spublish(_PREFIX + topic, data)
            return
        pipeline = self._client.pipeline(transaction=False)
        for topic, data in messages:
            pipeline.publish(_PREFIX + topic, data)
        await pipeline.execute()

    async def receive(self) -> AsyncIterator[tuple[str, bytes]]:
        """Yield messages, and find out every few seconds whether the server still answers."""
        is_silent = False
        while True:
            if not self._has_channels.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._has_channels.wait(), _HEALTH_SECONDS)
                await self._client.ping()
                continue
            get = (
                self._messages.get_sharded_message
                if self._is_cluster
                else self._messages.get_message
            )
            message = await get(timeout=_HEALTH_SECONDS)
            if message is not None:
                is_silent = False
                if message["type"] in ("message", "smessage"):
                    yield message["channel"].decode().removeprefix(_PREFIX), message["data"]
            elif self._is_cluster:
                await self._client.ping()
            elif is_silent:
                raise ConnectionError("the server does not answer")
            else:
                # the subscriptions have a connection of their own
                is_silent = True
                await self._messages.ping()

    async def close(self) -> None:
        """Disconnect."""
        for ending in (self._messages.aclose, self._client.aclose):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(ending(), _CONNECT_SECONDS)
        # a transport that was closed ends in the loop's next turn
        await asyncio.sleep(0)
