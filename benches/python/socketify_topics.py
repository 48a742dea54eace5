"""The topics of uWebSockets, by socketify; the argument is the port."""

import sys
from typing import Any

from socketify import App, AppListenOptions, OpCode, Request, Response, WebSocket


def upgrade(response: Response, request: Request, context: Any) -> None:
    """Open the connection, and keep its query."""
    key = request.get_header("sec-websocket-key")
    response.upgrade(key, "", "", context, request.get_full_url().partition("?")[2])


def join(connection: WebSocket) -> None:
    """Subscribe to the topic in the query."""
    connection.subscribe(connection.get_user_data())


def publish(_connection: WebSocket, message: str, _opcode: OpCode) -> None:
    """Publish to the topic that the message begins with."""
    app.publish(message[:8], message, OpCode.TEXT)


app = App()
room = {"upgrade": upgrade, "open": join, "message": lambda *_: None, "idle_timeout": 0}
app.ws("/room", room)
app.ws("/publish", {"message": publish, "idle_timeout": 0})
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda _: None)
app.run()
