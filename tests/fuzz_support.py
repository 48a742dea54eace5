"""What hostile callers pass and hostile peers send, as strategies, and what may come of it."""

import array
import os
import zlib

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from fastwsh.pywebsocket import common, extensions, handshake, stream
from surface_support import Connection, mask

# The same examples in every run; to look for new ones: FUZZ_EXAMPLES=20000 pytest -k fuzz_surface
EXAMPLES = os.environ.get("FUZZ_EXAMPLES")
PROFILE = settings(
    database=None,
    deadline=None,
    derandomize=EXAMPLES is None,
    max_examples=int(EXAMPLES or 300),
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class BoomError(Exception):
    """What a hostile object raises; it must come out as it is."""


# What a handler expects of a peer that misbehaves.
CONTRACT = (
    stream.BadOperationException,
    stream.ConnectionTerminatedException,
    stream.InvalidUTF8Exception,
    stream.UnsupportedFrameException,
)
HANDSHAKE = (handshake.HandshakeException, handshake.VersionException)
# What a caller expects that passes something of the wrong type or value.
MISUSE = (AttributeError, BoomError, LookupError, OverflowError, TypeError, ValueError, zlib.error)


def tried(allowed, function, *arguments, **keywords):
    """Call the function; return what it returns, or one of the allowed exceptions."""
    try:
        return function(*arguments, **keywords)
    except allowed as error:
        return error


class Hostile:
    """Raises wherever it is looked at."""

    def _boom(self, *arguments):
        raise BoomError

    __bool__ = __bytes__ = __call__ = __eq__ = __float__ = __getitem__ = __hash__ = __index__ = (
        _boom
    )
    __int__ = __iter__ = __len__ = __repr__ = __str__ = encode = filter = name = read = write = (
        _boom
    )


class Liar:
    """Says that it is of one length, and is of another."""

    def __init__(self, length, content):
        self._length = length
        self._content = content

    def __len__(self):
        return self._length

    def __bytes__(self):
        return self._content

    def encode(self, *arguments):
        return self._content


class OwnBytes(bytes):
    """Bytes of a class of the handler's."""

    __slots__ = ()

    def __len__(self):
        return 3


class OwnText(str):
    """A text of a class of the handler's."""

    __slots__ = ()

    def encode(self, *arguments):
        return b"not what it is"


def released():
    """Return a view of nothing any more."""
    view = memoryview(b"abc")
    view.release()
    return view


numbers = st.sampled_from(
    [-(2**200), -(2**63), -1, 0, 1, 8, 15, 125, 126, 999, 1000, 1005, 4999, 65536, 2**63, 2**64]
)
# Surrogates as well, which are text and cannot be encoded.
texts = st.text(st.characters(exclude_categories=()), max_size=160)
latin1 = st.text(st.characters(max_codepoint=0xFF), max_size=80)
blobs = st.binary(max_size=160)
junk = st.one_of(
    st.none(),
    st.booleans(),
    numbers,
    st.floats(),
    texts,
    blobs,
    st.lists(st.one_of(st.none(), numbers, texts), max_size=3),
    st.builds(bytearray, blobs),
    st.builds(lambda data: memoryview(data)[::2], blobs),
    st.builds(OwnBytes, blobs),
    st.builds(OwnText, texts),
    st.builds(Liar, numbers, st.one_of(blobs, st.none(), texts)),
    st.builds(Hostile),
    st.builds(released),
    st.just(array.array("H", [1, 2, 3])),
)


def frame(first_byte, payload, *, masked=True, octets=0):
    """Return a frame whose length takes that many octets, or as many as it needs."""
    length = len(payload)
    octets = octets or (1 if length < 126 else 2)
    short = {1: length, 2: 126, 8: 127}[octets]
    extended = b"" if octets == 1 else length.to_bytes(octets, "big")
    body = mask(payload) if masked else payload
    return bytes([first_byte, (0x80 if masked else 0) | short]) + extended + body


def deflated(payload):
    """Return the payload compressed by itself."""
    compressor = zlib.compressobj(wbits=-15)
    return (compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH))[:-4]


payloads = st.one_of(
    blobs,
    st.text(max_size=40).map(str.encode),
    blobs.map(deflated),
    st.binary(max_size=130).map(lambda reason: b"\x03\xe8" + reason),
)
first_bytes = st.one_of(
    st.sampled_from([0x81, 0x82, 0x88, 0x89, 0x8A, 0x01, 0x02, 0x00, 0x80, 0xC1, 0xC2, 0x41]),
    st.integers(0, 255),
)
frames = st.one_of(
    st.builds(frame, first_bytes, payloads),
    st.builds(frame, first_bytes, payloads),
    st.builds(
        frame, first_bytes, payloads, masked=st.booleans(), octets=st.sampled_from([0, 2, 8])
    ),
    st.binary(max_size=20),
    # lengths of which nothing will come
    st.just(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x"),
    st.just(b"\x82\xff\x80\0\0\0\0\0\0\0"),
)
incoming = st.lists(frames, max_size=8).map(b"".join)


class Trickle(Connection):
    """Gives few bytes at a time, as a socket may."""

    def __init__(self, incoming, most):
        super().__init__(incoming)
        self._most = most

    def read(self, length):
        return super().read(min(length, self._most))


class Reverse:
    """A filter of a handler's own, for frames and messages."""

    def filter(self, item, end=True, binary=False):
        if isinstance(item, stream.Frame):
            item.payload = bytes(item.payload)[::-1]
            return None
        return item[::-1]


def options(kind):
    """Return stream options: as they are, with permessage-deflate, with own filters, a client's."""
    made = stream.StreamOptions()
    if kind == "deflate":
        offer = common.ExtensionParameter(common.PERMESSAGE_DEFLATE_EXTENSION)
        processor = extensions.get_extension_processor(offer)
        processor.get_extension_response()
        processor.setup_stream_options(made)
    elif kind == "filters":
        for filters in (
            made.incoming_frame_filters,
            made.incoming_message_filters,
            made.outgoing_frame_filters,
            made.outgoing_message_filters,
        ):
            filters.append(Reverse())
    elif kind == "client":
        made.mask_send = True
        made.unmask_receive = False
    return made


KINDS = ("plain", "deflate", "filters", "client")
