"""Scenarios of what handlers do: exceptions, closing, pinging, sending and compressing."""

import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from differential.frames import BYE, close, opened
from differential.handshakes import request
from differential.player import HELLO, Fin, Read, ReadHead, Scenario, Step
from wire import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT, encode_frame

_HANDLERS = Path(__file__).parent / "handlers"


def _keys(handler: str, table: str) -> list[str]:
    """The keys of a table in a handler: a handler needs a server to be imported."""
    source = (_HANDLERS / f"{handler}_wsh.py").read_text(encoding="utf-8")
    lines = source.partition(f"\n{table} = {{\n")[2].partition("\n}\n")[0]
    return re.findall(r'^    "(.*?)":', lines, re.MULTILINE)


def scenarios() -> Iterator[Scenario]:
    """All of them."""
    yield from _exceptions()
    yield from _closing()
    yield from _answering()
    yield from _pinging()
    yield from _sending()
    yield from _compressed()
    yield from _compressing()


def _exceptions() -> Iterator[Scenario]:
    for what in [*_keys("raise", "EXCEPTIONS"), "sys.exit"]:
        yield Scenario(f"extra handshake raises {what}", [request(f"/raise?extra/{what}")])
        where = f"/raise?transfer/{what}"
        yield opened(f"transfer raises {what}", Read(), BYE, resource=where)
        where = f"/raise?passive/{what}"
        yield opened(f"passive handshake raises {what}", BYE, resource=where)


def _closing() -> Iterator[Scenario]:
    for how in _keys("close", "ACTIONS"):
        yield opened(f"server closes: {how}", Read(), BYE, resource=f"/close?{how}")
    answers: list[tuple[str, Step]] = [
        ("nothing", b""),
        ("another code", close(4000, b"own")),
        ("an empty close", encode_frame(CLOSE)),
        ("a bad code", close(1005)),
        ("a text", HELLO + BYE),
        ("a ping", encode_frame(PING, b"p") + BYE),
        ("a pong", encode_frame(PONG, b"p") + BYE),
        ("a bad text", encode_frame(TEXT, b"\xff")),
        ("an unmasked close", encode_frame(CLOSE, mask=None)),
        ("a reserved bit", encode_frame(TEXT, rsv=4)),
        ("a first fragment", encode_frame(TEXT, fin=False) + BYE),
        ("FIN", Fin()),
    ]
    for name, answer in answers:
        yield opened(f"client answers with {name}", Read(), answer, resource="/close?return")
        yield opened(f"caught: {name} as an answer", Read(), answer, resource="/close?catch")
    yield opened("closes cross", BYE, resource="/close?return")
    for how in ["echo", *_keys("passive", "ANSWERS")]:
        yield opened(f"passive answer: {how}", close(4009, b"why"), resource=f"/passive?{how}")
    yield opened("passive answer: echo of nothing", encode_frame(CLOSE), resource="/passive?echo")


def _answering() -> Iterator[Scenario]:
    more = ["before", "text", "stream", "own", "cut", "garbage"]
    for how in [*_keys("answer", "ADDED"), *more]:
        steps = [request(f"/answer?{how}"), Read(), BYE]
        yield Scenario(f"answer: {how}", steps)


def _pinging() -> Iterator[Scenario]:
    for how in ("hooks", "none", "fail"):
        frames = encode_frame(PING, b"ping") + encode_frame(PONG, b"pong") + HELLO
        yield opened(f"hooks: {how}", frames, Read(), BYE, resource=f"/ping?{how}")
    pongs = [encode_frame(PONG, body) for body in (b"two", b"one", b"three", b"")]
    steps = [step for pong in pongs for step in (pong, Read())]
    yield opened("server pings", Read(), *steps, BYE, resource="/ping?ask")


def _sending() -> Iterator[Scenario]:
    for how in _keys("send", "ACTIONS"):
        yield opened(f"sends: {how}", Read(), HELLO + HELLO, Read(), BYE, resource=f"/send?{how}")


def _deflated(name: str, *steps: Step, resource: str = "/echo", offer: str = "") -> Scenario:
    offered = ("Sec-WebSocket-Extensions", "permessage-deflate" + offer)
    return Scenario(name, [request(resource, offered), ReadHead(), *steps, Read(), BYE])


def _compress(data: bytes, compressor: "zlib._Compress | None" = None) -> bytes:
    compressor = compressor or zlib.compressobj(wbits=-15)
    result = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return result.removesuffix(b"\x00\x00\xff\xff")


def _message(payload: bytes, opcode: int = TEXT) -> bytes:
    return encode_frame(opcode, payload, rsv=4)


_COMPRESSED = _compress(b"Hello")
# RFC 7692 7.2.3.4
_FINAL = bytes.fromhex("f348cdc9c9070000")


def _compressed() -> Iterator[Scenario]:
    shared = zlib.compressobj(wbits=-15)
    cut = _COMPRESSED[:3], _COMPRESSED[3:5], _COMPRESSED[5:]
    data = {
        "text": _message(_COMPRESSED),
        "binary": _message(_compress(bytes(9)), BINARY),
        "plain text": HELLO,
        "empty text": _message(b"\x00"),
        "no payload": _message(b""),
        "two of one window": b"".join(_message(_compress(b"Hello", shared)) for _ in "12"),
        "three of their own window": _message(_COMPRESSED) * 3,
        "fragments": encode_frame(TEXT, cut[0], fin=False, rsv=4)
        + encode_frame(CONTINUATION, cut[1], fin=False)
        + encode_frame(CONTINUATION, cut[2]),
        "stored block": _message(b"\x00\x05\x00\xfa\xffHello\x00"),
        "final block": _message(_FINAL) + _message(_FINAL),
        "zeros": _message(_compress(bytes(1 << 20)), BINARY),
        "garbage": _message(b"\xff\xff\xff\xff"),
        "cut short": _message(_COMPRESSED[:4]) + _message(_COMPRESSED),
        "bad text": _message(_compress(b"\xff")),
        "bit on the last fragment": encode_frame(TEXT, cut[0], fin=False, rsv=4)
        + encode_frame(CONTINUATION, cut[1] + cut[2], rsv=4),
        "bit on a ping": encode_frame(PING, b"p", rsv=4),
        "bit on a close": encode_frame(CLOSE, rsv=4),
        "second bit": encode_frame(TEXT, b"x", rsv=2),
        "plain ping": encode_frame(PING, b"p"),
    }
    for name, frames in data.items():
        yield _deflated(f"compressed: {name}", frames)
    yield opened("compressed without agreement", _message(_COMPRESSED))
    for bits in (8, 9):
        text = encode_frame(TEXT, b"abcdefghij" * 200)
        yield _deflated(f"window of {bits} bits", text, offer=f"; server_max_window_bits={bits}")
    offer = "; server_no_context_takeover"
    yield _deflated("no takeover", _message(_COMPRESSED) * 2, offer=offer)


def _compressing() -> Iterator[Scenario]:
    texts = b"".join(
        encode_frame(TEXT, text)
        for text in (b"Hello", b"fragments", b"off", b"Hello", b"on", b"Hello", b"final", b"Hello")
    )
    for how in ("", "no-takeover"):
        yield _deflated(f"compresses: {how}", texts, resource=f"/deflate?{how}")
    for how in ("emptied", "nones", "inactive", "bits"):
        yield _deflated(f"compresses: {how}", HELLO + HELLO, resource=f"/deflate?{how}")
    yield _deflated(
        "compresses: offered bits",
        HELLO + HELLO,
        resource="/deflate?bits",
        offer="; client_max_window_bits",
    )
    for how in ("text", "empty", "fragments", "bytes-as-text", "ping-inside", "mixed-types"):
        yield _deflated(f"compresses what is sent: {how}", resource=f"/send?{how}")
