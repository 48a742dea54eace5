"""HAR files: those of browsers and proxies are read, and what is written is read again."""

import base64
import copy
import json

import pytest

from fastwsh.testing import har

HEADERS = [{"name": "Upgrade", "value": "websocket"}, {"name": "Connection", "value": "Upgrade"}]

# As "Save all as HAR" of Chromium's developer tools writes them (148), without what is the same.
CHROMIUM = {
    "log": {
        "version": "1.2",
        "creator": {"name": "WebInspector", "version": "537.36"},
        "pages": [],
        "entries": [
            {
                "_initiator": {"type": "parser"},
                "_resourceType": "document",
                "cache": {},
                "request": {"method": "GET", "url": "http://localhost/", "headers": []},
                "response": {"status": 200, "headers": []},
                "startedDateTime": "2026-11-29T05:00:00.000Z",
            },
            {
                "_connectionId": "91",
                "_initiator": {"type": "script", "stack": {"callFrames": []}},
                "_priority": "VeryHigh",
                "_resourceType": "websocket",
                "_webSocketMessages": [
                    {"type": "send", "time": 1795928401.5, "opcode": 1, "data": "hällo"},
                    {"type": "receive", "time": 1795928401.75, "opcode": 2, "data": "AP8="},
                    {"type": "receive", "time": 1795928402, "opcode": 1, "data": '{"a": 1}'},
                ],
                "cache": {},
                "connection": "80",
                "request": {
                    "method": "GET",
                    "url": "ws://localhost/feed?a=1",
                    "httpVersion": "HTTP/1.1",
                    "headers": [*HEADERS, {"name": "Sec-WebSocket-Protocol", "value": "a, b"}],
                    "queryString": [{"name": "a", "value": "1"}],
                    "cookies": [],
                    "headersSize": 512,
                    "bodySize": 0,
                },
                "response": {
                    "status": 101,
                    "statusText": "Switching Protocols",
                    "httpVersion": "HTTP/1.1",
                    "headers": [*HEADERS, {"name": "sec-websocket-protocol", "value": "b"}],
                    "cookies": [],
                    "content": {"size": 0, "mimeType": "x-unknown"},
                    "redirectURL": "",
                    "headersSize": 166,
                    "bodySize": 0,
                    "_transferSize": 0,
                    "_error": None,
                    "_fetchedViaServiceWorker": False,
                },
                "serverIPAddress": "",
                "startedDateTime": "2026-11-29T05:00:01.250Z",
                "time": 900.5,
                "timings": {"blocked": -1, "dns": -1, "ssl": -1, "connect": -1, "send": 0,
                            "wait": 0, "receive": 900.5, "_blocked_queueing": -1},
            },
        ],
    }
}  # fmt: skip

# As the command save.har of mitmproxy (11) writes them.
MITMPROXY = {
    "log": {
        "version": "1.2",
        "creator": {"name": "mitmproxy", "version": "11.0.0", "comment": ""},
        "pages": [],
        "entries": [
            {
                "startedDateTime": "2026-11-29T05:00:01.250000+00:00",
                "time": 3.1,
                "request": {
                    "method": "GET",
                    "url": "https://a.example/feed",
                    "httpVersion": "HTTP/1.1",
                    "cookies": [],
                    "headers": HEADERS,
                    "queryString": [],
                    "headersSize": 300,
                    "bodySize": 0,
                },
                "response": {
                    "status": 101,
                    "statusText": "Switching Protocols",
                    "httpVersion": "HTTP/1.1",
                    "cookies": [],
                    "headers": HEADERS,
                    "content": {"size": 0, "compression": 0, "mimeType": "", "text": ""},
                    "redirectURL": "",
                    "headersSize": 200,
                    "bodySize": 0,
                },
                "cache": {},
                "timings": {"connect": None, "ssl": None, "send": 1, "receive": 1, "wait": 1},
                "serverIPAddress": "192.0.2.1",
                "_resourceType": "websocket",
                "_webSocketMessages": [
                    {"type": "send", "time": 1795928401.5, "opcode": 1, "data": "a"},
                    {"type": "receive", "time": 1795928401.6, "opcode": 2, "data": "AQI="},
                ],
            }
        ],
    }
}

# As "Save All As HAR" of Firefox's network monitor (140) writes them: there are no messages.
FIREFOX = {
    "log": {
        "version": "1.2",
        "creator": {"name": "Firefox", "version": "140.0"},
        "browser": {"name": "Firefox", "version": "140.0"},
        "pages": [{"id": "page_1", "title": "http://localhost/", "pageTimings": {}}],
        "entries": [
            {
                "startedDateTime": "2026-11-29T06:00:01.250+01:00",
                "request": {
                    "bodySize": 0,
                    "method": "GET",
                    "url": "wss://a.example/feed",
                    "httpVersion": "HTTP/1.1",
                    "headers": HEADERS,
                    "cookies": [],
                    "queryString": [],
                    "headersSize": 500,
                },
                "response": {
                    "status": 101,
                    "statusText": "Switching Protocols",
                    "httpVersion": "HTTP/1.1",
                    "headers": HEADERS,
                    "cookies": [],
                    "content": {"mimeType": "text/plain", "size": 0, "text": ""},
                    "redirectURL": "",
                    "headersSize": 200,
                    "bodySize": 200,
                },
                "cache": {},
                "timings": {"blocked": 0, "dns": 0, "connect": 0, "ssl": 0, "send": 0},
                "time": 10,
                "_securityState": "secure",
                "serverIPAddress": "192.0.2.1",
                "connection": "443",
                "pageref": "page_1",
            }
        ],
    }
}


@pytest.fixture
def read(tmp_path):
    def read(value):
        file = tmp_path / "some.har"
        file.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
        return har.read(file)

    return read


def changed(value, **members):
    """A copy of a file, with other members in its last entry."""
    value = copy.deepcopy(value)
    value["log"]["entries"][-1].update(members)
    return value


def messages(*values):
    return {"_webSocketMessages": list(values)}


def test_a_file_of_chromium_is_read(read):
    (conversation,) = read(CHROMIUM)
    assert (conversation.url, conversation.resource) == ("ws://localhost/feed?a=1", "/feed?a=1")
    assert (conversation.status, conversation.subprotocol) == (101, "b")
    assert conversation.started == 1795928401.25
    assert conversation.messages == [
        har.Message(True, 1795928401.5, har.TEXT, "hällo"),
        har.Message(False, 1795928401.75, har.BINARY, b"\x00\xff"),
        har.Message(False, 1795928402, har.TEXT, '{"a": 1}'),
    ]
    assert conversation.end is None


def test_an_error_in_a_file_of_chromium_is_an_unclean_end(read):
    words = "WebSocket connection to 'ws://localhost/feed' failed: Invalid frame header"
    error = {"type": "error", "time": 1795928403, "opcode": -1, "data": words}
    (conversation,) = read(changed(CHROMIUM, **messages(error)))
    assert conversation.end == har.End(None, False, 1795928403)
    assert conversation.messages == []


def test_a_file_of_mitmproxy_is_read(read):
    (conversation,) = read(MITMPROXY)
    assert (conversation.url, conversation.path) == ("wss://a.example/feed", "/feed")
    assert [message.data for message in conversation.messages] == ["a", b"\x01\x02"]
    assert conversation.started == 1795928401.25


def test_a_file_of_firefox_is_read_and_has_no_messages(read):
    (conversation,) = read(FIREFOX)
    assert (conversation.url, conversation.status) == ("wss://a.example/feed", 101)
    assert (conversation.messages, conversation.has_messages) == ([], False)
    assert conversation.started == 1795928401.25


@pytest.mark.parametrize("factor", [1, 1000, 1_000_000])
def test_times_in_smaller_units_are_understood(read, factor):
    value = {"type": "sent", "time": 1795928401.5 * factor, "opCode": 1, "data": "x"}
    (conversation,) = read(changed(CHROMIUM, **messages(value)))
    assert conversation.messages == [har.Message(True, 1795928401.5, har.TEXT, "x")]


def test_a_byte_order_mark_is_passed_over(read):
    assert len(read("\ufeff" + json.dumps(CHROMIUM))) == 1


@pytest.mark.parametrize("name", ["websocket", "WebSocket"])
def test_an_upgrade_to_websocket_is_one_however_it_is_written(read, name):
    opened = {"status": 101, "headers": [{"name": "upgrade", "value": name}]}
    entry = {"request": {"method": "GET", "url": "http://a/"}, "response": opened}
    assert [one.url for one in read({"log": {"entries": [entry]}})] == ["ws://a/"]


def test_other_upgrades_and_requests_are_passed_over(read):
    h2c = {"status": 101, "headers": [{"name": "Upgrade", "value": "h2c"}]}
    entry = {"request": {"method": "GET", "url": "http://a/"}, "response": h2c}
    assert read({"log": {"entries": [entry, "nonsense", {}]}}) == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("", "Expecting value"),
        ("[]", 'it has no list "entries" in "log"'),
        ('{"log": {}}', 'it has no list "entries" in "log"'),
        ('{"log": {"entries": 1}}', 'it has no list "entries" in "log"'),
        ('{"log": {"entries": [{"_resourceType": "websocket"}]}}', "entry 1 cannot be understood"),
        (
            changed(CHROMIUM, **messages({"type": "send", "opcode": 2, "data": "no base64!"})),
            "entry 2 cannot be understood .*the data of a message with opcode 2 is no base64",
        ),
        (changed(CHROMIUM, **messages("nothing")), "entry 2 cannot be understood"),
        (
            changed(CHROMIUM, **messages({"type": "send", "time": float("inf"), "data": "x"})),
            "entry 2 cannot be understood .*inf is no time",
        ),
        (
            changed(CHROMIUM, response={"status": float("inf")}),
            "entry 2 cannot be understood .*cannot convert float infinity to integer",
        ),
    ],
)
def test_what_is_no_har_file_is_said_to_be_none(read, tmp_path, value, reason):
    with pytest.raises(har.HarError, match=f"some.har is no HAR file: {reason}"):
        read(value)
    (tmp_path / "some.har").write_bytes(b"\xff\xfe")
    with pytest.raises(har.HarError, match="not in UTF-8"):
        har.read(tmp_path / "some.har")
    with pytest.raises(har.HarError, match=r"cannot read .*none.har: No such file"):
        har.read(tmp_path / "none.har")


CONVERSATION = har.Conversation(
    "wss://a.example/feed?x=1&x=2&empty=",
    1795928401.25,
    request_headers=[("Host", "a.example"), ("X", "1"), ("X", "2")],
    response_headers=[("Upgrade", "websocket"), ("Sec-WebSocket-Protocol", "b")],
    messages=[
        har.Message(True, 1795928401.5, har.TEXT, 'quotes " \\ \u2028 \U0001f600 \x00\x1f\n'),
        har.Message(False, 1795928401.6, har.TEXT, b"\xff not UTF-8"),
        har.Message(False, 1795928401.7, har.BINARY, bytes(range(256)), (200, 0, 56)),
        har.Message(True, 1795928401.8, har.PING, b""),
        har.Message(False, 1795928401.9, har.PONG, b"\xff"),
        har.Message(True, 1795928402.0, 3, b"reserved"),
        har.Message(False, 1795928402.1, har.CLOSE, b"\x03\xe8bye"),
        har.Message(True, 1795928402.2, har.CLOSE, b""),
    ],
)


def test_what_is_written_is_read_again(tmp_path):
    refused = har.Conversation(
        "ws://a.example/",
        1.0,
        403,
        "Forbidden",
        response_headers=[("Content-Type", "text/plain"), ("Location", "/x")],
        body=b"\xff no",
    )
    ends = [
        har.Conversation(f"ws://a/{number}", 2.0, end=har.End(by_client, was_reset, 3.0))
        for number, (by_client, was_reset) in enumerate(
            [(True, True), (False, True), (True, False), (False, False), (None, False)]
        )
    ]
    everything = [CONVERSATION, refused, *ends]
    har.write(tmp_path / "a.har", everything)
    assert har.read(tmp_path / "a.har") == everything
    assert [path.name for path in tmp_path.iterdir()] == ["a.har"]


def test_what_is_written_has_the_shape_that_chromium_reads(tmp_path):
    har.write(tmp_path / "a.har", [CONVERSATION])
    log = json.loads((tmp_path / "a.har").read_text(encoding="utf-8"))["log"]
    (entry,) = log["entries"]
    assert (log["version"], log["creator"]["name"], log["pages"]) == ("1.2", "fastwsh", [])
    assert entry["_resourceType"] == "websocket"
    assert entry["startedDateTime"] == "2026-11-29T05:00:01.250Z"
    assert {"cookies", "headers", "headersSize", "bodySize", "httpVersion"} <= set(entry["request"])
    assert {"content", "redirectURL", "cookies", "statusText"} <= set(entry["response"])
    assert entry["request"]["queryString"] == [
        {"name": "x", "value": "1"},
        {"name": "x", "value": "2"},
        {"name": "empty", "value": ""},
    ]
    for message in entry["_webSocketMessages"]:
        assert {"type", "time", "opcode", "data"} <= set(message)
        if message["opcode"] != 1:
            base64.b64decode(message["data"], validate=True)


def test_a_conversation_tells_of_its_close_frames():
    *_, close, empty = CONVERSATION.messages
    assert (close.close_code, close.close_reason) == (1000, "bye")
    assert (empty.close_code, empty.close_reason) == (None, "")
    assert CONVERSATION.messages[0].close_code is None
    assert [message.is_control for message in CONVERSATION.messages[:4]] == [False] * 3 + [True]


@pytest.mark.parametrize("whole", [CHROMIUM, MITMPROXY])
def test_what_was_read_from_others_can_be_written(read, tmp_path, whole):
    conversations = read(whole)
    har.write(tmp_path / "b.har", conversations)
    assert har.read(tmp_path / "b.har") == conversations
