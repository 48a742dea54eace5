//! Raw DEFLATE (RFC 1951) as a stream.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::{DeflateLevel, WindowBits};
use crate::protocol::error::ProtocolError;

/// Bytes by which inflated output grows at a time, so that a small message cannot claim much
/// memory.
const GROWTH: usize = 16 * 1024;

/// The most output that zlib holds back until a flush (`pending_buf_size`).
const HELD_MAX: usize = 64 * 1024;

/// How the output of a compression step ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Nothing is forced out.
    None,
    /// Everything so far can be inflated (`Z_SYNC_FLUSH`).
    Sync,
    /// The stream ends with a final block.
    Finish,
}

/// A raw DEFLATE compressor.
pub struct RawDeflater {
    stream: Compress,
    window: WindowBits,
    level: DeflateLevel,
    /// Bytes taken since the last flush.
    unflushed: usize,
}

impl std::fmt::Debug for RawDeflater {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RawDeflater")
    }
}

impl RawDeflater {
    /// A compressor with an empty window that compresses as pywebsocket's does.
    pub fn new(window: WindowBits) -> Self {
        Self::with_level(window, DeflateLevel::PYWEBSOCKET)
    }

    /// A compressor with an empty window.
    pub fn with_level(window: WindowBits, level: DeflateLevel) -> Self {
        let compression = Compression::new(level.level().into());
        let stream = Compress::new_with_window_bits(compression, false, window.for_compressor());
        Self { stream, window, level, unflushed: 0 }
    }

    /// The window that it was made with.
    pub fn window(&self) -> WindowBits {
        self.window
    }

    /// The level that it was made with.
    pub fn level(&self) -> DeflateLevel {
        self.level
    }

    /// Compresses `data`.
    pub fn compress(&mut self, data: &[u8], flush: Flush) -> Vec<u8> {
        let mut output = Vec::new();
        self.compress_into(data, flush, &mut output);
        output
    }

    /// Compresses `data` to the end of `output`, and reserves an eighth more than `data` has bytes
    /// for it. If a compressor runs out of room, it forgets a match, and at the end of a message it
    /// flushes twice.
    pub fn compress_into(&mut self, data: &[u8], flush: Flush, output: &mut Vec<u8>) {
        // the fixed code has at most nine bits for a byte; then come a block's header and a flush
        let bytes = self.unflushed.min(HELD_MAX) + data.len();
        output.reserve(bytes + bytes / 8 + 64);
        if data.is_empty() {
            // a separate step: without it, zlib would take a second flush in a row for a mistake,
            // and an empty message would have no bytes at all
            self.step(&[], FlushCompress::None, output);
        }
        let (flush, unflushed) = match flush {
            Flush::None => (FlushCompress::None, bytes),
            Flush::Sync => (FlushCompress::Sync, 0),
            Flush::Finish => (FlushCompress::Finish, 0),
        };
        self.step(data, flush, output);
        self.unflushed = unflushed;
    }

    /// Forgets the window and what is unfinished.
    pub fn reset(&mut self) {
        self.stream.reset();
        self.unflushed = 0;
    }

    fn step(&mut self, mut data: &[u8], flush: FlushCompress, output: &mut Vec<u8>) {
        loop {
            let (before_in, before_out) = (self.stream.total_in(), output.len());
            // the only error of a raw compressor is "no progress", which ends the loop below
            let status = self.stream.compress_vec(data, output, flush);
            data = advance(data, self.stream.total_in() - before_in);
            let full = output.len() == output.capacity();
            let stuck = self.stream.total_in() == before_in && output.len() == before_out;
            if matches!(status, Ok(Status::StreamEnd)) || (data.is_empty() && !full) {
                return;
            }
            if full {
                output.reserve(output.len().max(64));
            } else if stuck {
                return;
            }
        }
    }
}

/// A raw DEFLATE decompressor that goes on after a final block.
pub struct RawInflater {
    stream: Decompress,
}

impl std::fmt::Debug for RawInflater {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RawInflater")
    }
}

impl Default for RawInflater {
    fn default() -> Self {
        Self { stream: Decompress::new(false) }
    }
}

impl RawInflater {
    /// Inflates `data` to the end of `output`, which grows by at most `limit` bytes, or by more if
    /// it already has room for more. Returns the part of `data` that was not used.
    ///
    /// # Errors
    /// [`ProtocolError::BadDeflate`].
    pub fn inflate<'a>(
        &mut self,
        mut data: &'a [u8],
        output: &mut Vec<u8>,
        limit: usize,
    ) -> Result<&'a [u8], ProtocolError> {
        let start = output.len();
        // begin with room for four times the input, 16 KiB at most, and then grow by half each time
        let mut growth = GROWTH.min(data.len().saturating_mul(4).max(64));
        loop {
            let produced = output.len() - start;
            // stop here: the caller asks for one byte more than it allows, to notice a message that
            // is too long
            if produced >= limit {
                return Ok(data);
            }
            if output.len() == output.capacity() {
                let length = output.len() as u64;
                let reserved = output.try_reserve_exact(growth.min(limit - produced));
                reserved.map_err(|_| ProtocolError::NoMemory { length })?;
                growth = growth.max(output.len() / 2);
            }
            let (before_in, before_out) = (self.stream.total_in(), output.len());
            let status = self
                .stream
                .decompress_vec(data, output, FlushDecompress::Sync)
                .map_err(|_| ProtocolError::BadDeflate)?;
            let used = self.stream.total_in() - before_in;
            data = advance(data, used);
            match status {
                // a final block ends the stream, and another one may follow (RFC 7692 7.2.3.4)
                Status::StreamEnd if data.is_empty() => {
                    self.reset();
                    return Ok(data);
                }
                Status::StreamEnd => self.reset(),
                Status::Ok | Status::BufError => {
                    let full = output.len() == output.capacity();
                    // no progress with room to spare: the input ends in the middle of a block
                    let stuck = used == 0 && output.len() == before_out;
                    if !full && (data.is_empty() || stuck) {
                        return Ok(data);
                    }
                }
            }
        }
    }

    /// Whether nothing was inflated since the beginning, or since a final block.
    pub fn is_fresh(&self) -> bool {
        self.stream.total_in() == 0
    }

    /// Forgets the window and what is unfinished.
    pub fn reset(&mut self) {
        self.stream.reset(false);
    }
}

fn advance(data: &[u8], used: u64) -> &[u8] {
    data.get(usize::try_from(used).unwrap_or(data.len())..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What zlib makes of messages if it gets each and its flush in two steps, as from Python's
    /// `compressobj`.
    fn two_steps(messages: &[(Vec<u8>, bool)], level: DeflateLevel, bits: u8) -> Vec<Vec<u8>> {
        let compression = Compression::new(level.level().into());
        let mut stream = Compress::new_with_window_bits(compression, false, bits);
        let compress = |(message, flushed): &(Vec<u8>, bool)| {
            let mut output = Vec::with_capacity(200_000);
            let steps = [(&message[..], FlushCompress::None), (&[], FlushCompress::Sync)];
            for (data, flush) in steps.into_iter().take(1 + usize::from(*flushed)) {
                stream.compress_vec(data, &mut output, flush).expect("room for all of it");
            }
            output
        };
        messages.iter().map(compress).collect()
    }

    fn one_step(messages: &[(Vec<u8>, bool)], level: DeflateLevel, bits: u8) -> Vec<Vec<u8>> {
        let window = WindowBits::new(bits.into()).expect("in range");
        let mut deflater = RawDeflater::with_level(window, level);
        let compress = |(message, flushed): &(Vec<u8>, bool)| {
            deflater.compress(message, if *flushed { Flush::Sync } else { Flush::None })
        };
        messages.iter().map(compress).collect()
    }

    proptest! {
        #[test]
        fn one_step_gives_what_two_give(
            messages in proptest::collection::vec(
                (
                    proptest::collection::vec(prop::sample::select(&b"abcd,\"0\xff"[..]), 0..3000),
                    prop::bool::weighted(0.9),
                ),
                1..8,
            ),
            level in 0..=9_i64,
            bits in 9..=15_u8,
        ) {
            let level = DeflateLevel::new(level).expect("in range");
            prop_assert_eq!(one_step(&messages, level, bits), two_steps(&messages, level, bits));
        }
    }

    #[test]
    fn a_message_that_fills_its_output_is_flushed_once() {
        // noise is stored: five bytes before it, five behind it
        let noise = |bytes: u32| -> Vec<u8> {
            (0..bytes)
                .map(|n| n.wrapping_mul(0x9e37_79b9).rotate_left(n).to_be_bytes()[0])
                .collect()
        };
        for bytes in 1..300 {
            let message = [(noise(bytes), true)];
            let level = DeflateLevel::PYWEBSOCKET;
            assert_eq!(one_step(&message, level, 15), two_steps(&message, level, 15), "{bytes}");
        }
    }

    #[test]
    fn pywebsocket_s_level_gives_the_same_bytes_in_one_step_beyond_the_window() {
        let text: Vec<u8> = (0..200_000_u32)
            .flat_map(|n| n.wrapping_mul(n >> 3).to_string().into_bytes())
            .take(150_000)
            .collect();
        let messages: Vec<_> = text.chunks(70_001).map(|piece| (piece.to_vec(), true)).collect();
        let level = DeflateLevel::PYWEBSOCKET;
        assert!(one_step(&messages, level, 15) == two_steps(&messages, level, 15));
    }

    #[test]
    fn output_goes_behind_what_is_there() {
        let mut output = b"before".to_vec();
        RawDeflater::new(WindowBits::MAX).compress_into(b"Hello", Flush::Sync, &mut output);
        assert_eq!(output, b"before\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff");
    }

    #[test]
    fn a_reset_compressor_refers_to_nothing_before() {
        let mut deflater = RawDeflater::new(WindowBits::MAX);
        let first = deflater.compress(b"Hello", Flush::Sync);
        assert_ne!(deflater.compress(b"Hello", Flush::Sync), first);
        deflater.reset();
        assert_eq!(deflater.compress(b"Hello", Flush::Sync), first);
    }
}
