"""Whatever a handler does with a stream, in whatever order, has the end that is promised.

As in `test_fuzz_surface`, `FUZZ_EXAMPLES` asks for more, and for other ones in every run.
"""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fastwsh.pywebsocket import common, msgutil, stream
from fuzz_support import (
    CONTRACT,
    KINDS,
    MISUSE,
    PROFILE,
    Reverse,
    blobs,
    frames,
    junk,
    options,
    texts,
    tried,
)
from surface_support import Connection, Request

LISTS = (
    "incoming_frame_filters",
    "incoming_message_filters",
    "outgoing_frame_filters",
    "outgoing_message_filters",
)


class Meddling(Connection):
    """Calls the stream while the stream calls it, a few levels deep."""

    meddle = None
    depth = 0

    def _meddle(self):
        if self.meddle is not None and self.depth < 3:
            self.depth += 1
            tried((*CONTRACT, *MISUSE), self.meddle)
            self.depth -= 1

    def read(self, length):
        self._meddle()
        return super().read(length)

    def write(self, data):
        self._meddle()
        super().write(data)

    def feed(self, data):
        self._incoming += data


class Slotted(Request):
    """A request whose attributes are not where the stream looks first."""

    __dict__ = property(lambda self: {})

    def __setattr__(self, name, value):
        object.__setattr__(self, name, value)


class Calls(RuleBasedStateMachine):
    """A handler that does what makes sense, at any time."""

    allowed = CONTRACT

    @initialize(kind=st.sampled_from(KINDS), attributes=st.booleans())
    def open(self, kind, attributes):
        self.request = Request() if attributes else Slotted()
        self.connection = self.request.connection = Meddling()
        self.request.ws_close_code = self.request.ws_close_reason = None
        self.options = options(kind)
        self.stream = self.request.ws_stream = stream.Stream(self.request, self.options)

    @rule(data=frames)
    def peer_sends(self, data):
        self.connection.feed(data)

    @rule()
    def receive(self):
        message = tried(self.allowed, self.stream.receive_message)
        assert message is None or isinstance(message, (str, bytes, *self.allowed))

    @rule()
    def receive_frame(self):
        tried(self.allowed, self.stream._receive_frame_as_frame_object)

    @rule(length=st.integers(0, 9))
    def receive_bytes(self, length):
        data = tried(self.allowed, self.stream.receive_bytes, length)
        assert isinstance(data, self.allowed) or len(data) == length

    @rule(text=texts, end=st.booleans())
    def send_text(self, text, end):
        tried((*self.allowed, UnicodeEncodeError), self.stream.send_message, text, end)

    @rule(data=blobs, end=st.booleans())
    def send_binary(self, data, end):
        tried(self.allowed, self.stream.send_message, data, end, True)

    @rule(body=blobs)
    def ping(self, body):
        tried(self.allowed, msgutil.send_ping, self.request, body)

    @rule(code=st.one_of(st.none(), st.integers(-1, 66000)), reason=texts, wait=st.booleans())
    def close(self, code, reason, wait):
        allowed = (*self.allowed, UnicodeEncodeError)
        tried(allowed, self.stream.close_connection, code, reason, wait)

    @invariant()
    def what_was_sent_is_frames(self):
        left = self.connection.written

        def receive_bytes(length):
            nonlocal left
            data, left = left[:length], left[length:]
            assert len(data) == length
            return data

        closed = False
        while left:
            opcode, payload, *_ = stream.parse_frame(
                receive_bytes, unmask_receive=self.options.mask_send
            )
            assert not common.is_control_opcode(opcode) or len(payload) <= 125
            # RFC 6455 5.5.1 leaves pongs
            assert not closed or opcode in (common.OPCODE_PING, common.OPCODE_PONG)
            closed = closed or opcode == common.OPCODE_CLOSE


class Misuse(Calls):
    """A handler that does anything at any time."""

    allowed = (*CONTRACT, *MISUSE)

    # what a filter makes of it need not be a frame
    what_was_sent_is_frames = None

    @rule(name=st.sampled_from(LISTS), value=st.one_of(st.builds(Reverse), junk))
    def add_filter(self, name, value):
        getattr(self.options, name).append(value)

    @rule(name=st.sampled_from(LISTS))
    def remove_filters(self, name):
        getattr(self.options, name).clear()

    @rule(name=st.sampled_from(["on_ping_handler", "on_pong_handler"]), value=junk)
    def hook(self, name, value):
        setattr(self.request, name, value)

    @rule(name=st.sampled_from(["client_terminated", "server_terminated"]), value=junk)
    def overwrite(self, name, value):
        setattr(self.request, name, value)

    @rule(
        name=st.sampled_from(["receive_message", "_receive_frame", "close_connection", "send_ping"])
    )
    def meddle(self, name):
        arguments = (b"x",) if name == "send_ping" else ()
        self.connection.meddle = lambda: getattr(self.stream, name)(*arguments)

    @rule()
    def initialise_again(self):
        again = tried((*MISUSE, RuntimeError), self.stream.__init__, self.request, self.options)
        assert isinstance(again, (*MISUSE, RuntimeError))


TestCalls = Calls.TestCase
TestMisuse = Misuse.TestCase
TestCalls.settings = TestMisuse.settings = PROFILE
