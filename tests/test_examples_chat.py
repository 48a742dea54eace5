"""The chat rooms in `examples`. Members tell each other what no process keeps."""

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from conftest import Server, StartServer
from example_client import EXAMPLES, connect, receive_close, receive_json
from wire import TEXT

LINE = {"id": "0" * 16, "name": "ann", "at": 1, "number": 1, "text": "hello"}
SOMEBODY = "0123456789abcdef"


@pytest.fixture(params=[(), ("--workers", "2")], ids=["one process", "two workers"])
def server(request: pytest.FixtureRequest, start_server: StartServer) -> Server:
    """A server of the example handlers."""
    return start_server("-w", EXAMPLES, *request.param)


class Member:
    """A client in a room.

    Attributes:
        id: What the server calls it.
    """

    def __init__(self, client: ClientConnection, name: str) -> None:
        self._client = client
        client.send(name)
        self.id = receive_json(client)["id"]
        assert self.hear("join", id=self.id)["name"] == name

    def send(self, event: str, **fields: object) -> None:
        self._client.send(json.dumps({"event": event, **fields}))

    def say(self, text: str) -> None:
        self.send("line", text=text)

    def receive(self) -> Any:
        return receive_json(self._client)

    def hear(self, event: str, **fields: object) -> Any:
        """Wait for an event; what else comes meanwhile must not be a line."""
        while True:
            found = self.receive()
            if found["event"] == event and all(found[key] == fields[key] for key in fields):
                return found
            assert found["event"] != "line", found

    def receive_close(self) -> tuple[int, str]:
        return receive_close(self._client)


@contextmanager
def member(server: Server, name: str, path: str = "/chat") -> Iterator[Member]:
    with connect(server, path) as client:
        yield Member(client, name)


def meet(one: Member, other: Member) -> None:
    """Wait until each hears the other: at several workers that takes a moment."""
    for speaker, listener in ((one, other), (other, one)):
        heard = threading.Event()

        def listen(listener: Member = listener, heard: threading.Event = heard) -> None:
            listener.hear("here", id=speaker.id)  # noqa: B023 (joined below)
            heard.set()

        listening = threading.Thread(target=listen)
        listening.start()
        while not heard.is_set():
            speaker.send("here")
            heard.wait(0.05)
        listening.join()


def test_everybody_sees_joins_lines_and_leaves(server: Server) -> None:
    with member(server, "ann") as ann:
        with member(server, "bob") as bob:
            meet(ann, bob)
            bob.say("<b>hi</b>")
            for who in (ann, bob):
                said = who.hear("line")
                assert said.pop("at") > 0
                assert said == {
                    "event": "line",
                    "id": bob.id,
                    "name": "bob",
                    "number": 1,
                    "text": "<b>hi</b>",
                }
        assert ann.hear("leave")["id"] == bob.id


def test_members_answer_a_newcomer(server: Server) -> None:
    with member(server, "ann") as ann, member(server, "bob") as bob, member(server, "eve") as eve:
        meet(ann, bob)
        meet(ann, eve)
        bob.send("here", to=ann.id)
        assert ann.hear("here", id=bob.id)["name"] == "bob"
        ann.send("ask", to=bob.id)
        assert bob.hear("ask")["id"] == ann.id
        bob.send("history", to=ann.id, lines=[{**LINE, "more": "no"}])
        assert ann.hear("history")["lines"] == [LINE]
        # nobody else hears of it
        ann.say("end")
        seen = []
        while (event := eve.receive())["event"] != "line":
            seen.append(event["event"])
        assert not {"ask", "history"} & set(seen)


def test_a_vanished_member_has_left(server: Server) -> None:
    with member(server, "ann") as ann:
        bob = server.connect()
        bob.handshake("/chat")
        bob.send_frame(TEXT, b"bob")
        # the second message comes after its subscriptions
        bob.read_frame()
        bob.read_frame()
        bob.reset()
        with member(server, "eve") as eve:
            meet(ann, eve)
            ann.say("alone again")
            assert eve.hear("line")["text"] == "alone again"


def test_a_member_that_reads_nothing_is_shown_out(start_server: StartServer) -> None:
    server = start_server("-w", EXAMPLES, "--close-timeout", "1")
    with member(server, "ann") as ann, server.connect() as bob:
        bob.handshake("/chat")
        bob.send_frame(TEXT, b"bob")
        ann.hear("join", name="bob")
        # Far more than the socket buffers between them hold. Ann is served all the time.
        text = "世" * 4096
        event = {"event": "line"}
        for _ in range(2000):
            ann.say(text)
            event = ann.receive()
            if event["event"] == "leave":
                break
            assert event["text"] == text
        server.log.wait_for(r"is too slow for its topics .*: connection closed")
        if event["event"] == "line":
            event = ann.receive()
        assert (event["event"], event["name"]) == ("leave", "bob")
        # Bob wakes up and reads what was under way, at the end of which he was cut off.
        assert bob.read_to_end()


def test_rooms_do_not_hear_each_other(server: Server) -> None:
    with (
        member(server, "ann", "/chat?room=tea") as ann,
        member(server, "bob", "/chat?room=caf%C3%A9") as bob,
        member(server, "eve", f"/chat?room=tea%2F{'0' * 16}") as eve,
    ):
        for who, text in ((ann, "to the tea room"), (bob, "to the café"), (eve, "to nobody")):
            who.say(text)
            assert who.receive()["text"] == text
        # nor can a member of another room be told anything
        ann.send("here", to=bob.id)
        bob.say("end")
        assert bob.receive()["text"] == "end"


def test_lines_of_each_arrive_in_order(server: Server) -> None:
    names = ["ann", "bob", "cem", "dai"]

    def talk(member: Member) -> None:
        for number in range(50):
            member.say(str(number))

    def lines_heard_by(member: Member) -> dict[str, list[str]]:
        seen: dict[str, list[str]] = {name: [] for name in names}
        while sum(map(len, seen.values())) < 50 * len(names):
            event = member.receive()
            if event["event"] == "line":
                seen[event["name"]].append(event["text"])
        return seen

    with ExitStack() as stack:
        members = [stack.enter_context(member(server, name)) for name in names]
        for who, other in itertools.combinations(members, 2):
            meet(who, other)
        talkers = [threading.Thread(target=talk, args=(who,)) for who in members]
        for talker in talkers:
            talker.start()
        for who in members:
            expected = {name: [str(number) for number in range(50)] for name in names}
            assert lines_heard_by(who) == expected
        for talker in talkers:
            talker.join()


@pytest.mark.parametrize("name", ["", " ann", "a\nb", "x" * 33, b"ann"])
def test_refuses_a_bad_name(start_server: StartServer, name: str | bytes) -> None:
    with connect(start_server("-w", EXAMPLES), "/chat") as client:
        client.send(name)
        assert receive_close(client) == (4000, "the first message must be your name")


def test_refuses_bad_rooms_and_messages(start_server: StartServer) -> None:
    server = start_server("-w", EXAMPLES)
    with connect(server, f"/chat?room={'x' * 33}") as client:
        client.send("ann")
        assert receive_close(client) == (4000, "no room can have this name")
    many = [{**LINE, "number": number} for number in range(51)]
    mistaken = [{**LINE, "at": True}], [{**LINE, "id": 1}]
    histories = (None, {}, [1], [{}], many, *mistaken)
    events = (
        *([], 1, {}, {"event": []}, {"event": "line"}, {"event": "line", "text": 1}),
        *({"event": "join"}, {"event": "ask"}, {"event": "here", "to": "x"}),
        *({"event": "here", "to": []}, {"event": "history", "lines": []}),
        *({"event": "history", "to": SOMEBODY, "lines": lines} for lines in histories),
    )
    messages: list[tuple[str | bytes, int]] = [
        (b"bytes", 1003),
        ("x" * 65537, 1009),
        (json.dumps({"event": "line", "text": "x" * 4097}), 1009),
        *((text, 4001) for text in ("", "hello", "[" * 60_000)),
        *((json.dumps(event), 4001) for event in events),
    ]
    for message, code in messages:
        with member(server, "ann") as ann:
            ann._client.send(message)
            assert ann.receive_close()[0] == code, message


def test_any_text_may_be_said(start_server: StartServer) -> None:
    with member(start_server("-w", EXAMPLES), "ann") as ann:
        # a lone surrogate is no UTF-8, but JSON can say it
        for text in ("", "\0", "\ud800", "\U0001f600" * 4096):
            ann.say(text)
            assert ann.receive()["text"] == text
        lines = [{**LINE, "number": number, "text": "\U0001f600" * 80} for number in range(50)]
        ann.send("history", to=SOMEBODY, lines=lines)
        ann.say("end")
        assert ann.receive()["text"] == "end"
