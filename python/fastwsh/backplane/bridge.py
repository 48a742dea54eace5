"""`Bridge`: carries messages between one server and the others, in a thread of its own."""

import asyncio
import contextlib
import logging
import random
import selectors
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from fastwsh.backoff import pause_after
from fastwsh.backplane import engines
from fastwsh.backplane.envelope import Envelope, EnvelopeError, Sequences, encode

__all__ = ["BackplaneQueue", "Bridge"]

_LOGGER: Final = logging.getLogger("fastwsh.backplane")

_CONNECT_SECONDS: Final = 10.0
# A connection that has lasted for this long was none of a series of failures.
_LASTING_SECONDS: Final = 10.0
# What was published before the stop still leaves within this time.
_LAST_SECONDS: Final = 1.0
# The most bytes of messages that wait for the engine, here or in the core.
MAX_WAITING: Final = 8 << 20
# What one round trip takes at most.
_BATCH: Final = 256
_WARN_SECONDS: Final = 10.0

JOINED: Final = 0
LEFT: Final = 1
PUBLISHED: Final = 2


class BackplaneQueue(Protocol):
    """What the native server has for the others: `_core.BackplaneQueue`."""

    @property
    def node(self) -> str:
        """The server's name among the others."""

    def fileno(self) -> int:
        """Return a descriptor that is readable while there is something."""

    def take(self) -> list[tuple[int, str, bytes, bool, int, int]]:
        """Return what there is: kind, topic, payload, whether it is text, epoch and number."""

    def receive(self, topic: str, payload: bytes, is_text: bool) -> int:
        """Hand a message from elsewhere to the subscribers here; return how many got it."""

    def note(self, is_connected: bool, missed: int, lost: int) -> None:
        """Count for the metrics."""

    def close(self) -> None:
        """Take nothing any more."""


class Bridge:
    """Carries what is published here to other servers, and what they publish to here.

    While an engine is away, everything goes on locally. What is published meanwhile waits up to a
    bound; what the others have published then is missed, and reported by `on_gap`.

    Args:
        url: The engine.
        queue: The native end.
        on_gap: Called with a topic and how many of its messages were missed, in the bridge's
            thread. It must not raise anything.
        near: Another engine, for the servers whose names begin with `group`: they go on together
            while the other one is away. "" if there are none.
        group: See `near`.

    Attributes:
        is_connected: Whether all others can be reached.
    """

    def __init__(
        self,
        url: str,
        queue: BackplaneQueue,
        on_gap: Callable[[str, int], None],
        *,
        near: str = "",
        group: str = "",
    ) -> None:
        self.is_connected = False
        self._outgoing = queue
        self._on_gap = on_gap
        self._sequences = Sequences()
        self._next_warning = 0.0
        self._selector = selectors.DefaultSelector()
        self._loop = asyncio.SelectorEventLoop(self._selector)
        self.topics: set[str] = set()
        self.stopping = asyncio.Event()
        self._connections = [_EngineConnection(self, url, not_from=group if near else "")]
        if near:
            self._connections.append(_EngineConnection(self, near, only_from=group))
        self._thread = threading.Thread(target=self._run, name="fastwsh-backplane", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Send what was published before, if that is quick, and disconnect."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self.stopping.set)
        self._thread.join()
        self._outgoing.close()

    def _run(self) -> None:
        try:
            self._loop.add_reader(self._outgoing.fileno(), self.take)
            self._loop.run_until_complete(self._stay_connected())
        except Exception:
            _LOGGER.exception("The backplane failed")
        finally:
            self._loop.remove_reader(self._outgoing.fileno())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._wait_for_transports())
            self._loop.close()

    async def _stay_connected(self) -> None:
        await asyncio.gather(*(connection.stay_connected() for connection in self._connections))

    async def _wait_for_transports(self) -> None:
        """Wait for connections that are closing: TLS sends its close_notify first.

        Those of an engine that does not answer it are cut.
        """
        deadline = self._loop.time() + _LAST_SECONDS
        # one descriptor is that which wakes the loop
        while len(self._selector.get_map()) > 1 and self._loop.time() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # the engines' libraries do not tell which they have
        for transport in list(getattr(self._loop, "_transports", {}).values()):
            transport.abort()
        # a transport closes its socket in the loop's next turn
        await asyncio.sleep(0)

    def note_connected(self) -> None:
        """Tell how many of the connections are open."""
        self.is_connected = all(connection.is_connected for connection in self._connections)
        self._outgoing.note(self.is_connected, 0, 0)

    def note_lost(self, lost: int, text: str) -> None:
        """Count messages that were not published, and say why."""
        self._outgoing.note(self.is_connected, 0, lost)
        self.warn(text, lost)

    def take(self) -> None:
        """Take what the core has, for all connections."""
        for kind, topic, payload, is_text, epoch, seq in self._outgoing.take():
            if kind != PUBLISHED:
                (self.topics.add if kind == JOINED else self.topics.discard)(topic)
                if kind == LEFT:
                    self._sequences.forget(topic)
                for connection in self._connections:
                    connection.note_change(kind, topic)
                continue
            node = self._outgoing.node
            data = encode(payload, is_text=is_text, node=node, epoch=epoch, seq=seq)
            for connection in self._connections:
                connection.append(topic, data)
        for connection in self._connections:
            connection.begin_to_send()

    def receive(self, topic: str, envelope: Envelope) -> None:
        """Hand a message of another server to the subscribers here."""
        if envelope.node == self._outgoing.node or topic not in self.topics:
            return
        if missed := self._sequences.missed(topic, envelope):
            self._outgoing.note(self.is_connected, missed, 0)
            self.warn("%d messages of the topic %r were missed", missed, topic)
            self._on_gap(topic, missed)
        self._outgoing.receive(topic, envelope.payload, envelope.is_text)

    def warn(self, text: str, *values: object) -> None:
        """Log a warning, and others within a few seconds only at the level debug."""
        now = time.monotonic()
        is_due = now >= self._next_warning
        if is_due:
            self._next_warning = now + _WARN_SECONDS
        _LOGGER.log(logging.WARNING if is_due else logging.DEBUG, text, *values)


class _EngineConnection:
    """The connection to one engine: connects, and connects again when that has failed.

    Args:
        bridge: What has the topics.
        url: The engine.
        only_from: Take only the messages of servers whose names begin so; "" takes those of all.
        not_from: Leave out the messages of servers whose names begin so, which come by another
            connection; "" leaves out none.
    """

    def __init__(
        self, bridge: Bridge, url: str, *, only_from: str = "", not_from: str = ""
    ) -> None:
        self.is_connected = False
        self._bridge = bridge
        self._url = url
        self._name = engines.without_password(url)
        self._only_from = only_from
        self._not_from = not_from
        # of the connection; None while there is none
        self._changes: deque[tuple[int, str]] | None = None
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._waiting_bytes = 0
        self._lost = 0
        self._work = asyncio.Event()

    async def stay_connected(self) -> None:
        """Connect again and again until the bridge stops."""
        failures = 0
        stopping = self._bridge.stopping
        while not stopping.is_set():
            started = time.monotonic()
            try:
                await self._live()
            except Exception as error:  # noqa: BLE001 (whatever an engine's library raises)
                failures = 1 if time.monotonic() - started > _LASTING_SECONDS else failures + 1
                pause = pause_after(failures)
                self._tell_away(error, pause, failures)
                # all nodes lose the engine at the same time, and must not connect again at the same
                # time
                pause *= random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stopping.wait(), pause)

    async def _live(self) -> None:
        """Connect, and serve until that fails or the bridge stops."""
        engine = engines.make(self._url)
        tasks: list[asyncio.Task[object]] = []
        try:
            loop = asyncio.get_running_loop()
            connecting = loop.create_task(self._connect(engine))
            stopping = loop.create_task(self._bridge.stopping.wait())
            tasks = [connecting, stopping]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                # what waits may still leave, if that is quick
                await asyncio.wait({connecting}, timeout=_LAST_SECONDS)
                if not connecting.done():
                    return
            await connecting
            await _end(tasks)
            self._set_connected(True)
            _LOGGER.info("Connected to the backplane %s", self._name)
            tasks = [
                loop.create_task(self._receive(engine)),
                loop.create_task(self._send(engine)),
                loop.create_task(self._wait_for_stop()),
            ]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                await task
        finally:
            self._changes = None
            await _end(tasks)
            await engine.close()
            self._set_connected(False)

    async def _connect(self, engine: engines.Engine) -> None:
        async with asyncio.timeout(_CONNECT_SECONDS):
            await engine.connect()
            # what changes from here on is in the list of changes
            self._changes = deque()
            await engine.subscribe(sorted(self._bridge.topics))

    def _set_connected(self, value: bool) -> None:
        self.is_connected = value
        self._bridge.note_connected()

    async def _wait_for_stop(self) -> None:
        await self._bridge.stopping.wait()
        self._bridge.take()
        deadline = time.monotonic() + _LAST_SECONDS
        while (self._changes or self._waiting) and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    def note_change(self, kind: int, topic: str) -> None:
        """Note that a topic has its first subscriber here, or none any more."""
        if self._changes is not None:
            self._changes.append((kind, topic))

    def append(self, topic: str, data: bytes) -> None:
        """Append a message, unless too many wait."""
        if self._waiting_bytes + len(data) > MAX_WAITING:
            self._lost += 1
            return
        self._waiting.append((topic, data))
        self._waiting_bytes += len(data)

    def begin_to_send(self) -> None:
        """Send what is new."""
        lost, self._lost = self._lost, 0
        if lost:
            self._bridge.note_lost(
                lost, "%d messages were not published by the backplane: too many wait"
            )
        self._work.set()

    async def _send(self, engine: engines.Engine) -> None:
        while True:
            changes = self._changes or deque()
            while changes:
                kind, topic = changes.popleft()
                await (engine.subscribe if kind == JOINED else engine.unsubscribe)([topic])
            if not self._waiting:
                self._work.clear()
                await self._work.wait()
                continue
            # of what fails, nobody knows whether it arrived, so it is not sent again
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            self._waiting_bytes -= sum(len(data) for _, data in batch)
            fitting = [message for message in batch if len(message[1]) <= engine.max_bytes]
            if too_long := len(batch) - len(fitting):
                self._bridge.note_lost(too_long, "%d messages are too long for the backplane")
            await engine.publish(fitting)

    async def _receive(self, engine: engines.Engine) -> None:
        async for topic, data in engine.receive():
            try:
                envelope = Envelope.decode(data)
            except EnvelopeError as error:
                self._bridge.warn("A message of the topic %r cannot be used: %s", topic, error)
                continue
            node = envelope.node
            is_left_out = self._not_from and node.startswith(self._not_from)
            if node.startswith(self._only_from) and not is_left_out:
                self._bridge.receive(topic, envelope)

    def _tell_away(self, error: Exception, pause: float, failures: int) -> None:
        reason = str(error) or type(error).__name__
        # the first failure is news, and one of many now and then
        level = logging.WARNING if failures in (1, 5) or failures % 30 == 0 else logging.DEBUG
        _LOGGER.log(
            level,
            "No connection to the backplane %s (%s); topics go on locally, next attempt in %g s",
            *(self._name, reason, pause),
        )


async def _end(tasks: list["asyncio.Task[object]"]) -> None:
    """Cancel tasks until they have ended: nats-py swallows a cancellation while it sends."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=0.1)
    await asyncio.gather(*tasks, return_exceptions=True)
