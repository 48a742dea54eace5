"""The conversation with one page of the inspector, in JSON.

The page says which view it shows (`watch`), and gets that view now and when it changes; and it says
what is to be done to a connection (`do`), which is answered (`reply`). Updates are sent a few times
per second at most, and one that is being sent holds up the next: a slow page gets fewer of them.
"""

import contextlib
import json
import threading
from typing import TYPE_CHECKING, Any, Final

from fastwsh.inspector.actions import ActionError, Actions
from fastwsh.inspector.watching import ALL, Watcher
from fastwsh.pywebsocket.stream import BadOperationException, ConnectionTerminatedException

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Feed"]

_TICK_SECONDS: Final = 0.25
# Four times as many per second: more than a thousand messages, and their answers.
_FRAMES: Final = 2000
_OVERVIEW_TICKS: Final = 4


class Feed:
    """One page.

    Args:
        stream: The stream of its connection.
        watcher: Knows the server.
    """

    def __init__(self, stream: Any, watcher: Watcher) -> None:
        self._stream = stream
        self._watcher = watcher
        self._actions = Actions(watcher)
        self._changed = threading.Condition()
        self._watch: dict[str, Any] = {"view": "overview"}
        self._is_new = True
        self._has_ended = False
        self._last: dict[str, str] = {}
        # the page's number for what it watches, so that it can tell an answer from those before
        self._query: Any = None
        self._logged = 0
        # until when samples were sent, and of which worker
        self._sampled = 0.0
        self._sampled_worker = ALL
        self._ticks = 0

    def run(self) -> None:
        """Serve the page until it goes."""
        thread = threading.Thread(target=self._send_updates, name="fastwsh-inspector-feed")
        thread.daemon = True
        thread.start()
        try:
            while (message := self._stream.receive_message()) is not None:
                self._take(message)
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify_all()
            thread.join()

    def _take(self, message: str | bytes) -> None:
        try:
            request = json.loads(message)
            kind = request.get("type")
        except (AttributeError, ValueError):
            return
        if kind == "watch":
            with self._changed:
                self._watch = request
                self._is_new = True
                self._changed.notify_all()
        elif kind == "do":
            self._answer(request)

    def _answer(self, request: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"type": "reply", "request": request.get("request")}
        try:
            reply["result"] = self._actions.do(request)
        except ActionError as error:
            reply["error"] = str(error)
        except (KeyError, OverflowError, TypeError, ValueError) as error:
            reply["error"] = f"this cannot be done: {error}"
        self._send(reply)

    def _send(self, value: dict[str, Any]) -> None:
        self._stream.send_message(json.dumps(value, separators=(",", ":")))

    def _send_updates(self) -> None:
        gone = (BadOperationException, ConnectionTerminatedException, OSError)
        with contextlib.suppress(*gone):
            while True:
                with self._changed:
                    if not self._is_new:
                        self._changed.wait(_TICK_SECONDS)
                    if self._has_ended:
                        return
                    watch, is_new, self._is_new = self._watch, self._is_new, False
                self._update(watch, is_new)

    def _update(self, watch: dict[str, Any], is_new: bool) -> None:
        if is_new:
            self._last.clear()
        self._query = watch.get("query")
        self._ticks += 1
        view = watch.get("view")
        if is_new or self._ticks % _OVERVIEW_TICKS == 0:
            worker = self._worker(watch)
            self._send_samples(worker)
            if view == "overview":
                with contextlib.suppress(ValueError):
                    self._send_changed("overview", self._watcher.overview(worker))
        self._send_log()
        shows: dict[Any, Callable[[dict[str, Any]], None]] = {
            "connections": self._send_connections,
            "connection": self._send_connection,
        }
        # a page that asks for nonsense gets nothing
        with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
            if show := shows.get(view):
                show(watch)

    def _worker(self, watch: dict[str, Any]) -> int:
        """Return the worker that the page shows; one that there is not stands for all."""
        worker = watch.get("worker")
        return worker if isinstance(worker, int) and worker in self._watcher.source.workers else ALL

    def _send_changed(self, kind: str, value: dict[str, Any]) -> None:
        """Send a value unless the page has it already."""
        text = json.dumps(value, separators=(",", ":"), sort_keys=True)
        if self._last.get(kind) != text:
            self._last[kind] = text
            self._send({"type": kind, "query": self._query, **value})

    def _send_samples(self, worker: int) -> None:
        if worker != self._sampled_worker:
            self._sampled, self._sampled_worker = 0.0, worker
        if samples := self._watcher.samples_after(self._sampled, worker):
            self._sampled = samples[-1][0]
            self._send(
                {
                    "type": "samples",
                    "worker": worker,
                    "workers": list(self._watcher.source.workers),
                    "open": self._watcher.open_connections(),
                    "samples": samples,
                }
            )

    def _send_log(self) -> None:
        if lines := self._watcher.log_after(self._logged):
            self._logged = lines[-1]["number"]
            self._send({"type": "log", "lines": lines})

    def _send_connections(self, watch: dict[str, Any]) -> None:
        page = self._watcher.page(watch)
        self._send_changed("connections", {**page, "offset": watch.get("offset", 0)})

    def _send_connection(self, watch: dict[str, Any]) -> None:
        number = int(watch["id"])
        found = self._watcher.connection(number)
        if found is None:
            self._send_changed("connection", {"id": number, "gone": True})
            return
        if not watch.get("secrets"):
            found = self._actions.mask(found)
        self._send_changed("connection", found)
        if watch.get("paused"):
            return
        frames = self._watcher.frames(number, int(watch.get("after", 0)), _FRAMES)
        if frames is None:
            return
        if records := frames["records"]:
            watch["after"] = records[-1]["number"]
        text = json.dumps(frames)
        if records or self._last.get("frames") != text:
            self._last["frames"] = text
            self._send({"type": "frames", "query": self._query, "id": number, **frames})
