"""What a test server does with scripts: which there are, and the calls that begin one."""

from collections.abc import Callable, Iterable
from typing import Any

from fastwsh.testing.arguments import check_count, check_path
from fastwsh.testing.connection import Connection
from fastwsh.testing.dispatcher import RecordingDispatcher
from fastwsh.testing.expectation import MISSING, Expectation, Expected, Message
from fastwsh.testing.recording import DEFAULT_TIMEOUT, Recorder
from fastwsh.testing.script import Script
from fastwsh.testing.scripts import PathScripts
from fastwsh.testing.subprotocols import check_subprotocol

__all__ = ["ServerScripts"]


class ServerScripts:
    """The scripts of a test server."""

    _dispatcher: RecordingDispatcher
    _recorder: Recorder
    _added: set[str]

    def __init__(self) -> None:
        self._scripts: dict[str, PathScripts] = {}

    def script(self, path: str = "/", *, subprotocol: str | None = None) -> Script:
        """Return a script, which is empty at first, for every connection of a path.

        A connection plays the script of its number (`connection`) if there is one, or else that of
        its subprotocol, or else that of its path, each from the first step on.

        Args:
            path: The path.
            subprotocol: Only for connections that speak this one, which is chosen if a client
                offers it. A client that offers none that there is a script for is refused with 400
                if the path has no other script.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        if subprotocol is None:
            return self._path_scripts(path).of_all()
        if not isinstance(subprotocol, str):
            raise TypeError(f"subprotocol={subprotocol!r}; give a str")
        check_subprotocol(subprotocol)
        return self._path_scripts(path).of_subprotocol(subprotocol)

    def connection(self, number: int, *, path: str = "/") -> Script:
        """Return the script of the n-th connection of a path, which is empty at first.

        Args:
            number: 1 for the first. Refused handshakes do not count.
            path: The path.

        Raises:
            TypeError, ValueError: An argument cannot be used.
        """
        check_count(number, "connection")
        return self._path_scripts(path).of_number(number)

    def expect(
        self,
        expected: Expected | None = None,
        *,
        json: Any = MISSING,
        ignore: Iterable[str] = (),
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Script:
        """Add a message that is expected to the script of `/`: see `Script.expect`."""
        return self.script().expect(expected, json=json, ignore=ignore, timeout=timeout)

    def expect_any_order(
        self, *expected: Expected | Expectation, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Script:
        """Add messages in any order to the script of `/`: see `Script.expect_any_order`."""
        return self.script().expect_any_order(*expected, timeout=timeout)

    def reply(
        self,
        message: Message | Callable[[Connection], Message] | None = None,
        *,
        json: Any = MISSING,
    ) -> Script:
        """Add a message that is sent to the script of `/`: see `Script.reply`."""
        return self.script().reply(message, json=json)

    def expect_close(
        self,
        code: int | None = None,
        reason: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Script:
        """Add the client's close frame to the script of `/`: see `Script.expect_close`."""
        return self.script().expect_close(code, reason, timeout=timeout)

    def _path_scripts(self, path: str) -> PathScripts:
        path = check_path(path)
        if path not in self._scripts:
            scripts = self._scripts[path] = PathScripts(path, self._recorder)
            self._dispatcher.add_function(path, scripts.play, scripts.open)
            self._added.add(path)
        return self._scripts[path]

    def _all_scripts(self) -> list[Script]:
        return [script for scripts in self._scripts.values() for script in scripts.all()]
