"""`--reload`: noticing that handler files change, come and go.

Owns when a change counts and what the log says about it. The loader finds and loads files, and the
dispatcher decides what serves what. Files are polled instead of watched, which works on every file
system, also in containers and over the network.
"""

import logging
import threading
import time
from typing import Final

from fastwsh.loading.loader import HandlerFile
from fastwsh.output import banner
from fastwsh.paths import Stamp, stamp
from fastwsh.pywebsocket.dispatch import Dispatcher

__all__ = ["LOOK_SECONDS", "Watcher"]

LOOK_SECONDS: Final = 0.5
"""Time between two looks: a change counts after two of them, about when its author has switched
windows; and looking at hundreds of files takes about a hundredth of it."""

# The largest share of time to spend on looking at a folder with very many files.
_LARGEST_SHARE: Final = 0.1
# How long to wait for a handler that is being loaded; it is not served any more.
_JOIN_SECONDS: Final = 1.0

_LOGGER: Final = logging.getLogger("fastwsh.server")


class Watcher:
    """Makes one dispatcher load its handlers again when their files change.

    A change counts when the file was the same in two looks. So if an editor writes a file in two
    steps, no half of it is loaded, and if an editor replaces a file, that is noticed.

    Args:
        dispatcher: It has loaded the handlers, and loads them again.
        pause: Seconds between two looks.
    """

    def __init__(self, dispatcher: Dispatcher, pause: float = LOOK_SECONDS) -> None:
        self._dispatcher = dispatcher
        self._pause = pause
        self._known = {file.path: file.stamp for file in dispatcher.handlers if file.stamp}
        self._seen = self._known
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fastwsh-reload", daemon=True)

    def start(self) -> None:
        """Look from time to time, in a thread of its own, until `stop` is called."""
        self._thread.start()

    def stop(self) -> None:
        """Load no more files. Returns at once, even if a file is being loaded."""
        self._stopping.set()

    def join(self) -> None:
        """Wait for the thread, but not for long: the code of a handler may block it."""
        if self._thread.ident is not None and threading.current_thread() is not self._thread:
            self._thread.join(_JOIN_SECONDS)

    def look(self) -> None:
        """Look at all files, and load those that have changed since the look before the last."""
        before, self._seen = self._seen, self._look()
        for path in sorted(self._seen.keys() | self._known.keys()):
            state = self._seen.get(path)
            if state == self._known.get(path) or state != before.get(path):
                continue
            if self._stopping.is_set():
                return
            if state is None:
                del self._known[path]
                self._unload(path)
            else:
                self._known[path] = state
                self._load(path)

    def _look(self) -> dict[str, Stamp]:
        found = ((path, stamp(path)) for path in self._dispatcher._folder.find())
        return {path: state for path, state in found if state is not None}

    def _load(self, path: str) -> None:
        served = self._dispatcher._table.served_files
        file = self._dispatcher.reload(path)
        if file is not None and file.error is not None:
            _warn(file, path in served)
        elif file is None or file.resource is None:
            self._tell_gone(served.get(path))
        elif path in served:
            _LOGGER.info("Reloaded %s", banner.clean(file.resource))
        else:
            _LOGGER.info("New handler %s", banner.clean(file.resource))

    def _unload(self, path: str) -> None:
        served = self._dispatcher._table.served_files
        self._dispatcher.unload(path)
        self._tell_gone(served.get(path))

    @staticmethod
    def _tell_gone(resource: str | None) -> None:
        if resource is not None:
            _LOGGER.info("Handler of %s is gone", banner.clean(resource))

    def _run(self) -> None:
        pause = self._pause
        while not self._stopping.wait(pause):
            started = time.monotonic()
            try:
                self.look()
            except BaseException:
                _LOGGER.exception("Looking for changed handlers failed")
            pause = max(self._pause, (time.monotonic() - started) / _LARGEST_SHARE)


def _warn(file: HandlerFile, is_served: bool) -> None:
    reason = " ".join(str(file.error).split()).rstrip(".")
    _LOGGER.warning(
        "Cannot load %s: %s; %s",
        banner.clean(file.path),
        banner.clean(reason),
        "the version from before goes on" if is_served else "it is not served",
    )
