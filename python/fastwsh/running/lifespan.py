"""What handlers set up before the first connection, and put back after the last.

A handler file may define `web_socket_startup(app)` and `web_socket_shutdown(app)`, plain functions
or coroutine functions. Owns their order and the handling of their failures. The server decides when
they run, and in which event loop a coroutine function runs.
"""

from __future__ import annotations

import logging
import threading
from types import SimpleNamespace

from fastwsh.config_error import ConfigError
from fastwsh.loading import handler_suite, loader, slow_loads

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Final

    # calls a function with the app, and waits for it if it is a coroutine function
    Run = Callable[[Callable[[Any], Any], "App"], object]

__all__ = ["App", "Lifespan", "State"]

_LOGGER: Final = logging.getLogger("fastwsh.server")


class State(SimpleNamespace):
    """What handlers share, as attributes of any name."""

    def __getattr__(self, name: str) -> Any:
        """Raise AttributeError; there are only attributes that were set."""
        raise AttributeError(
            f"app.state has no {name!r}; set it in web_socket_startup(app): app.state.{name} = ..."
        )


class App:
    """What the handlers of one server have in common: `request.app`.

    Attributes:
        state: Theirs, to put things in.
    """

    def __init__(self) -> None:
        self.state = State()

    def __repr__(self) -> str:
        return f"<App {self.state}>"


class Lifespan:
    """Runs the functions of one server's handlers.

    Args:
        run: Runs one of them.

    Attributes:
        app: What they get.
    """

    def __init__(self, run: Run) -> None:
        self.app = App()
        self._run = run
        # Held while functions run. They run one after the other.
        self._lock = threading.RLock()
        self._has_begun = False
        self._started: list[Any] = []

    @property
    def has_to_shut_down(self) -> bool:
        """Whether there are shutdown functions to run."""
        return any(suite.shutdown is not None for suite in list(self._started))

    def start(self, suites: Iterable[Any]) -> None:
        """Run the startup functions, by their files' paths; nothing if that was done.

        Raises:
            ConfigError: One has failed. The shutdown functions of those before it were run.
        """
        with self._lock:
            if self._has_begun:
                return
            self._has_begun = True
            unique = {id(suite): suite for suite in suites if hasattr(suite, "startup")}
            try:
                for suite in sorted(unique.values(), key=lambda suite: str(suite.path)):
                    self._start(suite)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """Run the shutdown functions of those that have started, the last one first."""
        with self._lock:
            while self._started:
                self._stop(self._started[-1])

    def replace(self, former: Any, suite: Any) -> None:
        """Let a handler take the place of another one, or of none.

        The former is shut down first: both may keep the same things in the app's state.

        Raises:
            ConfigError: The handler's startup has failed. The former was started again.
        """
        with self._lock:
            if not self._has_begun:
                return
            was_started = former in self._started
            self.drop(former)
            try:
                self._start(suite)
            except ConfigError:
                if was_started:
                    self._start_again(former)
                raise

    def drop(self, suite: Any) -> None:
        """Shut a handler down that is served no more."""
        with self._lock:
            if suite in self._started:
                self._stop(suite)

    def forget(self) -> None:
        """Run nothing any more: this is a child of the process that does."""
        self._lock = threading.RLock()
        self._started = []

    def _start(self, suite: Any) -> None:
        if suite.startup is not None:
            try:
                with slow_loads.watched() as begin:
                    begin(f"{handler_suite.STARTUP} of", suite.path)
                    self._run(suite.startup, self.app)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # sys.exit() in it must end the start with a sentence
                raise ConfigError(_sentence(suite, handler_suite.STARTUP, error)) from error
        self._started.append(suite)

    def _start_again(self, suite: Any) -> None:
        try:
            self._start(suite)
        except ConfigError as error:
            _LOGGER.error("%s", error)  # noqa: TRY400 (it names the line)

    def _stop(self, suite: Any) -> None:
        self._started.remove(suite)
        if suite.shutdown is None:
            return
        try:
            self._run(suite.shutdown, self.app)
        except BaseException as error:  # the others have to be run as well
            sentence = _sentence(suite, handler_suite.SHUTDOWN, error)
            _LOGGER.error("%s", sentence, exc_info=error)  # noqa: TRY400 (ruff takes it for twice)
            if isinstance(error, KeyboardInterrupt):
                raise


def _sentence(suite: Any, function: str, error: BaseException) -> str:
    reason = loader.execution_error(error, suite.path)
    return f"{function} of {suite.path} failed: {reason}"
