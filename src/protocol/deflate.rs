//! permessage-deflate (RFC 7692): parameters, and messages through raw DEFLATE.
//!
//! A compressor or decompressor is allocated when it is first needed: about 256 KiB for the one
//! and 40 KiB for the other, so that a connection that negotiated compression and is silent costs
//! nothing.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::error::ProtocolError;

/// What RFC 7692 7.2.1 cuts off the end of a message, and 7.2.2 puts back.
const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// Bytes by which output grows at a time, so that a small message cannot claim much memory.
const GROWTH: usize = 16 * 1024;

/// LZ77 window size as an exponent of two (RFC 7692 7.1.2): 8 to 15.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WindowBits(u8);

impl WindowBits {
    /// The largest window, and the default.
    pub const MAX: Self = Self(15);

    /// # Errors
    /// Outside 8 to 15.
    pub fn new(bits: i64) -> Result<Self, String> {
        match u8::try_from(bits) {
            Ok(bits @ 8..=15) => Ok(Self(bits)),
            _ => Err(format!("window bits {bits} out of range 8 to 15")),
        }
    }

    /// Parses a parameter's value: decimal, no leading zero.
    ///
    /// # Errors
    /// A sentence that names the value.
    pub fn parse(value: Option<&str>) -> Result<Self, String> {
        let value = value.ok_or_else(|| "Value is required".to_owned())?;
        let canonical = !value.starts_with('0') && value.bytes().all(|byte| byte.is_ascii_digit());
        match value.parse::<u8>() {
            Ok(bits @ 8..=15) if canonical => Ok(Self(bits)),
            _ => Err(format!("Invalid value: '{value}'")),
        }
    }

    /// The exponent.
    pub fn bits(self) -> u8 {
        self.0
    }

    /// The exponent to compress with. zlib has no 256-byte window; what it compresses with 512
    /// never refers back further than 250 bytes, so every peer with 256 can inflate it.
    fn for_compressor(self) -> u8 {
        self.0.max(9)
    }
}

/// An acceptable offer of permessage-deflate (RFC 7692 7.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offer {
    /// The window that the client can inflate with.
    pub server_max_window_bits: Option<WindowBits>,
    /// The client inflates every message on its own.
    pub server_no_context_takeover: bool,
    /// The client lets us choose its window, up to this one.
    pub client_max_window_bits: Option<WindowBits>,
    /// The client will deflate every message on its own.
    pub client_no_context_takeover: bool,
}

impl Offer {
    /// Judges the parameters of an offer. A repeated parameter counts once, the first time, as in
    /// pywebsocket.
    ///
    /// # Errors
    /// A sentence that names the parameter for which the offer is declined.
    pub fn parse<'a>(
        parameters: impl Iterator<Item = (&'a str, Option<&'a str>)>,
    ) -> Result<Self, String> {
        let mut offer = Self::default();
        let mut seen = Vec::new();
        for (name, value) in parameters {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            let bad = |reason: String| format!("Bad {name} parameter: {reason}");
            match (name, value) {
                ("server_max_window_bits", _) => {
                    offer.server_max_window_bits = Some(WindowBits::parse(value).map_err(bad)?);
                }
                ("client_max_window_bits", None) => {
                    offer.client_max_window_bits = Some(WindowBits::MAX);
                }
                ("client_max_window_bits", Some(_)) => {
                    offer.client_max_window_bits = Some(WindowBits::parse(value).map_err(bad)?);
                }
                ("server_no_context_takeover", None) => offer.server_no_context_takeover = true,
                ("client_no_context_takeover", None) => offer.client_no_context_takeover = true,
                ("server_no_context_takeover" | "client_no_context_takeover", Some(value)) => {
                    return Err(bad(format!("it must not have a value: '{value}'")));
                }
                _ => return Err(format!("Unknown parameter: '{name}'")),
            }
        }
        Ok(offer)
    }
}

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
pub struct RawDeflater(Compress);

impl std::fmt::Debug for RawDeflater {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("RawDeflater")
    }
}

impl RawDeflater {
    /// A compressor with an empty window.
    pub fn new(window: WindowBits) -> Self {
        let level = Compression::default();
        Self(Compress::new_with_window_bits(level, false, window.for_compressor()))
    }

    /// Compresses `data`.
    pub fn compress(&mut self, data: &[u8], flush: Flush) -> Vec<u8> {
        let mut output = Vec::with_capacity(data.len() / 2 + 64);
        // a step of its own: zlib takes a second flush without one in between for a mistake, and
        // an empty message would have no bytes at all
        self.step(data, FlushCompress::None, &mut output);
        match flush {
            Flush::None => {}
            Flush::Sync => self.step(&[], FlushCompress::Sync, &mut output),
            Flush::Finish => self.step(&[], FlushCompress::Finish, &mut output),
        }
        output
    }

    fn step(&mut self, mut data: &[u8], flush: FlushCompress, output: &mut Vec<u8>) {
        loop {
            let (before_in, before_out) = (self.0.total_in(), output.len());
            // a raw compressor has no error but "no progress", which ends the loop below
            let status = self.0.compress_vec(data, output, flush);
            data = advance(data, self.0.total_in() - before_in);
            let full = output.len() == output.capacity();
            let stuck = self.0.total_in() == before_in && output.len() == before_out;
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

/// A raw DEFLATE decompressor that goes on behind a final block.
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
    /// Inflates `data`, at most `limit` bytes of output; gives what of `data` was not used.
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
        let mut growth = GROWTH.min(data.len().saturating_mul(4).max(64));
        loop {
            let produced = output.len() - start;
            if produced >= limit {
                return Ok(data);
            }
            if output.len() == output.capacity() {
                output.reserve_exact(growth);
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
                Status::StreamEnd if data.is_empty() => {
                    self.reset();
                    return Ok(data);
                }
                Status::StreamEnd => self.reset(),
                Status::Ok | Status::BufError => {
                    let full = output.len() == output.capacity();
                    let stuck = used == 0 && output.len() == before_out;
                    if !full && (data.is_empty() || stuck) {
                        return Ok(data);
                    }
                }
            }
        }
    }

    /// Forgets the window and what is unfinished.
    pub fn reset(&mut self) {
        self.stream.reset(false);
    }
}

/// Compresses the messages of one direction (RFC 7692 7.2.1).
#[derive(Debug)]
pub struct MessageDeflater {
    window: WindowBits,
    no_context_takeover: bool,
    stream: Option<RawDeflater>,
}

impl MessageDeflater {
    /// Nothing is allocated until the first message.
    pub fn new(window: Option<WindowBits>, no_context_takeover: bool) -> Self {
        Self { window: window.unwrap_or(WindowBits::MAX), no_context_takeover, stream: None }
    }

    /// Compresses a piece of a message; `bfinal` ends it with a final block and forgets the window
    /// (RFC 7692 7.2.3.4).
    pub fn deflate(&mut self, piece: &[u8], end: bool, bfinal: bool) -> Vec<u8> {
        let window = self.window;
        let stream = self.stream.get_or_insert_with(|| RawDeflater::new(window));
        if bfinal {
            let mut output = stream.compress(piece, Flush::Finish);
            output.push(0x00);
            self.stream = None;
            return output;
        }
        let mut output = stream.compress(piece, Flush::Sync);
        if end {
            output.truncate(output.len().saturating_sub(TAIL.len()));
            if self.no_context_takeover {
                self.stream = None;
            }
        }
        output
    }
}

/// Decompresses the messages of one direction (RFC 7692 7.2.2).
#[derive(Debug, Default)]
pub struct MessageInflater {
    stream: Option<RawInflater>,
    /// Input behind the point where the last message stopped making sense of it.
    unused: Vec<u8>,
}

impl MessageInflater {
    /// Inflates a whole message.
    ///
    /// A payload of no bytes at all is an empty message (Mojolicious sends it) and leaves the
    /// stream as it is.
    ///
    /// # Errors
    /// [`ProtocolError::BadDeflate`]; [`ProtocolError::MessageTooBig`] before more than
    /// `max_bytes` are held.
    pub fn inflate(&mut self, payload: &[u8], max_bytes: u64) -> Result<Vec<u8>, ProtocolError> {
        let mut output = Vec::new();
        if payload.is_empty() {
            return Ok(output);
        }
        let limit = usize::try_from(max_bytes).unwrap_or(usize::MAX);
        let stream = self.stream.get_or_insert_default();
        let mut input = std::mem::take(&mut self.unused);
        input.extend_from_slice(payload);
        input.extend_from_slice(&TAIL);
        let left = stream.inflate(&input, &mut output, limit.saturating_add(1))?;
        if output.len() > limit {
            return Err(ProtocolError::MessageTooBig { limit: max_bytes });
        }
        self.unused = left.to_vec();
        Ok(output)
    }
}

fn advance(data: &[u8], used: u64) -> &[u8] {
    data.get(usize::try_from(used).unwrap_or(data.len())..).unwrap_or_default()
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
            Err(ProtocolError::MessageTooBig { limit: 1000 })
        );
        let exact = MessageDeflater::new(None, false).deflate(&[7; 1000], true, false);
        assert_eq!(MessageInflater::default().inflate(&exact, 1000), Ok(vec![7; 1000]));
        assert!(MessageInflater::default().inflate(&exact, 999).is_err());
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

    #[test]
    fn offers_are_judged_by_rfc_7692_7_1() {
        let parse = |parameters: &[(&'static str, Option<&'static str>)]| {
            Offer::parse(parameters.iter().copied())
        };
        assert_eq!(parse(&[]), Ok(Offer::default()));
        let offer = parse(&[
            ("client_max_window_bits", None),
            ("server_max_window_bits", Some("10")),
            ("client_no_context_takeover", None),
            ("server_max_window_bits", Some("11")),
        ]);
        assert_eq!(
            offer,
            Ok(Offer {
                server_max_window_bits: Some(WindowBits(10)),
                server_no_context_takeover: false,
                client_max_window_bits: Some(WindowBits::MAX),
                client_no_context_takeover: true,
            })
        );
        for bad in ["7", "16", "010", "", "ten", "+10", "10.0"] {
            assert!(parse(&[("server_max_window_bits", Some(bad))]).is_err(), "{bad}");
        }
        assert!(parse(&[("server_max_window_bits", None)]).is_err());
        assert!(parse(&[("server_no_context_takeover", Some("1"))]).is_err());
        assert!(parse(&[("Server_No_Context_Takeover", None)]).is_err());
    }
}
