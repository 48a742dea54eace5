"""Serves an ASGI application's WebSockets by a handler file.

    from fastwsh.asgi import mount
    from chat.asgi import application

    mount(application, globals())

The application sees what any ASGI server shows it (ASGI 3.0, its WebSocket and lifespan parts of
version 2.5). It runs in the event loop of the handlers, one task for each connection.
"""

from collections.abc import MutableMapping
from typing import Any

from fastwsh.asgi.conversation import ClientDisconnectedError, Conversation
from fastwsh.asgi.events import Application
from fastwsh.asgi.lifespan import ApplicationLifespan

__all__ = ["Application", "ClientDisconnectedError", "mount"]


def mount(
    application: Application,
    namespace: MutableMapping[str, Any],
    *,
    root_path: str = "",
    subpaths: bool = True,
) -> None:
    """Make the module of a handler file serve an ASGI application.

    Args:
        application: The application, `async def application(scope, receive, send)`.
        namespace: The handler's `globals()`, which get the functions of a handler.
        root_path: The scope's `root_path`, for applications that make URLs and are behind a proxy
            that takes a prefix away.
        subpaths: Whether the application is also served at all paths below the handler's own, as
            applications with routes of their own expect.

    Raises:
        TypeError: The application cannot be called.
    """
    if not callable(application):
        raise TypeError(f"{application!r} is no ASGI application; it cannot be called")
    lifespan = ApplicationLifespan(application)

    async def web_socket_do_extra_handshake(request: Any) -> None:
        conversation = Conversation(application, request, root_path, lifespan.state)
        request.asgi_conversation = conversation
        await conversation.open(request)

    async def web_socket_transfer_data(request: Any) -> None:
        await request.asgi_conversation.run(request)

    async def web_socket_startup(_app: Any) -> None:
        await lifespan.start()

    async def web_socket_shutdown(_app: Any) -> None:
        await lifespan.stop()

    for function in (
        web_socket_do_extra_handshake,
        web_socket_transfer_data,
        web_socket_startup,
        web_socket_shutdown,
    ):
        namespace[function.__name__] = function
    namespace["web_socket_subpaths"] = subpaths
