//! Frame headers (RFC 6455 5.2), and whole frames for callers that read frames instead of messages.
//!
//! tungstenite formats frames. We parse them ourselves, because tungstenite's parser cannot do
//! three things that pywebsocket does: leave the rest of the stream readable after a reserved
//! opcode (handlers catch the exception and go on), refuse a length of 2^63 and above before the
//! masking key has been received, and notice a length in more octets than necessary.

use tungstenite::protocol::frame::{coding::OpCode, FrameHeader as Formatter};

use super::{
    error::{ProtocolError, SendError},
    limits::{append, FrameLimits},
    mask::{self, MaskingKey},
};

/// Control frames carry at most this many bytes (RFC 6455 5.5).
pub const MAX_CONTROL_PAYLOAD: u64 = 125;

/// Four bits; every value is possible on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opcode(u8);

impl Opcode {
    /// A further frame of a fragmented message.
    pub const CONTINUATION: Self = Self(0x0);
    /// UTF-8 text.
    pub const TEXT: Self = Self(0x1);
    /// Bytes.
    pub const BINARY: Self = Self(0x2);
    /// Closing handshake.
    pub const CLOSE: Self = Self(0x8);
    /// Asks for a pong.
    pub const PING: Self = Self(0x9);
    /// Answers a ping.
    pub const PONG: Self = Self(0xa);

    /// Makes an opcode of its four bits.
    ///
    /// # Errors
    /// For a value above 15.
    pub fn new(value: u8) -> Result<Self, SendError> {
        if value > 0xf {
            return Err(SendError::Opcode);
        }
        Ok(Self(value))
    }

    /// The four bits.
    pub fn value(self) -> u8 {
        self.0
    }

    /// Whether the frame is a control frame, including those without a meaning so far (RFC 6455
    /// 5.5).
    pub fn is_control(self) -> bool {
        self.0 >= 0x8
    }

    /// Whether the opcode has a meaning in RFC 6455.
    pub fn is_known(self) -> bool {
        matches!(self.0, 0x0..=0x2 | 0x8..=0xa)
    }
}

/// One frame header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// Whether the frame is the last of its message.
    pub fin: bool,
    /// RSV1, RSV2, RSV3 as the bits 4, 2, 1.
    pub reserved: u8,
    /// The type of the frame.
    pub opcode: Opcode,
    /// `None`: the payload is not masked.
    pub masking_key: Option<MaskingKey>,
    /// Payload bytes.
    pub length: u64,
    /// Octets that hold the length: 1, 2 or 8. Ignored when formatting.
    pub length_octets: u8,
}

/// The bit of RSV1 in [`FrameHeader::reserved`].
pub const RSV1: u8 = 0b100;

/// The result of decoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decoded {
    /// A header, and the number of bytes that it took.
    Header(FrameHeader, usize),
    /// At least this many more bytes are needed.
    Short(usize),
}

impl FrameHeader {
    /// Decodes the header at the beginning of `input`.
    ///
    /// # Errors
    /// [`ProtocolError::WrongMaskBit`] as soon as there are two bytes, and
    /// [`ProtocolError::LengthOutOfRange`] as soon as the length is complete. The second value is
    /// the number of bytes to drop for a reader that goes on.
    pub fn decode(input: &[u8], expect_masked: bool) -> Result<Decoded, (ProtocolError, usize)> {
        let [first, second, rest @ ..] = input else { return Ok(Decoded::Short(1)) };
        let masked = second & 0x80 != 0;
        if masked != expect_masked {
            return Err((ProtocolError::WrongMaskBit, 2));
        }
        let (length, rest, length_octets) = match second & 0x7f {
            127 => match rest.split_first_chunk::<8>() {
                Some((octets, rest)) => (u64::from_be_bytes(*octets), rest, 8),
                None => return Ok(Decoded::Short(8 - rest.len())),
            },
            126 => match rest.split_first_chunk::<2>() {
                Some((octets, rest)) => (u64::from(u16::from_be_bytes(*octets)), rest, 2),
                None => return Ok(Decoded::Short(2 - rest.len())),
            },
            length => (u64::from(length), rest, 1),
        };
        if length >> 63 != 0 {
            return Err((ProtocolError::LengthOutOfRange, input.len() - rest.len()));
        }
        let (masking_key, rest) = match (masked, rest.split_first_chunk::<4>()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(*key), rest),
            (true, None) => return Ok(Decoded::Short(4 - rest.len())),
        };
        let header = Self {
            fin: first & 0x80 != 0,
            reserved: (first >> 4) & 0b111,
            opcode: Opcode(first & 0xf),
            masking_key,
            length,
            length_octets,
        };
        Ok(Decoded::Header(header, input.len() - rest.len()))
    }

    /// Whether the length is encoded in the fewest octets (RFC 6455 5.2). pywebsocket only warns.
    pub fn is_minimal(&self) -> bool {
        match self.length_octets {
            2 => self.length >= 126,
            8 => self.length >= 1 << 16,
            _ => true,
        }
    }

    /// Appends the header, with its masking key if it has one.
    pub fn encode(&self, output: &mut Vec<u8>) {
        output.extend_from_slice(&self.encoded());
    }

    /// The header as bytes, with its masking key if it has one.
    pub fn encoded(&self) -> EncodedHeader {
        let mut encoded = EncodedHeader { bytes: [0; MAX_HEADER], length: 0 };
        let mut unwritten = &mut encoded.bytes[..];
        let formatter = Formatter {
            is_final: self.fin,
            rsv1: self.reserved & RSV1 != 0,
            rsv2: self.reserved & 0b010 != 0,
            rsv3: self.reserved & 0b001 != 0,
            opcode: OpCode::from(self.opcode.value()),
            mask: self.masking_key,
        };
        // this does not fail: there is room for the longest header
        let _ = formatter.format(self.length, &mut unwritten);
        let left = unwritten.len();
        encoded.length = MAX_HEADER - left;
        encoded
    }
}

/// The bytes of a header.
#[derive(Debug, Clone, Copy)]
pub struct EncodedHeader {
    bytes: [u8; MAX_HEADER],
    length: usize,
}

impl std::ops::Deref for EncodedHeader {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The longest header: two octets, a length in eight more, and a masking key.
pub const MAX_HEADER: usize = MAX_UNMASKED_HEADER + 4;

/// The longest header without a masking key.
pub const MAX_UNMASKED_HEADER: usize = 10;

/// A received frame with its payload unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// The header.
    pub header: FrameHeader,
    /// The payload.
    pub payload: Vec<u8>,
}

/// Reads whole frames, and checks only the mask bit, the range of the length, and the limit.
#[derive(Debug, Default)]
pub struct FrameReader {
    current: Option<Frame>,
}

impl FrameReader {
    /// Takes bytes from `input`. `None` means that it needs more bytes, appended to those that it
    /// has left.
    ///
    /// # Errors
    /// As [`FrameHeader::decode`], and as [`FrameLimits::check_frame`] before any of a payload is kept.
    pub fn poll(
        &mut self,
        input: &mut &[u8],
        expect_masked: bool,
        limits: FrameLimits,
    ) -> Result<Option<Frame>, ProtocolError> {
        let mut frame = match self.current.take() {
            Some(frame) => frame,
            None => match take_header(input, expect_masked)? {
                None => return Ok(None),
                Some(header) => {
                    limits.check_frame(header.length)?;
                    Frame { header, payload: Vec::new() }
                }
            },
        };
        let piece = take(input, frame.header.length - frame.payload.len() as u64);
        append(&mut frame.payload, piece)?;
        if (frame.payload.len() as u64) < frame.header.length {
            self.current = Some(frame);
            return Ok(None);
        }
        if let Some(key) = frame.header.masking_key {
            mask::apply(&mut frame.payload, key, 0);
        }
        Ok(Some(frame))
    }

    /// Whether a frame has begun and not ended.
    pub fn is_mid_frame(&self) -> bool {
        self.current.is_some()
    }

    /// How many bytes the frame needs at least, given what `poll` left of its input.
    pub fn wanted(&self, left: &[u8], expect_masked: bool) -> u64 {
        match &self.current {
            Some(frame) => frame.header.length - frame.payload.len() as u64,
            None => header_wanted(left, expect_masked),
        }
    }
}

/// Takes a header from the front of `input`, or nothing.
pub(super) fn take_header(
    input: &mut &[u8],
    expect_masked: bool,
) -> Result<Option<FrameHeader>, ProtocolError> {
    match FrameHeader::decode(input, expect_masked) {
        Ok(Decoded::Short(_)) => Ok(None),
        Ok(Decoded::Header(header, used)) => {
            *input = &input[used..];
            Ok(Some(header))
        }
        Err((error, used)) => {
            *input = &input[used..];
            Err(error)
        }
    }
}

/// Takes at most `count` bytes from the front of `input`.
pub(super) fn take<'a>(input: &mut &'a [u8], count: u64) -> &'a [u8] {
    let count = usize::try_from(count).map_or(input.len(), |count| count.min(input.len()));
    let (piece, rest) = input.split_at(count);
    *input = rest;
    piece
}

/// How many bytes a header needs at least, given its beginning.
pub(super) fn header_wanted(left: &[u8], expect_masked: bool) -> u64 {
    match FrameHeader::decode(left, expect_masked) {
        Ok(Decoded::Short(count)) => count as u64,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
