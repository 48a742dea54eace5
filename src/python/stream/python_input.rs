//! The receiving half of a stream over a connection in Python.

use std::sync::Mutex;

use crate::{
    locks::lock,
    protocol::{
        frame::{Frame, FrameHeader},
        limits::FrameLimits,
        receive::{Event, MessageReader, Rules},
        ProtocolError,
    },
};

/// The reader, and bytes that do not belong to a frame yet.
pub(super) struct PythonInput {
    pub(super) reader: MessageReader,
    pub(super) bytes: Vec<u8>,
}

/// The result of polling the reader.
pub(super) struct Polled<T> {
    pub(super) found: Result<Option<T>, ProtocolError>,
    /// The last header with a length in too many octets.
    pub(super) non_minimal: Option<FrameHeader>,
    /// How many bytes are needed at least, if nothing was found.
    pub(super) wanted: u64,
}

/// Makes a `PythonInput` when it is first needed. The streams of native connections need none, and
/// there may be many of them.
pub(super) struct PythonInputSlot {
    expect_masked: bool,
    input: Mutex<Option<Box<PythonInput>>>,
}

impl PythonInputSlot {
    pub(super) fn new(expect_masked: bool) -> Self {
        Self { expect_masked, input: Mutex::default() }
    }

    /// Uses the input, which is locked meanwhile.
    pub(super) fn with<T>(&self, action: impl FnOnce(&mut PythonInput) -> T) -> T {
        let mut input = lock(&self.input);
        action(input.get_or_insert_with(|| Box::new(PythonInput::new(self.expect_masked))))
    }

    /// Frees the received part of a message that will never be complete.
    pub(super) fn forget(&self) {
        if let Some(input) = lock(&self.input).as_mut() {
            input.reader.forget();
        }
    }
}

impl PythonInput {
    fn new(expect_masked: bool) -> Self {
        Self { reader: new_reader(expect_masked), bytes: Vec::new() }
    }

    /// Takes the next event.
    pub(super) fn poll(&mut self, rules: Rules) -> Polled<Event> {
        self.poll_with(rules, MessageReader::poll)
    }

    /// Takes the next frame, whatever it is.
    pub(super) fn poll_frame(&mut self, rules: Rules) -> Polled<Frame> {
        self.poll_with(rules, MessageReader::poll_frame)
    }

    fn poll_with<T>(
        &mut self,
        rules: Rules,
        poll: impl FnOnce(&mut MessageReader, &mut &[u8]) -> Result<Option<T>, ProtocolError>,
    ) -> Polled<T> {
        self.reader.set_rules(rules);
        let mut input = &self.bytes[..];
        let found = poll(&mut self.reader, &mut input);
        let used = self.bytes.len() - input.len();
        self.bytes.drain(..used);
        let wanted = self.reader.wanted(&self.bytes);
        Polled { found, non_minimal: self.reader.take_non_minimal(), wanted }
    }
}

/// A reader without limits: the rules are set again at each call.
fn new_reader(expect_masked: bool) -> MessageReader {
    let limits = FrameLimits::NONE;
    MessageReader::new(Rules { expect_masked, deflate: false, late_rsv1: false, limits })
}
