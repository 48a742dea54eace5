"""Scenarios of what a client sends: data, fragments, pings, text, closes, and the end of TCP."""

from collections.abc import Iterator, Sequence

from differential.handshakes import request
from differential.player import (
    HELLO,
    Fin,
    Observed,
    Read,
    ReadHead,
    Reset,
    Scenario,
    Slowly,
    Step,
)
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame

BYE = encode_frame(CLOSE, (1000).to_bytes(2))

Frames = Sequence[tuple[str, bytes]]


def opened(name: str, *steps: Step, resource: str = "/echo") -> Scenario:
    """A scenario that begins with a handshake."""
    return Scenario(name, [request(resource), ReadHead(), *steps])


def close(code: int, reason: bytes = b"") -> bytes:
    return encode_frame(CLOSE, code.to_bytes(2) + reason)


def scenarios() -> Iterator[Scenario]:
    """All of them."""
    # What the client does next shows whether the server still talks.
    for group in (_data, _fragments, _pings, _texts):
        for name, data in group():
            yield opened(name, data, Read(), BYE)
    yield from _closes()
    yield from _answers_to_errors()
    yield from _ends()
    yield from _resets()
    yield from _pieces()
    yield from _caught()


def _data() -> Iterator[tuple[str, bytes]]:
    yield "text", HELLO
    yield "binary", encode_frame(BINARY, b"\x00\x01\xff")
    yield "empty text", encode_frame(TEXT)
    yield "two texts", HELLO + encode_frame(TEXT, b"again")
    yield "hundred texts", b"".join(encode_frame(TEXT, b"%d" % n) for n in range(100))
    for size in (125, 126, 127, 65_535, 65_536):
        yield f"binary of {size} bytes", encode_frame(BINARY, b"\xa5" * size)
    yield "masking key of zeros", encode_frame(TEXT, b"Hello", mask=bytes(4))
    yield "longer length than needed, 2", encode_frame(TEXT, b"Hello", length_octets=2)
    yield "longer length than needed, 8", encode_frame(TEXT, b"x" * 200, length_octets=8)
    yield "length with the highest bit", b"\x82\xff\x80" + bytes(7) + b"\x37\xfa\x21\x3dabc"
    yield "length of 2**62", b"\x82\xff\x40" + bytes(7) + b"\x37\xfa\x21\x3dabc"
    for opcode in (TEXT, PING, CLOSE):
        yield f"unmasked opcode {opcode}", encode_frame(opcode, b"\x03\xe8", mask=None)
    for opcode in (TEXT, BINARY, PING, CLOSE):
        for rsv in (4, 2, 1, 7):
            yield f"reserved bits {rsv} on opcode {opcode}", encode_frame(opcode, b"", rsv=rsv)
    for opcode in (3, 7, 11, 15):
        yield f"reserved opcode {opcode}", encode_frame(opcode, b"x")
    yield "reserved opcode, fragmented", encode_frame(3, b"x", fin=False) + HELLO


def _fragments() -> Iterator[tuple[str, bytes]]:
    def first(payload: bytes, opcode: int = TEXT) -> bytes:
        return encode_frame(opcode, payload, fin=False)

    def middle(payload: bytes) -> bytes:
        return encode_frame(CONTINUATION, payload, fin=False)

    def last(payload: bytes) -> bytes:
        return encode_frame(CONTINUATION, payload)

    yield "two fragments", first(b"Hel") + last(b"lo")
    yield "binary fragments", first(b"\xff", BINARY) + middle(b"\xfe") + last(b"\xfd")
    yield "empty fragments", first(b"") + middle(b"") + last(b"")
    yield "thousand fragments", first(b"a") + middle(b"b") * 998 + last(b"c")
    yield "two fragmented messages", first(b"a") + last(b"b") + first(b"c") + last(b"d")
    yield "ping between fragments", first(b"a") + encode_frame(PING, b"p") + last(b"b")
    yield "pong between fragments", first(b"a") + encode_frame(PONG, b"p") + last(b"b")
    yield "ping behind an empty fragment", first(b"") + encode_frame(PING, b"p") + last(b"b")
    yield "close between fragments", first(b"a") + close(1000)
    yield "text between fragments", first(b"a") + HELLO + last(b"b")
    yield "two first fragments", first(b"a") + first(b"b")
    yield "last fragment alone", last(b"a")
    yield "middle fragment alone", middle(b"a")
    yield "last fragment twice", first(b"a") + last(b"b") + last(b"c")
    yield "first fragment alone", first(b"a")
    yield "reserved bit in the middle", first(b"a") + encode_frame(CONTINUATION, b"b", rsv=4)
    yield "fragmented ping", encode_frame(PING, b"p", fin=False)
    yield "fragmented close", encode_frame(CLOSE, b"\x03\xe8", fin=False)


def _pings() -> Iterator[tuple[str, bytes]]:
    yield "ping", encode_frame(PING, b"p")
    yield "empty ping", encode_frame(PING)
    yield "ping of 125 bytes", encode_frame(PING, b"p" * 125)
    yield "ping of 126 bytes", encode_frame(PING, b"p" * 126)
    yield "pong of 126 bytes", encode_frame(PONG, b"p" * 126)
    yield "pong", encode_frame(PONG, b"p")
    yield "ten pings", b"".join(encode_frame(PING, b"%d" % n) for n in range(10)) + HELLO
    yield "binary ping", encode_frame(PING, b"\xff\xfe")


def _texts() -> Iterator[tuple[str, bytes]]:
    for text in ("\u03ba\u1f79\u65e5\U0001f600", "a\0b", "\ufeffa", "\ufffe\U0010ffff"):
        yield f"text {text!a}", encode_frame(TEXT, text.encode())
    for data in (b"\x80", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe6\x97", b"\xfe"):
        yield f"bad text {data!r}", encode_frame(TEXT, data)
        yield f"binary {data!r}", encode_frame(BINARY, data)
    character = "\u65e5".encode()
    yield (
        "character over two fragments",
        encode_frame(TEXT, character[:1], fin=False) + encode_frame(CONTINUATION, character[1:]),
    )
    yield "bad text in the first fragment", encode_frame(TEXT, b"\xff", fin=False)
    yield (
        "bad text over two fragments",
        encode_frame(TEXT, character[:1], fin=False) + encode_frame(CONTINUATION, b"A"),
    )


def _closes() -> Iterator[Scenario]:
    for code in (0, 999, 1000, 1001, 1002, 1003, 1004, 1005, 1006, 1007, 1011, 1012, 1014, 1015):
        yield opened(f"close {code}", close(code))
    for code in (1016, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65_535):
        yield opened(f"close {code}", close(code))
    bodies: Frames = (
        ("empty close", b""),
        ("close of one byte", b"\x03"),
        ("close with a reason", b"\x03\xe8because"),
        ("close with a Japanese reason", b"\x03\xe8\xe6\x97\xa5"),
        ("close with a bad reason", b"\x03\xe8\xff\xfe"),
        ("close with a cut reason", b"\x03\xe8a\xe6\x97"),
        ("close of 125 bytes", b"\x03\xe8" + b"x" * 123),
        ("close of 126 bytes", b"\x03\xe8" + b"x" * 124),
    )
    for name, body in bodies:
        yield opened(name, encode_frame(CLOSE, body))
    yield opened("close twice", BYE + BYE)
    yield opened("text behind a close", BYE + HELLO)
    yield opened("ping behind a close", BYE, Read(), encode_frame(PING, b"p"))
    yield opened("text and close", HELLO + BYE)


def _answers_to_errors() -> Iterator[Scenario]:
    errors: Frames = (
        ("reserved bit", encode_frame(TEXT, b"x", rsv=4)),
        ("bad text", encode_frame(TEXT, b"\xff")),
        ("unmasked text", encode_frame(TEXT, b"x", mask=None)),
    )
    for name, error in errors:
        yield opened(f"{name}, then close", error, Read(), close(1002))
        yield opened(f"{name}, then text", error, Read(), HELLO + encode_frame(PING, b"p"))
        yield opened(f"{name}, then the same", error, Read(), error)
        yield opened(f"{name}, then FIN", error, Read(), Fin())


_BEGINNINGS: Frames = (
    ("nothing", b""),
    ("a byte", HELLO[:1]),
    ("a frame header", HELLO[:2]),
    ("half a masking key", HELLO[:4]),
    ("half a payload", HELLO[:8]),
    ("half a length", encode_frame(TEXT, b"x" * 200)[:3]),
    ("a text", HELLO),
    ("a first fragment", encode_frame(TEXT, b"a", fin=False)),
    ("a ping", encode_frame(PING, b"p")),
    ("a close", BYE),
    ("an unmasked text", encode_frame(TEXT, b"x", mask=None)),
    ("the message that ends the handler", encode_frame(TEXT, b"bye")),
)


def _ends() -> Iterator[Scenario]:
    whole = request()
    for name, data in (
        ("nothing at all", b""),
        ("half a request line", whole[:7]),
        ("a request line", whole[: whole.index(b"\n") + 1]),
        ("half the headers", whole[:60]),
        ("headers without their end", whole[:-2]),
        ("a request", whole),
    ):
        yield Scenario(f"FIN behind {name}", [data, Fin()])
    for name, data in _BEGINNINGS:
        yield opened(
            f"FIN behind {name}", data, Fin(), Read(), Observed(), resource="/observe?as=<id>"
        )


def _resets() -> Iterator[Scenario]:
    yield Scenario("reset before a request", [Reset()])
    yield Scenario("reset in a request", [request()[:40], Reset()])
    for name, data in _BEGINNINGS[:9]:
        yield opened(
            f"reset behind {name}", data, Read(), Reset(), Observed(), resource="/observe?as=<id>"
        )


def _pieces() -> Iterator[Scenario]:
    yield opened("text byte by byte", Slowly(HELLO), Read(), Slowly(BYE))
    fragments = encode_frame(TEXT, b"x" * 130, fin=False) + encode_frame(CONTINUATION, b"y")
    yield opened("fragments byte by byte", Slowly(fragments), Read(), BYE)
    yield opened("ping byte by byte", Slowly(encode_frame(PING, b"p")), Read(), BYE)


def _caught() -> Iterator[Scenario]:
    faults: Frames = (
        ("reserved bit", encode_frame(TEXT, b"x", rsv=4)),
        ("reserved opcode", encode_frame(3, b"x")),
        ("bad text", encode_frame(TEXT, b"\xff")),
        ("last fragment alone", encode_frame(CONTINUATION, b"x")),
        ("two first fragments", encode_frame(TEXT, b"x", fin=False) * 2),
        ("ping of 126 bytes", encode_frame(PING, b"p" * 126)),
        ("fragmented ping", encode_frame(PING, b"p", fin=False)),
        ("close of one byte", encode_frame(CLOSE, b"x")),
        ("close", BYE),
    )
    for name, data in faults:
        yield opened(f"caught: {name}", data + HELLO, Read(), BYE, resource="/catch")
