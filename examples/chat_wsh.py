"""Chat rooms: everybody in a room sees every line, who is there, and what was said before.

The query names the room, /chat?room=tea; without one it is "lobby". The first message a client
sends is its name. All further ones are JSON, and so is what the server sends:

    {"event": "line", "text": "hello"}              for the room
    {"event": "here"}                               for the room: "I am still here"
    {"event": "here", "to": ID}                     for one member, as the answer to its "join"
    {"event": "ask", "to": ID}                      asks one member for the last lines
    {"event": "history", "to": ID, "lines": [...]}  its answer

The server passes these on with the sender's "id" and "name" and the time, "at", in milliseconds; a
line also gets a number. It tells a client its own id in "welcome", and the room who comes and goes
in "join" and "leave". Two members may have the same name: their ids differ.

Each room is a topic, and so is each member. `topics.publish` hands a message to all subscribers and
waits for none: the server sends it while their handlers wait in `receive_message`. A member that
reads too slowly is shown out by the server, with code 1008; see --topic-queue-bytes and
--slow-subscriber.

No process keeps anything about a room, so members may be at several workers (--workers) and servers
(--backplane). What is to be known of a room is known by its members, who answer newcomers. The
price: a member can tell newcomers lines that nobody has said. Who cannot live with that keeps the
lines in a database.
"""

import json
import re
import secrets
import time
from urllib.parse import parse_qs, urlsplit

from pywebsocket3 import common

from fastwsh import topics

MAX_NAME_CHARACTERS = 32
MAX_ROOM_CHARACTERS = 32
MAX_TEXT_CHARACTERS = 4096
MAX_MESSAGE_CHARACTERS = 65536
MAX_HISTORY_LINES = 50

# Codes 4000-4999 are for applications (RFC 6455 7.4.2).
CLOSE_BAD_NAME = 4000
CLOSE_BAD_MESSAGE = 4001

_ID = re.compile("[0-9a-f]{16}")


class RefusedError(Exception):
    """A client has sent what no client may send: the code and the reason of the close."""


class Member:
    """A client in a room."""

    def __init__(self, name, room):
        self.id = secrets.token_hex(8)
        self.name = name
        self.room = room
        self.lines = 0

    def tell(self, event, to=None, **more):
        """Publish an event to the room, or to one member of it."""
        event = {
            "event": event,
            "id": self.id,
            "name": self.name,
            "at": int(time.time() * 1000),
            **more,
        }
        topics.publish(topic_of(self.room, to), json.dumps(event))

    def take(self, message):
        """Do what the client's message says."""
        event = read(message)
        kind, to = event.get("event"), event.get("to")
        if to is not None and not (isinstance(to, str) and _ID.fullmatch(to)):
            raise RefusedError(CLOSE_BAD_MESSAGE, "there can be no such member")
        if kind == "line":
            text = event.get("text")
            if not isinstance(text, str):
                raise RefusedError(CLOSE_BAD_MESSAGE, "a line has a text")
            if len(text) > MAX_TEXT_CHARACTERS:
                raise RefusedError(common.STATUS_MESSAGE_TOO_BIG, "that is too long")
            self.lines += 1
            self.tell("line", number=self.lines, text=text)
        elif kind == "here":
            self.tell("here", to)
        elif kind == "ask" and to:
            self.tell("ask", to)
        elif kind == "history" and to:
            self.tell("history", to, lines=lines_of(event))
        else:
            raise RefusedError(CLOSE_BAD_MESSAGE, "that is not understood")


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    stream = request.ws_stream
    room = parse_qs(urlsplit(request.ws_resource).query).get("room", ["lobby"])[0]
    name = stream.receive_message()
    if name is None:
        return
    if not is_name(room, MAX_ROOM_CHARACTERS):
        stream.close_connection(CLOSE_BAD_NAME, "no room can have this name")
        return
    if not is_name(name, MAX_NAME_CHARACTERS):
        stream.close_connection(CLOSE_BAD_NAME, "the first message must be your name")
        return
    member = Member(name, room)
    stream.send_message(json.dumps({"event": "welcome", "id": member.id, "room": room}))
    # its own topic first: those who see it join answer there
    topics.subscribe(request, topic_of(room, member.id))
    topics.subscribe(request, topic_of(room))
    member.tell("join")
    try:
        while (message := stream.receive_message()) is not None:
            member.take(message)
    except RefusedError as refused:
        stream.close_connection(*refused.args)
    finally:
        # However this connection ends, by a close or by an exception, the others learn of it. The
        # subscription would end with the connection, which is a moment later.
        topics.unsubscribe(request, topic_of(room))
        member.tell("leave")


def topic_of(room, member=None):
    """The topic of a room or of a member; other handlers of the server may have topics as well."""
    return f"chat/room/{room}" if member is None else f"chat/member/{member}/{room}"


def is_name(name, longest):
    """Whether what a client has sent will do as a name. Never trust what a client sends."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= longest
        and name.isprintable()
        and name == name.strip()
    )


def read(message):
    """Return the object that a message holds."""
    if isinstance(message, bytes):
        raise RefusedError(common.STATUS_UNSUPPORTED_DATA, "text only, please")
    if len(message) > MAX_MESSAGE_CHARACTERS:
        raise RefusedError(common.STATUS_MESSAGE_TOO_BIG, "that is too long")
    try:
        event = json.loads(message)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise RefusedError(CLOSE_BAD_MESSAGE, "that is not understood")
    return event


def lines_of(event):
    """Return the lines of a history, and of each what a line has."""
    lines = event.get("lines")
    if not (isinstance(lines, list) and len(lines) <= MAX_HISTORY_LINES):
        raise RefusedError(CLOSE_BAD_MESSAGE, "that is no history")
    if not all(map(is_line, lines)):
        raise RefusedError(CLOSE_BAD_MESSAGE, "that is no line")
    fields = "id", "name", "at", "number", "text"
    return [{field: line[field] for field in fields} for line in lines]


def is_line(line):
    """Whether something is a line as the server sends them."""
    return (
        isinstance(line, dict)
        and all(isinstance(line.get(field), str) for field in ("id", "name", "text"))
        and all(type(line.get(field)) is int for field in ("at", "number"))
    )
