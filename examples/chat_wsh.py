"""A chat room: everybody in it sees every message, and who joins and leaves.

The first message a client sends is its name; every further one is a line for the room. The server
sends JSON:

    {"event": "join",    "name": "ann", "members": ["ann", "bob"]}
    {"event": "message", "name": "ann", "text": "hello"}
    {"event": "leave",   "name": "ann", "members": ["bob"]}

Each connection's handler runs concurrently with the others, and the module's globals are shared by
all of them. That gives three rules, which any handler that sends to other clients wants to follow:

* What is shared (here: the room) is only touched under a lock.
* Nothing is sent while that lock is held. A client that stops reading blocks whoever sends to it;
  with the lock held, it would block the room.
* Only one thread sends on a connection, so that two messages can never mix. Everybody else puts
  what they have for a member into its outbox, which takes no time, and the member's own writer
  thread sends it. An outbox that fills up belongs to a dead or hopelessly slow member, which is
  then shown out.
"""

import collections
import json
import threading

from pywebsocket3 import common, msgutil

MAX_NAME_CHARACTERS = 32
MAX_TEXT_CHARACTERS = 4096
OUTBOX_LIMIT = 256

# Codes 4000-4999 are for applications (RFC 6455 7.4.2).
CLOSE_BAD_NAME = 4000
CLOSE_NAME_TAKEN = 4001
CLOSE_TOO_SLOW = 4002

_lock = threading.Lock()
_members = {}  # name -> Member; read and written with _lock held


class Member:
    """Somebody in the room, with what still has to be sent to them."""

    def __init__(self, name, stream):
        self.name = name
        self._stream = stream
        self._outbox = collections.deque()
        self._close = None  # the code and reason to close with, once that is decided
        self._left = False
        self._changed = threading.Condition()  # guards the three fields above
        # A daemon: it may be stuck in a send when the server wants to exit.
        threading.Thread(target=self._write, daemon=True).start()

    def post(self, text):
        """Leave a message for the writer, without waiting. False if the member cannot keep up."""
        with self._changed:
            if len(self._outbox) == OUTBOX_LIMIT:
                self._close = CLOSE_TOO_SLOW, "too slow"
                self._changed.notify()
                return False
            self._outbox.append(text)
            self._changed.notify()
            return True

    def close(self, code, reason):
        """Have the writer close the connection, in place of what is left in the outbox."""
        with self._changed:
            self._close = code, reason
            self._changed.notify()

    def leave(self):
        """Have the writer end: there is no connection any more."""
        with self._changed:
            self._left = True
            self._changed.notify()

    def _write(self):
        try:
            while True:
                with self._changed:
                    while not (self._left or self._close or self._outbox):
                        self._changed.wait()
                    if self._left:
                        return
                    if self._close:
                        break
                    text = self._outbox.popleft()
                self._stream.send_message(text)
            # The client's close frame is for the handler to read, which is still receiving.
            code, reason = self._close
            self._stream.close_connection(code, reason, wait_response=False)
        except (msgutil.BadOperationException, msgutil.ConnectionTerminatedException, OSError):
            # The client is gone, or closed a moment ago. The handler's receive_message() says
            # so as well, and it is the handler that leaves the room.
            return


def web_socket_do_extra_handshake(request):
    pass


def web_socket_transfer_data(request):
    stream = request.ws_stream
    name = stream.receive_message()
    if name is None:
        return
    if not is_name(name):
        stream.close_connection(CLOSE_BAD_NAME, "the first message must be your name")
        return
    member = join(name, stream)
    if member is None:
        stream.close_connection(CLOSE_NAME_TAKEN, "somebody has that name already")
        return
    try:
        while True:
            text = stream.receive_message()
            if text is None:
                return
            if isinstance(text, bytes):
                show_out(member, common.STATUS_UNSUPPORTED_DATA, "text only, please")
            elif len(text) > MAX_TEXT_CHARACTERS:
                show_out(member, common.STATUS_MESSAGE_TOO_BIG, "that is too long")
            else:
                say(member, text)
    finally:
        # However this connection ends, by a close or by an exception, the others learn of it.
        remove(member)
        member.leave()


def is_name(name):
    """Whether a client's first message will do as a name. Never trust what a client sends."""
    return (
        isinstance(name, str)
        and 0 < len(name) <= MAX_NAME_CHARACTERS
        and name.isprintable()
        and name == name.strip()
    )


def join(name, stream):
    """Put a new member into the room and tell everybody. None if the name is taken."""
    with _lock:
        if name in _members:
            return None
        member = _members[name] = Member(name, stream)
        announce({"event": "join", "name": name, "members": sorted(_members)})
    return member


def say(member, text):
    """Tell everybody what a member says, unless it has been shown out."""
    with _lock:
        if _members.get(member.name) is member:
            announce({"event": "message", "name": member.name, "text": text})


def show_out(member, code, reason):
    """Take a member out of the room and close its connection. It is received until it answers."""
    remove(member)
    member.close(code, reason)


def remove(member):
    """Take a member out of the room and tell the others, unless that has happened before."""
    with _lock:
        if _members.get(member.name) is member:
            del _members[member.name]
            announce({"event": "leave", "name": member.name, "members": sorted(_members)})


def announce(event):
    """Post an event to every member. Called with _lock held, so all see the same order.

    Posting does not send, hence never blocks. Whoever cannot keep up is taken out of the room,
    which is another event to announce.
    """
    events = collections.deque([event])
    while events:
        text = json.dumps(events.popleft())
        for member in list(_members.values()):
            if not member.post(text):
                del _members[member.name]
                events.append({"event": "leave", "name": member.name, "members": sorted(_members)})
