"""The chat room in `examples`."""

import threading
from contextlib import ExitStack

import pytest
from websockets.sync.client import ClientConnection

from conftest import Server, StartServer
from example_client import EXAMPLES, connect, receive_close, receive_json
from wire import TEXT


@pytest.fixture
def server(start_server: StartServer) -> Server:
    """A server of the example handlers."""
    return start_server("-w", EXAMPLES)


def test_everybody_sees_joins_messages_and_leaves(server: Server) -> None:
    with connect(server, "/chat") as ann:
        ann.send("ann")
        assert receive_json(ann) == {"event": "join", "name": "ann", "members": ["ann"]}
        with connect(server, "/chat") as bob:
            bob.send("bob")
            joined = {"event": "join", "name": "bob", "members": ["ann", "bob"]}
            assert receive_json(ann) == receive_json(bob) == joined
            bob.send("<b>hi</b>")
            said = {"event": "message", "name": "bob", "text": "<b>hi</b>"}
            assert receive_json(ann) == receive_json(bob) == said
        assert receive_json(ann) == {"event": "leave", "name": "bob", "members": ["ann"]}


def test_a_vanished_member_has_left(server: Server) -> None:
    with connect(server, "/chat") as ann:
        ann.send("ann")
        receive_json(ann)
        bob = server.connect()
        bob.handshake("/chat")
        bob.send_frame(TEXT, b"bob")
        assert receive_json(ann)["members"] == ["ann", "bob"]
        bob.reset()
        assert receive_json(ann) == {"event": "leave", "name": "bob", "members": ["ann"]}
        ann.send("alone again")
        assert receive_json(ann)["text"] == "alone again"


def test_a_member_that_reads_nothing_is_shown_out(start_server: StartServer) -> None:
    server = start_server("-w", EXAMPLES, "--close-timeout", "1")
    with connect(server, "/chat") as ann, server.connect() as bob:
        ann.send("ann")
        receive_json(ann)
        bob.handshake("/chat")
        bob.send_frame(TEXT, b"bob")
        receive_json(ann)
        # Far more than the socket buffers between them hold. Ann is served all the time.
        text = "世" * 4096
        event = {"event": "message"}
        for _ in range(2000):
            ann.send(text)
            event = receive_json(ann)
            if event["event"] == "leave":
                break
            assert event["text"] == text
        server.log.wait_for(r"is too slow for its topics .*: connection closed")
        if event["event"] == "message":
            event = receive_json(ann)
        assert event == {"event": "leave", "name": "bob", "members": ["ann"]}
        # Bob wakes up and reads what was under way, at the end of which he was cut off.
        assert bob.read_to_end()


def test_rooms_do_not_hear_each_other(server: Server) -> None:
    with connect(server, "/chat?room=tea") as ann, connect(server, "/chat?room=caf%C3%A9") as bob:
        for client, name in ((ann, "ann"), (bob, "bob")):
            client.send(name)
            assert receive_json(client)["members"] == [name]
        ann.send("to the tea room")
        bob.send("to the café")
        assert receive_json(ann)["text"] == "to the tea room"
        assert receive_json(bob)["text"] == "to the café"


def test_refuses_a_bad_room(server: Server) -> None:
    with connect(server, f"/chat?room={'x' * 33}") as client:
        client.send("ann")
        assert receive_close(client)[0] == 4000


def test_all_see_the_same_order(server: Server) -> None:
    names = ["ann", "bob", "cem", "dai"]

    def talk(client: ClientConnection) -> None:
        for number in range(50):
            client.send(str(number))

    with ExitStack() as stack:
        clients = [stack.enter_context(connect(server, "/chat")) for _ in names]
        for name, client in zip(names, clients, strict=True):
            client.send(name)
            assert receive_json(client)["name"] == name
        for index, client in enumerate(clients):
            later = [receive_json(client)["name"] for _ in names[index + 1 :]]
            assert later == names[index + 1 :]
        talkers = [threading.Thread(target=talk, args=(client,)) for client in clients]
        for talker in talkers:
            talker.start()
        seen = [[receive_json(client) for _ in range(50 * len(names))] for client in clients]
        for talker in talkers:
            talker.join()
    assert seen == [seen[0]] * len(names)
    for name in names:
        texts = [event["text"] for event in seen[0] if event["name"] == name]
        assert texts == [str(number) for number in range(50)]


@pytest.mark.parametrize("name", ["", " ann", "a\nb", "x" * 33, b"ann"])
def test_refuses_a_bad_name(server: Server, name: str | bytes) -> None:
    with connect(server, "/chat") as client:
        client.send(name)
        assert receive_close(client) == (4000, "the first message must be your name")


def test_refuses_a_name_in_use(server: Server) -> None:
    with connect(server, "/chat") as ann, connect(server, "/chat") as other:
        ann.send("ann")
        receive_json(ann)
        other.send("ann")
        assert receive_close(other) == (4001, "somebody has that name already")
        ann.send("still here")
        assert receive_json(ann)["text"] == "still here"


@pytest.mark.parametrize(("message", "code"), [(b"bytes", 1003), ("x" * 4097, 1009)])
def test_refuses_bad_messages(server: Server, message: str | bytes, code: int) -> None:
    with connect(server, "/chat") as client:
        client.send("ann")
        receive_json(client)
        client.send(message)
        assert receive_close(client)[0] == code
