//! The messages that are sent, prepared in advance, and the check of what comes back.
//!
//! A payload is a tag followed by filler. The tag is sixteen hex digits: the connection's number and
//! the message's sequence number, so a reply that is lost, repeated, reordered or delivered to
//! another connection is noticed. Payloads shorter than a tag carry its last digits.
//!
//! Everything but the tag is the same for all messages, so a masked frame is built once, and sending
//! one means writing the tag into it. With permessage-deflate that cannot be done to a compressed
//! frame, and messages that are alike would compress better than real ones do; there, a pool of
//! different messages is compressed in advance and used in turn.

use anyhow::{ensure, Result};
use flate2::{Compress, Compression, FlushCompress};

use crate::frame::{client_frame, client_header_len, op, MASK};

const TAG: usize = 16;
/// How many different messages there are with permessage-deflate, unless they are too large: many
/// more than fit in a compressor's window of 32 KiB.
const POOL: usize = 512;
const POOL_BYTES: usize = 64 << 20;

/// What to send and what to expect.
pub struct Messages {
    /// One frame with an empty tag, or complete ones with permessage-deflate.
    frames: Vec<Vec<u8>>,
    /// The reply to each, with an empty tag at its start.
    replies: Vec<Vec<u8>>,
    /// Where the tag is in a frame.
    frame_tag: usize,
    tag_len: usize,
    deflate: bool,
    payload_len: usize,
}

/// A message's tag.
type Tag = [u8; TAG];

impl Messages {
    pub fn new(size: usize, binary: bool, deflate: bool) -> Result<Self> {
        ensure!(!deflate || size > 0, "--deflate needs a payload: --size is 0");
        let opcode = if binary { op::BINARY } else { op::TEXT };
        let tag_len = TAG.min(size);
        let count = if deflate { (POOL_BYTES / size).clamp(1, POOL) } else { 1 };

        let mut random = Random(0x2545_F491_4F6C_DD1D);
        let (mut frames, mut replies) = (Vec::new(), Vec::new());
        for seq in 0..count as u64 {
            let mut payload = random.filler(size, binary, deflate);
            if deflate {
                write_tag(&mut payload[..tag_len], &tag(0, seq));
                frames.push(client_frame(opcode, true, &compress(&payload)?));
                payload[..tag_len].fill(0);
            } else {
                payload[..tag_len].fill(0);
                frames.push(client_frame(opcode, false, &payload));
            }
            replies.push(payload);
        }
        let frame_tag = client_header_len(size);
        Ok(Self { frames, replies, frame_tag, tag_len, deflate, payload_len: size })
    }

    pub fn payload_len(&self) -> usize {
        self.payload_len
    }

    pub fn is_deflate(&self) -> bool {
        self.deflate
    }

    /// The frame for message `seq` of connection `conn`, as a part to write first (in `head`) and
    /// the rest, which is shared by all messages.
    pub fn frame<'a>(
        &'a self,
        conn: u32,
        seq: u64,
        head: &'a mut [u8; 32],
    ) -> (&'a [u8], &'a [u8]) {
        let frame = &self.frames[self.index(seq)];
        if self.deflate {
            return (&[], frame);
        }
        let cut = self.frame_tag + self.tag_len;
        head[..self.frame_tag].copy_from_slice(&frame[..self.frame_tag]);
        write_tag(&mut head[self.frame_tag..cut], &masked(tag(conn, seq), self.tag_len));
        (&head[..cut], &frame[cut..])
    }

    /// Length of the frame for message `seq`.
    pub fn frame_len(&self, seq: u64) -> usize {
        self.frames[self.index(seq)].len()
    }

    /// Which of the messages number `seq` is.
    fn index(&self, seq: u64) -> usize {
        if self.deflate {
            (seq % self.frames.len() as u64) as usize
        } else {
            0
        }
    }

    /// Whether `chunk` is right as the bytes from `offset` of the reply to message `seq` of
    /// connection `conn`.
    pub fn matches(&self, conn: u32, seq: u64, offset: usize, chunk: &[u8]) -> bool {
        let index = self.index(seq);
        let reply = &self.replies[index];
        let end = offset + chunk.len();
        if end > reply.len() {
            return false;
        }
        if offset >= self.tag_len {
            return *chunk == reply[offset..end];
        }
        let mut expected = [0; TAG];
        let tag = if self.deflate { tag(0, index as u64) } else { tag(conn, seq) };
        write_tag(&mut expected[..self.tag_len], &tag);
        let cut = self.tag_len.min(end);
        let (tag, filler) = chunk.split_at(cut - offset);
        *tag == expected[offset..cut] && *filler == reply[cut..end]
    }
}

fn tag(conn: u32, seq: u64) -> Tag {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut value = u64::from(conn) << 32 | seq & 0xFFFF_FFFF;
    let mut tag = [0; TAG];
    for digit in tag.iter_mut().rev() {
        *digit = DIGITS[(value & 15) as usize];
        value >>= 4;
    }
    tag
}

/// The tag as it is in a masked frame, where its last `len` digits start at the mask's first byte.
fn masked(mut tag: Tag, len: usize) -> Tag {
    for (i, byte) in tag[TAG - len..].iter_mut().enumerate() {
        *byte ^= MASK[i % 4];
    }
    tag
}

/// Writes as many of the last digits as fit.
fn write_tag(to: &mut [u8], tag: &Tag) {
    to.copy_from_slice(&tag[TAG - to.len()..]);
}

/// A pseudo-random sequence (xorshift64), the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Payload bytes: plain ASCII for text, noise for binary, and something like JSON where
    /// compression matters.
    fn filler(&mut self, size: usize, binary: bool, deflate: bool) -> Vec<u8> {
        let mut out = Vec::with_capacity(size + 128);
        while out.len() < size {
            let r = self.next();
            if deflate {
                let record = format!(
                    "{{\"id\":{},\"type\":\"{}\",\"price\":{}.{:02},\"active\":{},\"user\":\"user{}\"}},",
                    r % 100_000,
                    ["trade", "quote", "order", "cancel"][(r >> 20 & 3) as usize],
                    (r >> 24) % 1000,
                    (r >> 40) % 100,
                    r >> 50 & 1 == 1,
                    (r >> 52) % 500,
                );
                out.extend_from_slice(record.as_bytes());
            } else if binary {
                out.extend_from_slice(&r.to_le_bytes());
            } else {
                out.push(b' ' + (r % 95) as u8);
            }
        }
        out.truncate(size);
        out
    }
}

/// Compresses one message by itself, so that it can be sent at any time: a client may do so whatever
/// was negotiated (RFC 7692 7.1.1.2).
fn compress(payload: &[u8]) -> Result<Vec<u8>> {
    let mut out = Vec::with_capacity(payload.len() + payload.len() / 1000 + 64);
    Compress::new(Compression::default(), false).compress_vec(
        payload,
        &mut out,
        FlushCompress::Sync,
    )?;
    ensure!(out.ends_with(&[0, 0, 0xFF, 0xFF]), "{} bytes grew by compression", payload.len());
    out.truncate(out.len() - 4);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unmasks a client frame's payload.
    fn payload_of(frame: &[u8], len: usize) -> Vec<u8> {
        let at = client_header_len(len);
        frame[at..].iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]).collect()
    }

    fn frame_of(messages: &Messages, conn: u32, seq: u64) -> Vec<u8> {
        let mut head = [0; 32];
        let (head, rest) = messages.frame(conn, seq, &mut head);
        let frame = [head, rest].concat();
        assert_eq!(frame.len(), messages.frame_len(seq));
        frame
    }

    #[test]
    fn refuses_any_other_reply() {
        for size in [0, 1, 5, 15, 16, 17, 32, 125, 126, 4096, 65_535, 65_536] {
            for binary in [false, true] {
                let messages = Messages::new(size, binary, false).unwrap();
                let reply = payload_of(&frame_of(&messages, 3, 0x1234_5678), size);
                for step in [1, 3, 7, 1000, 100_000] {
                    let mut offset = 0;
                    for chunk in reply.chunks(step) {
                        assert!(messages.matches(3, 0x1234_5678, offset, chunk), "{size} {step}");
                        offset += chunk.len();
                    }
                }
                assert!(!messages.matches(3, 0x1234_5678, 0, &[&reply[..], b"x"].concat()));
                if size >= 16 {
                    assert!(!messages.matches(4, 0x1234_5678, 0, &reply));
                    assert!(!messages.matches(3, 0x1234_5679, 0, &reply));
                    let mut bad = reply.clone();
                    *bad.last_mut().unwrap() ^= 1;
                    assert!(!messages.matches(3, 0x1234_5678, 0, &bad));
                }
            }
        }
    }

    #[test]
    fn compressed_message_inflates_to_its_reply() {
        let messages = Messages::new(1024, false, true).unwrap();
        for seq in [0, 1, 511, 512, 3 * 512 + 9] {
            let frame = frame_of(&messages, 9, seq);
            assert_eq!(frame[0], 0xC1);
            let at = if frame.len() - 6 <= 125 { 6 } else { 8 };
            let mut data: Vec<u8> =
                frame[at..].iter().enumerate().map(|(i, b)| b ^ MASK[i % 4]).collect();
            data.extend([0, 0, 0xFF, 0xFF]);
            let mut plain = Vec::with_capacity(4096);
            flate2::Decompress::new(false)
                .decompress_vec(&data, &mut plain, flate2::FlushDecompress::Sync)
                .unwrap();
            assert!(messages.matches(9, seq, 0, &plain));
            assert!(!messages.matches(9, seq + 1, 0, &plain));
            assert_eq!(plain.len(), 1024);
            assert!(data.len() < 700);
        }
    }
}
