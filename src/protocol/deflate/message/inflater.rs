//! Decompressing messages, at once or in steps (RFC 7692 7.2.2).

use super::TAIL;
use crate::protocol::{deflate::RawInflater, error::ProtocolError};

/// Memory for a message is reserved in advance up to this size, and beyond it only as bytes come.
const EXPECTED_MAX: usize = 64 * 1024;

/// Spare bytes behind a message. With fewer than 260 of them, zlib-rs leaves its fast loop, and
/// a text of 1 KiB takes a tenth longer.
const FAST_LOOP_BYTES: usize = 320;

/// The most of a payload that is inflated at once. DEFLATE makes at most 1,032 bytes of one, so this
/// takes some milliseconds at worst.
const PIECE: usize = 2 * 1024;

/// A step ends after so many bytes of a payload, or so many inflated bytes.
const STEP_IN: usize = 64 * 1024;
const STEP_OUT: usize = 1024 * 1024;

/// A message that is inflated in steps.
#[derive(Debug)]
pub struct Inflating {
    payload: Vec<u8>,
    /// The bytes of `payload` that have been used.
    used: usize,
    output: Vec<u8>,
    /// The inflated bytes that were taken.
    taken: usize,
}

impl Inflating {
    /// Begins with nothing inflated.
    pub fn new(payload: Vec<u8>) -> Self {
        Self { payload, used: 0, output: Vec::new(), taken: 0 }
    }

    /// Takes what has been inflated since the last time.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.taken += self.output.len();
        std::mem::take(&mut self.output)
    }
}

/// Decompresses the messages of one direction (RFC 7692 7.2.2).
#[derive(Debug, Default)]
pub struct MessageInflater {
    no_context_takeover: bool,
    stream: Option<RawInflater>,
    /// The size of the last message.
    last_bytes: usize,
}

impl MessageInflater {
    /// An inflater. If the peer has promised that no message refers to an earlier one, it frees its
    /// memory after every message.
    pub fn new(no_context_takeover: bool) -> Self {
        Self { no_context_takeover, ..Self::default() }
    }

    /// As [`Self::inflate_into`], to a vector of its own.
    ///
    /// # Errors
    /// As [`Self::inflate_into`].
    pub fn inflate(&mut self, payload: &[u8], max_bytes: u64) -> Result<Vec<u8>, ProtocolError> {
        let mut output = Vec::new();
        self.inflate_into(payload, max_bytes, &mut output)?;
        Ok(output)
    }

    /// Inflates a whole message to the end of `output`.
    ///
    /// A payload of no bytes at all is an empty message (Mojolicious sends it) and leaves the
    /// stream as it is. Memory for as many bytes as the last message had is reserved in advance, up
    /// to 64 KiB, and beyond that half as much again as has been inflated. A peer cannot make us
    /// reserve more.
    ///
    /// # Errors
    /// [`ProtocolError::BadDeflate`]; [`ProtocolError::InflatedTooBig`] before `output` grows by
    /// more than `max_bytes` and a few hundred bytes. After an error, `output` is unchanged.
    pub fn inflate_into(
        &mut self,
        payload: &[u8],
        max_bytes: u64,
        output: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        if payload.is_empty() {
            return Ok(());
        }
        let start = output.len();
        let limit = limit(max_bytes);
        self.reserve(payload.len(), limit, output);
        let bound = OutputLimit { limit, taken: 0, start };
        let inflated = self.piece(payload, &bound, output).and_then(|()| self.tail(&bound, output));
        if inflated.is_err() {
            output.truncate(start);
        }
        self.end(output.len() - start);
        inflated
    }

    /// Whether the payload is so short that a single step inflates it.
    pub fn is_one_step(payload: &[u8]) -> bool {
        payload.len() <= PIECE
    }

    /// Inflates more of a message, and returns whether that was all. Nothing else may be inflated
    /// until then.
    ///
    /// # Errors
    /// As [`Self::inflate_into`]; the message is lost.
    pub fn step(&mut self, message: &mut Inflating, max_bytes: u64) -> Result<bool, ProtocolError> {
        let Inflating { payload, used, output, taken } = message;
        let bound = OutputLimit { limit: limit(max_bytes), taken: *taken, start: 0 };
        if *used == 0 {
            self.reserve(payload.len(), bound.limit, output);
        }
        let (first_in, first_out) = (*used, output.len());
        let mut is_last = false;
        let mut inflated = Ok(());
        while inflated.is_ok() && !is_last {
            if *used - first_in >= STEP_IN || output.len() - first_out >= STEP_OUT {
                return Ok(false);
            }
            let end = payload.len().min(*used + PIECE);
            inflated = self.piece(&payload[*used..end], &bound, output);
            *used = end;
            is_last = end == payload.len();
        }
        if inflated.is_ok() && !payload.is_empty() {
            inflated = self.tail(&bound, output);
        }
        self.end(*taken + output.len());
        inflated.map(|()| true)
    }

    fn reserve(&self, payload_bytes: usize, limit: usize, output: &mut Vec<u8>) {
        let expected = payload_bytes.saturating_mul(4).max(self.last_bytes);
        output.reserve(expected.min(EXPECTED_MAX).min(limit) + FAST_LOOP_BYTES);
    }

    fn end(&mut self, bytes: usize) {
        self.last_bytes = bytes;
        if self.no_context_takeover {
            self.stream = None;
        }
    }

    fn piece(
        &mut self,
        data: &[u8],
        bound: &OutputLimit,
        output: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let stream = self.stream.get_or_insert_default();
        // inflate one byte more than allowed, to notice that there is more
        let missing = bound.limit.saturating_add(1).saturating_sub(bound.used(output));
        let left = stream.inflate(data, output, missing)?;
        if bound.used(output) > bound.limit {
            return Err(ProtocolError::InflatedTooBig { limit: bound.limit as u64 });
        }
        if !left.is_empty() {
            return Err(ProtocolError::BadDeflate);
        }
        Ok(())
    }

    /// Inflates the empty block that the sender removed (RFC 7692 7.2.2).
    fn tail(&mut self, bound: &OutputLimit, output: &mut Vec<u8>) -> Result<(), ProtocolError> {
        if self.stream.as_ref().is_some_and(RawInflater::is_fresh) {
            // the message has ended with a final block and nothing after it (RFC 7692 7.2.3.4). So
            // the sender has removed no empty block, and the tail must not become the beginning of
            // the next message.
            return Ok(());
        }
        self.piece(&TAIL, bound, output)
    }
}

/// How much a message may inflate to.
struct OutputLimit {
    limit: usize,
    /// The bytes of the message that are not in the output any more.
    taken: usize,
    /// Where the message begins in the output.
    start: usize,
}

impl OutputLimit {
    fn used(&self, output: &[u8]) -> usize {
        self.taken + output.len() - self.start
    }
}

fn limit(max_bytes: u64) -> usize {
    usize::try_from(max_bytes).unwrap_or(usize::MAX)
}
