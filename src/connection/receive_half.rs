//! The receiving half of a connection: the stream, its buffer and the reader, which one caller at a
//! time has locked.

use std::{io, sync::Arc};

use super::{
    byte_stream::ByteStream,
    read_buffer::{ReadBuffer, READ_AHEAD},
    wait::{Park, Wait},
};
use crate::protocol::{
    frame::{Frame, FrameHeader, Opcode},
    limits::FrameLimits,
    receive::{Event, MessageReader, Rules, WholePayload},
    ProtocolError,
};

/// Below this size a payload is read through the read-ahead buffer, which may read the next frames
/// in the same system call.
const DIRECT_MIN: u64 = 1024;

/// If less than this is missing of a payload, it is copied from the buffer, which is quicker than
/// another system call.
const LARGE_MIN: u64 = 8 * 1024;

/// Up to this size, memory for the whole message is allocated as soon as its header is there.
const LARGE_AT_ONCE: u64 = 64 * 1024;

/// Up to this size, a quarter of the message must have arrived before memory for all of it is
/// allocated; above, half.
const LARGE_AT_A_QUARTER: u64 = 1024 * 1024;

/// Why nothing was received.
#[derive(Debug)]
pub enum ReceiveError {
    /// The peer has broken a rule.
    Protocol(ProtocolError),
    /// The stream ended where this number of bytes was expected.
    End(u64),
    /// Reading failed where this number of bytes was expected.
    Io(u64, io::Error),
    /// Another caller has received the peer's close frame.
    Answered,
}

/// An event, and the header if its length was not encoded in the shortest form.
#[derive(Debug)]
pub struct Received {
    /// The event.
    pub event: Event,
    /// The last header with a length in too many octets.
    pub non_minimal: Option<FrameHeader>,
}

/// What can be received without waiting.
#[derive(Debug)]
pub enum Buffered {
    /// Nothing, or no complete message in one frame.
    Other,
    /// A message for which the caller's function has made an object.
    Whole(Opcode),
    /// A message that must be inflated first.
    Compressed(Opcode, Vec<u8>),
}

/// The stream with its buffer, and the reader of messages and frames.
#[derive(Debug)]
pub struct ReceiveHalf {
    read_buffer: ReadBuffer,
    reader: MessageReader,
}

impl ReceiveHalf {
    /// The half of a new connection. `first` was received together with the request's head.
    pub(super) fn new(stream: Arc<dyn ByteStream>, first: Vec<u8>) -> Self {
        // each call sets what it accepts
        let limits = FrameLimits::NONE;
        let rules = Rules { expect_masked: true, deflate: false, late_rsv1: false, limits };
        Self { read_buffer: ReadBuffer::new(stream, first), reader: MessageReader::new(rules) }
    }

    /// The stream and its buffer, for callers that read bytes.
    pub fn read_buffer(&mut self) -> &mut ReadBuffer {
        &mut self.read_buffer
    }

    /// Drops the stream and all that was received and not taken.
    pub(super) fn abandon(&mut self) {
        self.read_buffer.abandon();
        self.reader.forget();
    }

    /// The reader, for callers that have read a frame themselves.
    pub fn reader(&mut self) -> &mut MessageReader {
        &mut self.reader
    }

    /// Gives a large buffer back and returns whether the buffer is empty, so that only the stream
    /// can have more.
    pub fn is_drained(&mut self) -> bool {
        self.read_buffer.is_drained()
    }

    /// Whether a complete message is buffered.
    pub fn has_message(&self) -> bool {
        self.reader.has_message(self.read_buffer.bytes())
    }

    /// Whether nothing of the next frame has been received.
    pub(super) fn awaits_frame(&self) -> bool {
        self.read_buffer.bytes().is_empty() && self.reader.is_between_frames()
    }

    /// Reads more bytes into the buffer, and waits until there are some.
    pub(super) fn fill(&mut self, wait: Wait<'_>) -> Result<(), ReceiveError> {
        let wanted = self.reader.wanted(self.read_buffer.bytes());
        match self.read_buffer.fill(wait) {
            Ok(0) => Err(ReceiveError::End(wanted)),
            Ok(_) => Ok(()),
            Err(error) => Err(ReceiveError::Io(wanted, error)),
        }
    }

    /// Takes the next event from the buffer.
    pub(super) fn poll(&mut self) -> Result<Option<Event>, ReceiveError> {
        let mut input = self.read_buffer.bytes();
        let before = input.len();
        let polled = self.reader.poll(&mut input);
        let used = before - input.len();
        self.read_buffer.consume(used);
        polled.map_err(ReceiveError::Protocol)
    }

    /// Takes the next frame from the buffer, whatever it is.
    pub(super) fn poll_frame(&mut self) -> Result<Option<Frame>, ReceiveError> {
        let mut input = self.read_buffer.bytes();
        let before = input.len();
        let polled = self.reader.poll_frame(&mut input);
        let used = before - input.len();
        self.read_buffer.consume(used);
        polled.map_err(ReceiveError::Protocol)
    }

    /// Adds to an event what belongs to it.
    pub(super) fn complete(&mut self, event: Event) -> Received {
        self.read_buffer.expect_direct(false);
        Received { event, non_minimal: self.reader.take_non_minimal() }
    }

    /// Takes the next message if it is complete and in one frame, and passes its payload to `make`.
    ///
    /// The stream is read only if `parker` says that it is readable. If a peer waits for each
    /// answer, a read would find nothing and cost a system call for each message.
    pub(super) fn take_whole(
        &mut self,
        rules: Rules,
        parker: Option<&dyn Park>,
        make: impl FnOnce(Opcode, WholePayload<'_>),
    ) -> Result<Buffered, ReceiveError> {
        let Self { read_buffer, reader } = self;
        reader.set_rules(rules);
        let reads = |bytes: &[u8]| bytes.is_empty() || reader.begins_short_frame(bytes, READ_AHEAD);
        if let Some(parker) = parker.filter(|_| reads(read_buffer.bytes())) {
            let wanted = reader.wanted(read_buffer.bytes());
            match read_buffer.try_fill(parker) {
                Ok(None) => return Ok(Buffered::Other),
                Ok(Some(0)) => return Err(ReceiveError::End(wanted)),
                Ok(Some(_)) => {}
                Err(error) => return Err(ReceiveError::Io(wanted, error)),
            }
        }
        let Some(whole) = reader.take_whole(read_buffer.bytes_mut()) else {
            return Ok(Buffered::Other);
        };
        let opcode = whole.opcode;
        let payload = whole.payload(read_buffer.bytes());
        let buffered = if whole.compressed {
            Buffered::Compressed(opcode, payload.to_vec())
        } else {
            make(opcode, payload);
            Buffered::Whole(opcode)
        };
        read_buffer.consume(whole.payload.end);
        read_buffer.expect_direct(false);
        Ok(buffered)
    }

    /// Waits for more bytes, and reads those of a long payload straight into it. Returns an event if
    /// they complete the message.
    pub(super) fn fill_payload(&mut self, wait: Wait<'_>) -> Result<Option<Event>, ReceiveError> {
        loop {
            let wanted = self.reader.wanted(self.read_buffer.bytes());
            let target = self.reader.payload_target();
            let Some((payload, missing)) = target.filter(|(_, missing)| *missing >= DIRECT_MIN)
            else {
                self.fill(wait)?;
                return Ok(None);
            };
            match self.read_buffer.fill_target(payload, missing, wait) {
                Ok(0) => return Err(ReceiveError::End(wanted)),
                Ok(count) => {
                    return self.reader.payload_added(count).map_err(ReceiveError::Protocol);
                }
                Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                    let length = payload.len() as u64;
                    *payload = Vec::new();
                    return Err(ReceiveError::Protocol(ProtocolError::NoMemory { length }));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let failed = |error| ReceiveError::Io(wanted, error);
                    self.read_buffer.wait_readable(wait).map_err(failed)?;
                }
                Err(error) => return Err(ReceiveError::Io(wanted, error)),
            }
        }
    }

    /// The length of the current message, if it should be read straight into its object.
    pub(super) fn direct_length(&self) -> Option<u64> {
        let (length, received) = self.reader.direct_length(LARGE_MIN)?;
        let needed = if length <= LARGE_AT_ONCE {
            0
        } else if length <= LARGE_AT_A_QUARTER {
            length / 4
        } else {
            length / 2
        };
        (received >= needed).then_some(length)
    }

    /// Reads the current message into `target`, which has the length of [`Self::direct_length`]. If
    /// that fails, another call can go on where this one has failed.
    pub(super) fn read_direct(
        &mut self,
        target: &mut [u8],
        wait: Wait<'_>,
    ) -> Result<(), ReceiveError> {
        // what the buffer had of this payload comes first
        let prefix = self.reader.begin_direct();
        let before = prefix.len();
        target[..before].copy_from_slice(&prefix);
        let mut filled = before;
        let result = self.fill_direct(target, &mut filled, wait);
        // what fits into the buffer is read together with its header
        self.read_buffer.expect_direct(target.len() > READ_AHEAD);
        self.reader.end_direct(&mut target[before..filled]);
        if result.is_err() {
            self.reader.take_back(&target[..filled]);
        }
        result
    }

    fn fill_direct(
        &mut self,
        target: &mut [u8],
        filled: &mut usize,
        wait: Wait<'_>,
    ) -> Result<(), ReceiveError> {
        while *filled < target.len() {
            if let Wait::Park(parker) = wait {
                parker.pause().map_err(|error| ReceiveError::Io(1, error))?;
            }
            let missing = (target.len() - *filled) as u64;
            let failed = |error| ReceiveError::Io(missing, error);
            match self.read_buffer.fill_direct(&mut target[*filled..], wait) {
                Ok(0) => return Err(ReceiveError::End(missing)),
                Ok(count) => *filled += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.read_buffer.wait_readable(wait).map_err(failed)?;
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }
}
