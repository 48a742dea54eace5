"""Chat rooms: everybody in a room sees every message, and who joins and leaves.

The query names the room, /chat?room=tea; without one it is "lobby". The first message a client
sends is its name; every further one is a line for the room. The server sends JSON:

    {"event": "join",    "name": "ann", "members": ["ann", "bob"]}
    {"event": "message", "name": "ann", "text": "hello"}
    {"event": "leave",   "name": "ann", "members": ["bob"]}

Each room is a topic. `topics.publish` hands a message to all subscribers and waits for none: the
server sends it while their handlers wait in `receive_message`. A member that reads too slowly is
shown out by the server, with code 1008; see --topic-queue-bytes and --slow-subscriber.

The names are in the module, shared by all connections and only touched under a lock. What is told
to a room is published with the lock held, which is right because it takes no time: so all members
see the same order. With --workers or --backplane the messages reach the members of all processes;
the names are those of one.
"""

import json
import threading
from urllib.parse import parse_qs, urlsplit

from pywebsocket3 import common

from fastwsh import topics

MAX_NAME_CHARACTERS = 32
MAX_ROOM_CHARACTERS = 32
MAX_TEXT_CHARACTERS = 4096

# Codes 4000-4999 are for applications (RFC 6455 7.4.2).
CLOSE_BAD_NAME = 4000
CLOSE_NAME_TAKEN = 4001

_lock = threading.Lock()
_rooms = {}  # room -> the names in it; read and written with _lock held


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    stream = request.ws_stream
    room = parse_qs(urlsplit(request.ws_resource).query).get("room", ["lobby"])[0]
    name = stream.receive_message()
    if name is None:
        return
    if not (is_name(name, MAX_NAME_CHARACTERS) and is_name(room, MAX_ROOM_CHARACTERS)):
        stream.close_connection(CLOSE_BAD_NAME, "the first message must be your name")
        return
    if not join(request, room, name):
        stream.close_connection(CLOSE_NAME_TAKEN, "somebody has that name already")
        return
    try:
        while True:
            text = stream.receive_message()
            if text is None:
                return
            if isinstance(text, bytes):
                stream.close_connection(common.STATUS_UNSUPPORTED_DATA, "text only, please")
                return
            if len(text) > MAX_TEXT_CHARACTERS:
                stream.close_connection(common.STATUS_MESSAGE_TOO_BIG, "that is too long")
                return
            with _lock:
                tell(room, {"event": "message", "name": name, "text": text})
    finally:
        # However this connection ends, by a close or by an exception, the others learn of it.
        leave(request, room, name)


def is_name(name, longest):
    """Whether what a client has sent will do as a name. Never trust what a client sends."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= longest
        and name.isprintable()
        and name == name.strip()
    )


def join(request, room, name):
    """Put a new member into a room and tell everybody. False if the name is taken."""
    with _lock:
        members = _rooms.setdefault(room, set())
        if name in members:
            return False
        members.add(name)
        topics.subscribe(request, topic_of(room))
        tell(room, {"event": "join", "name": name, "members": sorted(members)})
    return True


def leave(request, room, name):
    """Take a member out of a room and tell the others."""
    with _lock:
        members = _rooms[room]
        members.remove(name)
        # the subscription would end with the connection, which is a moment later
        topics.unsubscribe(request, topic_of(room))
        tell(room, {"event": "leave", "name": name, "members": sorted(members)})
        if not members:
            del _rooms[room]


def topic_of(room):
    """The topic of a room; other handlers of the server may have topics as well."""
    return f"chat/{room}"


def tell(room, event):
    """Publish an event to the members of a room."""
    topics.publish(topic_of(room), json.dumps(event))
