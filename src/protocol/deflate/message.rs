//! Messages through DEFLATE (RFC 7692 7.2).

use super::{spares, DeflateLevel, Flush, RawDeflater, RawInflater, WindowBits};
use crate::protocol::error::ProtocolError;

/// The bytes that RFC 7692 7.2.1 removes from the end of a message, and 7.2.2 appends again.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Memory for a message is reserved in advance up to this size, and beyond it only as bytes come.
const EXPECTED_MAX: usize = 64 * 1024;

/// Extra room after a message. With less than 260 bytes of room, zlib-rs leaves its fast loop, and
/// a text of 1 KiB takes a tenth longer.
const QUICK_ROOM: usize = 320;

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

/// What ends with a piece of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing: the message goes on.
    Piece,
    /// The message.
    Message,
    /// The message, with a final block; the next one starts with an empty window (RFC 7692
    /// 7.2.3.4).
    FinalBlock,
}

/// Compresses the messages of one direction (RFC 7692 7.2.1).
#[derive(Debug)]
pub struct MessageDeflater {
    window: WindowBits,
    level: DeflateLevel,
    no_context_takeover: bool,
    stream: Option<RawDeflater>,
}

impl MessageDeflater {
    /// Compresses as pywebsocket does. Nothing is allocated until the first message.
    pub fn new(window: Option<WindowBits>, no_context_takeover: bool) -> Self {
        Self::with_level(window, no_context_takeover, DeflateLevel::PYWEBSOCKET)
    }

    /// Compresses at a level that the caller chooses.
    pub fn with_level(
        window: Option<WindowBits>,
        no_context_takeover: bool,
        level: DeflateLevel,
    ) -> Self {
        let window = window.unwrap_or(WindowBits::MAX);
        Self { window, level, no_context_takeover, stream: None }
    }

    /// As [`Self::deflate_into`], into a new vector; with `bfinal` the piece ends with a final
    /// block, whether the message ends or not.
    pub fn deflate(&mut self, piece: &[u8], end: bool, bfinal: bool) -> Vec<u8> {
        let mut output = Vec::new();
        let ending = match (end, bfinal) {
            (_, true) => Ending::FinalBlock,
            (true, false) => Ending::Message,
            (false, false) => Ending::Piece,
        };
        self.deflate_into(piece, ending, &mut output);
        output
    }

    /// Begins to compress a piece to the end of `output`; [`Self::deflate_into`] takes its rest.
    pub fn deflate_beginning(&mut self, beginning: &[u8], output: &mut Vec<u8>) {
        let mut stream = self.stream.take().unwrap_or_else(|| self.begin());
        stream.compress_into(beginning, Flush::None, output);
        self.stream = Some(stream);
    }

    /// Compresses a piece of a message to the end of `output`, which grows as
    /// [`RawDeflater::compress_into`] says.
    pub fn deflate_into(&mut self, piece: &[u8], ending: Ending, output: &mut Vec<u8>) {
        let mut stream = self.stream.take().unwrap_or_else(|| self.begin());
        match ending {
            Ending::Piece => stream.compress_into(piece, Flush::Sync, output),
            Ending::Message => {
                stream.compress_into(piece, Flush::Sync, output);
                output.truncate(output.len().saturating_sub(TAIL.len()));
            }
            Ending::FinalBlock => {
                stream.compress_into(piece, Flush::Finish, output);
                output.push(0x00);
            }
        }
        if self.no_context_takeover && ending != Ending::Piece {
            return spares::give_back(stream);
        }
        if ending == Ending::FinalBlock {
            stream.reset();
        }
        self.stream = Some(stream);
    }

    fn begin(&self) -> RawDeflater {
        if self.no_context_takeover {
            spares::take(self.window, self.level)
        } else {
            RawDeflater::with_level(self.window, self.level)
        }
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
        let room = Room { limit, taken: 0, start };
        let inflated = self.piece(payload, &room, output).and_then(|()| self.tail(&room, output));
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
        let room = Room { limit: limit(max_bytes), taken: *taken, start: 0 };
        if *used == 0 {
            self.reserve(payload.len(), room.limit, output);
        }
        let (first_in, first_out) = (*used, output.len());
        let mut is_last = false;
        let mut inflated = Ok(());
        while inflated.is_ok() && !is_last {
            if *used - first_in >= STEP_IN || output.len() - first_out >= STEP_OUT {
                return Ok(false);
            }
            let end = payload.len().min(*used + PIECE);
            inflated = self.piece(&payload[*used..end], &room, output);
            *used = end;
            is_last = end == payload.len();
        }
        if inflated.is_ok() && !payload.is_empty() {
            inflated = self.tail(&room, output);
        }
        self.end(*taken + output.len());
        inflated.map(|()| true)
    }

    fn reserve(&self, payload_bytes: usize, limit: usize, output: &mut Vec<u8>) {
        let expected = payload_bytes.saturating_mul(4).max(self.last_bytes);
        output.reserve(expected.min(EXPECTED_MAX).min(limit) + QUICK_ROOM);
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
        room: &Room,
        output: &mut Vec<u8>,
    ) -> Result<(), ProtocolError> {
        let stream = self.stream.get_or_insert_default();
        // inflate one byte more than allowed, to notice that there is more
        let missing = room.limit.saturating_add(1) - room.used(output);
        let left = stream.inflate(data, output, missing)?;
        if room.used(output) > room.limit {
            return Err(ProtocolError::InflatedTooBig { limit: room.limit as u64 });
        }
        if !left.is_empty() {
            return Err(ProtocolError::BadDeflate);
        }
        Ok(())
    }

    /// Inflates the empty block that the sender removed (RFC 7692 7.2.2).
    fn tail(&mut self, room: &Room, output: &mut Vec<u8>) -> Result<(), ProtocolError> {
        if self.stream.as_ref().is_some_and(RawInflater::is_fresh) {
            // the message has ended with a final block and nothing after it (RFC 7692 7.2.3.4). So
            // the sender has removed no empty block, and the tail must not become the beginning of
            // the next message.
            return Ok(());
        }
        self.piece(&TAIL, room, output)
    }
}

/// How much a message may inflate to.
struct Room {
    limit: usize,
    /// The bytes of the message that are not in the output any more.
    taken: usize,
    /// Where the message begins in the output.
    start: usize,
}

impl Room {
    fn used(&self, output: &[u8]) -> usize {
        self.taken + output.len() - self.start
    }
}

fn limit(max_bytes: u64) -> usize {
    usize::try_from(max_bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inflate(inflater: &mut MessageInflater, payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
        inflater.inflate(payload, 1 << 20)
    }

    #[test]
    fn inflates_the_examples_of_rfc_7692_7_2_3() {
        let mut inflater = MessageInflater::default();
        let one_block = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        assert_eq!(inflate(&mut inflater, one_block), Ok(b"Hello".to_vec()));
        // the same again, from the window
        assert_eq!(inflate(&mut inflater, b"\xf2\x00\x11\x00\x00"), Ok(b"Hello".to_vec()));
        // no compression
        let stored = b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00";
        assert_eq!(inflate(&mut inflater, stored), Ok(b"Hello".to_vec()));
        // a final block, padded
        let last = b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
        assert_eq!(inflate(&mut inflater, last), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, one_block), Ok(b"Hello".to_vec()));
        // a final block and nothing behind it, again and again
        let bare = b"\xf3\x48\xcd\xc9\xc9\x07\x00";
        for _ in 0..3 {
            assert_eq!(inflate(&mut inflater, bare), Ok(b"Hello".to_vec()));
        }
        assert_eq!(inflate(&mut inflater, one_block), Ok(b"Hello".to_vec()));
        // two blocks
        let two = b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00";
        assert_eq!(inflate(&mut inflater, two), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn an_empty_payload_is_an_empty_message_and_spoils_nothing() {
        let mut inflater = MessageInflater::default();
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00";
        assert_eq!(inflate(&mut inflater, b""), Ok(Vec::new()));
        assert_eq!(inflate(&mut inflater, hello), Ok(b"Hello".to_vec()));
        assert_eq!(inflate(&mut inflater, b""), Ok(Vec::new()));
        assert_eq!(inflate(&mut inflater, b"\xf2\x00\x11\x00\x00"), Ok(b"Hello".to_vec()));
    }

    #[test]
    fn refuses_what_is_not_deflate() {
        assert_eq!(
            inflate(&mut MessageInflater::default(), b"\x07"),
            Err(ProtocolError::BadDeflate)
        );
    }

    #[test]
    fn a_bomb_is_stopped_while_it_inflates() {
        let bomb = MessageDeflater::new(None, false).deflate(&vec![0; 10 << 20], true, false);
        assert!(bomb.len() < 20_000);
        let mut inflater = MessageInflater::default();
        assert_eq!(
            inflater.inflate(&bomb, 1000),
            Err(ProtocolError::InflatedTooBig { limit: 1000 })
        );
        let exact = MessageDeflater::new(None, false).deflate(&[7; 1000], true, false);
        assert_eq!(MessageInflater::default().inflate(&exact, 1000), Ok(vec![7; 1000]));
        assert!(MessageInflater::default().inflate(&exact, 999).is_err());
    }

    fn inflate_in_steps(
        inflater: &mut MessageInflater,
        payload: &[u8],
        max_bytes: u64,
    ) -> Result<(Vec<u8>, usize), ProtocolError> {
        let mut message = Inflating::new(payload.to_vec());
        let mut output = Vec::new();
        for steps in 1.. {
            let is_whole = inflater.step(&mut message, max_bytes)?;
            output.extend(message.take_output());
            if is_whole {
                return Ok((output, steps));
            }
        }
        unreachable!("it ends")
    }

    #[test]
    fn steps_inflate_what_one_call_does() {
        let noise: Vec<u8> = (0..300_000_u32)
            .map(|n| (n.wrapping_mul(0x9e37_79b9) >> 13).to_be_bytes()[3])
            .collect();
        let mut zeros_and_noise = vec![0; 5 << 20];
        zeros_and_noise.extend(&noise);
        for no_context_takeover in [false, true] {
            let mut deflater = MessageDeflater::new(None, no_context_takeover);
            let mut inflater = MessageInflater::new(no_context_takeover);
            for (message, bfinal) in [
                (&noise[..], false),
                (&noise[..10], true),
                (&zeros_and_noise[..], true),
                (&[], false),
                (&zeros_and_noise[..], false),
                (&noise[..], true),
            ] {
                let payload = deflater.deflate(message, true, bfinal);
                let (output, steps) = inflate_in_steps(&mut inflater, &payload, 1 << 30).unwrap();
                assert_eq!(output, message);
                assert!(steps > message.len() / (4 << 20), "{steps} for {}", message.len());
                assert!(steps <= 1 + message.len() / (64 << 10), "{steps} for {}", message.len());
            }
        }
    }

    #[test]
    fn a_piece_is_compressed_in_parts() {
        let data: Vec<u8> =
            (0..300_000_u32).map(|n| (n * (n >> 5) % 251).to_be_bytes()[3]).collect();
        let mut deflater = MessageDeflater::new(None, false);
        let mut inflater = MessageInflater::default();
        for bfinal in [false, true, false] {
            let mut output = Vec::new();
            deflater.deflate_beginning(&data[..100_000], &mut output);
            deflater.deflate_beginning(&data[100_000..200_001], &mut output);
            let ending = if bfinal { Ending::FinalBlock } else { Ending::Message };
            deflater.deflate_into(&data[200_001..], ending, &mut output);
            assert!(inflate(&mut inflater, &output) == Ok(data.clone()), "{bfinal}");
            let at_once = MessageDeflater::new(None, false).deflate(&data, true, bfinal);
            assert!(output.len() < at_once.len() + 100, "{} {}", output.len(), at_once.len());
        }
    }

    #[test]
    fn steps_stop_a_bomb_and_corrupt_data() {
        let bomb = MessageDeflater::new(None, false).deflate(&vec![0; 10 << 20], true, false);
        for limit in [0, 1000, (10 << 20) - 1] {
            let inflated = inflate_in_steps(&mut MessageInflater::default(), &bomb, limit);
            assert_eq!(inflated.map(drop), Err(ProtocolError::InflatedTooBig { limit }));
        }
        assert!(inflate_in_steps(&mut MessageInflater::default(), &bomb, 10 << 20).is_ok());
        // behind many steps, a block of a type that does not exist (RFC 1951 3.2.3)
        let mut corrupt =
            MessageDeflater::new(None, false).deflate(&vec![0; 10 << 20], false, false);
        corrupt.push(0x07);
        let inflated = inflate_in_steps(&mut MessageInflater::default(), &corrupt, 1 << 30);
        assert_eq!(inflated.map(drop), Err(ProtocolError::BadDeflate));
    }

    #[test]
    fn an_empty_piece_behind_another_has_a_byte() {
        let mut deflater = MessageDeflater::new(None, false);
        deflater.deflate(b"Hello", false, false);
        assert_eq!(deflater.deflate(b"", true, false), b"\x00");
        assert_eq!(deflater.deflate(b"", true, false), b"\x00");
    }

    #[test]
    fn every_window_and_mode_round_trips() {
        let data: Vec<u8> = (0..70_000_u32).map(|n| n.wrapping_mul(n).to_be_bytes()[1]).collect();
        for bits in 8..=15 {
            for no_context_takeover in [false, true] {
                let window = WindowBits::new(bits).ok();
                let mut deflater = MessageDeflater::new(window, no_context_takeover);
                let mut inflater = MessageInflater::default();
                for size in [0, 1, 5, 70_000, 3, 4096] {
                    let bfinal = size == 3;
                    let payload = deflater.deflate(&data[..size], true, bfinal);
                    assert_eq!(inflate(&mut inflater, &payload), Ok(data[..size].to_vec()));
                }
            }
        }
    }

    #[test]
    fn fragments_of_a_message_inflate_together() {
        let mut deflater = MessageDeflater::new(None, false);
        let payload = [
            deflater.deflate(b"Hello", false, false),
            deflater.deflate(b", ", false, false),
            deflater.deflate(b"world", true, false),
        ]
        .concat();
        assert_eq!(
            inflate(&mut MessageInflater::default(), &payload),
            Ok(b"Hello, world".to_vec())
        );
    }
}
