"""Scenarios of the opening handshake: headers, request lines, resources and what is negotiated."""

import re
from collections.abc import Iterator

from differential.player import HELLO, Read, ReadHead, Scenario, Slowly
from wire import CLOSE, KEY, PING, encode_frame

_FIELDS = {
    "Host": "localhost:<port>",
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Key": KEY,
    "Sec-WebSocket-Version": "13",
}
_EXTENSIONS = "Sec-WebSocket-Extensions"
_PROTOCOL = "Sec-WebSocket-Protocol"


def request(
    resource: str = "/echo",
    *more: tuple[str, str],
    line: str = "GET {} HTTP/1.1",
    without: str = "",
    **changed: str,
) -> bytes:
    """A handshake; `changed` has the names of headers with underscores."""
    new = {name.replace("_", "-").lower(): value for name, value in changed.items()}
    fields = [(name, new.get(name.lower(), value)) for name, value in _FIELDS.items()]
    lines = [f"{name}: {value}" for name, value in [*fields, *more] if name != without]
    return "\r\n".join([line.format(resource), *lines, "", ""]).encode("latin-1")


def scenarios() -> Iterator[Scenario]:
    """All of them."""
    for group in (_headers, _lines, _request_lines, _resources, _targets, _subprotocols):
        yield from group()
    yield from _extensions()
    yield from _surplus()


def _headers() -> Iterator[Scenario]:
    values = {
        "Upgrade": ["WebSocket", "h2c", "h2c, websocket", "", "\twebsocket\t"],
        "Connection": [
            "keep-alive, Upgrade",
            "uPgRaDe",
            "keep-alive",
            "Upgrade,,close",
            '"Upgrade"',
        ],
        "Host": ["", "localhost", "localhost:word", "example.com:1"],
        "Sec-WebSocket-Version": ["8", "0", "13, 8", "thirteen", "013", "", " 13 "],
        "Sec-WebSocket-Key": [
            "YQ==",
            KEY + "AAAA",
            KEY.replace("Q==", "R=="),
            KEY.replace("b", "*"),
            KEY.rstrip("="),
            f"{KEY},{KEY}",
            f" {KEY} ",
            "",
        ],
    }
    for name, choices in values.items():
        yield Scenario(f"no {name}", [request(without=name)])
        for value in choices:
            yield Scenario(f"{name}: {value!r}", [request(**{name: value})])
    repeated = [
        ("Sec-WebSocket-Key", KEY),
        ("Sec-WebSocket-Version", "8"),
        ("Host", "other"),
        ("Upgrade", "h2c"),
        ("Connection", "keep-alive"),
    ]
    for name, value in repeated:
        yield Scenario(f"second {name}: {value}", [request("/echo", (name, value))])
    late = request().replace(b"Connection: ", b"Connection: keep-alive\r\nConnection: ")
    yield Scenario("Upgrade in the second Connection", [late])


def _lines() -> Iterator[Scenario]:
    whole = request()
    changed = {
        "names in lower case": re.sub(rb"\r\n[A-Za-z-]+:", lambda name: name[0].lower(), whole),
        "no space after colons": whole.replace(b": ", b":"),
        "space before a colon": whole.replace(b"Upgrade:", b"Upgrade :"),
        "line without a colon": whole.replace(b"Upgrade:", b"Nonsense\r\nUpgrade:"),
        "folded value": whole.replace(b"Connection: ", b"Connection: keep-alive,\r\n "),
        "line feeds only": whole.replace(b"\r\n", b"\n"),
        "carriage returns only": whole.replace(b"\r\n", b"\r"),
        "empty line first": b"\r\n" + whole,
        "space first": b" " + whole,
        "NUL in a value": request("/echo", ("X-Nul", "a\0b")),
        "Latin-1 in a value": request("/echo", ("X-Latin", "\xe9")),
        "bare carriage return in a value": request("/echo", ("X-Cr", "a\rb")),
        "99 headers": request("/echo", *[(f"X-{n}", "v") for n in range(94)]),
        "101 headers": request("/echo", *[(f"X-{n}", "v") for n in range(96)]),
        "line of 65,000 bytes": request("/echo", ("X-Big", "x" * 65_000)),
        "line of 66,000 bytes": request("/echo", ("X-Big", "x" * 66_000)),
        "body": request("/echo", ("Content-Length", "5")) + b"12345",
        "expectation": request("/echo", ("Expect", "100-continue")),
    }
    for name, data in changed.items():
        yield Scenario(name, [data])
    yield Scenario("byte by byte", [Slowly(whole), ReadHead()])


def _request_lines() -> Iterator[Scenario]:
    for line in (
        "GET {} HTTP/1.0",
        "GET {} HTTP/1.2",
        "GET {} HTTP/2.0",
        "GET {} http/1.1",
        "GET {} HTTP/1",
        "GET {} HTTP/x.y",
        "GET {} FOO/1.1",
        "GET {}",
        "GET {} HTTP/1.1 more",
        "GET\t{}\tHTTP/1.1",
        "GET  {}  HTTP/1.1",
        "GET",
        "get {} HTTP/1.1",
        "POST {} HTTP/1.1",
        "HEAD {} HTTP/1.1",
        "OPTIONS {} HTTP/1.1",
        "BREW {} HTTP/1.1",
    ):
        yield Scenario(f"line {line!r}", [request(line=line)])
    hello = bytes.fromhex("16030100a5010000a10303")
    yield Scenario("line of a TLS client", [hello + bytes(90) + b"\r\n\r\n"])


def _resources() -> Iterator[Scenario]:
    for resource in (
        "/echo?a=b&c=d",
        "/echo?",
        "/echo#fragment",
        "/echo?a#b",
        "/%65cho",
        "/echo/",
        "//echo",
        "/./echo",
        "/sub/../echo",
        "/ECHO",
        "/echo_wsh.py",
        "/sub/nested",
        "/sub//nested",
        "/sub\\nested",
        "/sp%20ace",
        "/uni-\xc3\xa9",
        "/UPPER",
        "/missing",
        "/broken",
        "/incomplete",
        "/",
        "*",
        "echo",
        "/echo;x=y",
        "/echo?" + "q" * 3000,
    ):
        yield Scenario(f"resource {resource[:40]}", [request(resource)])
    yield Scenario(
        "what the request says",
        [request("/request?a=b", ("Origin", "http://o"), ("X-Repeated", "1"), ("x-repeated", "2"))],
    )


def _targets() -> Iterator[Scenario]:
    checked = ("-V", "localhost", "-P", "<port>")
    for target in (
        "ws://localhost:<port>/echo",
        "ws://localhost/echo",
        "ws://localhost:<port>",
        "ws://example.com:1/echo",
        "wss://localhost:<port>/echo",
        "WS://LOCALHOST:<port>/echo",
        "ws://user@localhost:<port>/echo",
        "ws://localhost:99999/echo",
        "ws://localhost:word/echo",
        "ws:///echo",
        "ws://[::1]:<port>/echo",
        "http://localhost:<port>/echo",
    ):
        yield Scenario(f"target {target}", [request(target)])
        if target.lower().startswith("ws"):
            yield Scenario(f"checked target {target}", [request(target)], checked)


def _subprotocols() -> Iterator[Scenario]:
    for how, offers in (
        ("first", ["chat"]),
        ("last", ["chat, superchat"]),
        ("last", ["chat", "superchat"]),
        ("nothing", ["chat"]),
        ("stranger", ["chat"]),
        ("stranger", []),
        ("nothing", []),
        ("empty", ["chat"]),
        ("invalid", ["chat"]),
        ("unchecked", ["chat"]),
        ("first", [""]),
        ("first", ["a b"]),
        ("last", ["a, b,"]),
        ("last", ["a, a"]),
        ("first", ['"a"']),
        ("first", ["a~!#$%&'*+-.^_`|"]),
    ):
        fields = [(_PROTOCOL, offer) for offer in offers]
        steps = [request(f"/choose?{how}", *fields), Read(), encode_frame(CLOSE)]
        yield Scenario(f"subprotocol {how} of {offers}", steps)


def _extensions() -> Iterator[Scenario]:
    deflate = "permessage-deflate"
    for offers in (
        [deflate],
        ["Permessage-Deflate"],
        [f"{deflate}; client_max_window_bits"],
        [f"{deflate}; client_max_window_bits=10"],
        [f"{deflate}; client_no_context_takeover"],
        [f"{deflate}; server_no_context_takeover"],
        [f"{deflate}; server_no_context_takeover=1"],
        *[[f"{deflate}; server_max_window_bits={n}"] for n in (7, 8, 9, 15, 16, "010", '"10"')],
        [f"{deflate}; server_max_window_bits"],
        [f"{deflate}; server_no_context_takeover; server_max_window_bits=9"],
        [f"{deflate}; unknown"],
        [f"{deflate}; server_max_window_bits=10; server_max_window_bits=11"],
        [f"{deflate}, {deflate}; server_no_context_takeover"],
        [f"{deflate}; unknown, {deflate}"],
        [f"{deflate}; unknown", deflate],
        [f"x-unknown; a=b, {deflate}"],
        ["x-unknown"],
        [""],
        [",,"],
        [f"{deflate};"],
        [f"{deflate}; a="],
        [f'{deflate}; a="b'],
        ["permessage deflate"],
        [f"  {deflate}  ;  server_max_window_bits = 10  "],
    ):
        fields = [(_EXTENSIONS, offer) for offer in offers]
        yield Scenario(f"extension {offers}", [request("/echo", *fields)])


def _surplus() -> Iterator[Scenario]:
    whole = request()
    bye = encode_frame(CLOSE, (1000).to_bytes(2))
    yield Scenario("frame with the request", [whole + HELLO])
    yield Scenario("frames with the request", [whole + HELLO + encode_frame(PING, b"p") + bye])
    yield Scenario("half a frame with the request", [whole + HELLO[:4], ReadHead(), HELLO[4:]])
    yield Scenario("frame with a bad request", [request(without="Host") + HELLO])
