"""The start and the end of an ASGI application (the lifespan protocol, version 2.0)."""

import asyncio
import logging
from typing import Any, Final

from fastwsh.asgi.events import VERSIONS, Application, Event

__all__ = ["ApplicationLifespan"]

_LOGGER: Final = logging.getLogger("fastwsh.server")


class ApplicationLifespan:
    """Tells an application when the server starts and stops.

    An application that raises instead of answering has no use for it, which is no error.

    Args:
        application: The application.

    Attributes:
        state: What the application puts here at its start; each connection gets a copy.
    """

    def __init__(self, application: Application) -> None:
        self._application = application
        self.state: dict[str, Any] = {}
        self._events: asyncio.Queue[Event] | None = None
        self._answers: asyncio.Queue[Event] | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Wait until the application has started.

        Raises:
            RuntimeError: It says that it cannot.
        """
        self.state.clear()
        self._events, self._answers = asyncio.Queue(), asyncio.Queue()
        scope = {"type": "lifespan", "asgi": VERSIONS, "state": self.state}
        self._task = asyncio.create_task(
            self._run(scope, self._events, self._answers), name="ASGI lifespan"
        )
        answer = await self._ask("startup")
        if answer["type"] == "lifespan.startup.failed":
            raise RuntimeError(answer.get("message") or "the application says that it failed")

    async def stop(self) -> None:
        """Wait until the application has ended.

        Raises:
            RuntimeError: It says that this failed.
        """
        if self._task is None or self._task.done():
            return
        answer = await self._ask("shutdown")
        if answer["type"] == "lifespan.shutdown.failed":
            raise RuntimeError(answer.get("message") or "the application says that it failed")

    async def _ask(self, what: str) -> Event:
        """Tell the application, and return what it answers; an empty type if it has ended."""
        assert self._events is not None  # noqa: S101 (made by `start`)
        assert self._answers is not None  # noqa: S101
        self._events.put_nowait({"type": f"lifespan.{what}"})
        answer = await self._answers.get()
        if answer["type"] not in ("", f"lifespan.{what}.complete", f"lifespan.{what}.failed"):
            raise RuntimeError(f"the application answered lifespan.{what} by {answer['type']!r}")
        return answer

    async def _run(
        self, scope: Event, events: asyncio.Queue[Event], answers: asyncio.Queue[Event]
    ) -> None:
        has_received = False

        async def receive() -> Event:
            nonlocal has_received
            event = await events.get()
            has_received = True
            return event

        async def send(event: Event) -> None:
            answers.put_nowait(event)

        try:
            await self._application(scope, receive, send)
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            # sys.exit must not end the event loop, and the application is served all the same
            if has_received:
                _LOGGER.exception("The lifespan of the ASGI application failed")
            else:
                _LOGGER.debug("No lifespan of the ASGI application: %r", error)
        finally:
            answers.put_nowait({"type": ""})
