//! Finds control frames at the front of received bytes, so that pings can be answered while the
//! handler does not receive.

use crate::protocol::{
    frame::{Decoded, FrameHeader, Opcode, MAX_CONTROL_PAYLOAD},
    mask,
};

/// What is at the front of received bytes, which begin with a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstFrame {
    /// A whole ping or pong.
    Control {
        /// Ping or pong.
        opcode: Opcode,
        /// Its payload.
        body: Vec<u8>,
        /// The number of bytes of the frame.
        length: usize,
    },
    /// Nothing, or the beginning of a ping or pong.
    Unfinished,
    /// Something that only a receiver may take: data, a close frame, or a frame that breaks a rule.
    Other,
}

impl FirstFrame {
    /// Looks at bytes of a peer that masks its frames.
    pub fn of(input: &[u8]) -> Self {
        let (header, payload, length) = match Self::control(input) {
            Ok(found) => found,
            Err(other) => return other,
        };
        let mut body = payload.to_vec();
        if let Some(key) = header.masking_key {
            mask::apply(&mut body, key, 0);
        }
        Self::Control { opcode: header.opcode, body, length }
    }

    /// A whole ping or pong: its header, its masked payload and its length.
    fn control(input: &[u8]) -> Result<(FrameHeader, &[u8], usize), Self> {
        let Some((first, _)) = input.split_first() else { return Err(Self::Unfinished) };
        // the final bit, no reserved ones, and the opcode
        if !matches!(first, 0x89 | 0x8a) {
            return Err(Self::Other);
        }
        let (header, used) = match FrameHeader::decode(input, true) {
            Ok(Decoded::Header(header, used)) => (header, used),
            Ok(Decoded::Short(_)) => return Err(Self::Unfinished),
            Err(_) => return Err(Self::Other),
        };
        if header.length > MAX_CONTROL_PAYLOAD || !header.is_minimal() {
            return Err(Self::Other);
        }
        let length = usize::try_from(header.length).unwrap_or(0);
        let payload = input[used..].get(..length).ok_or(Self::Unfinished)?;
        Ok((header, payload, used + length))
    }
}

/// What a receiver will receive first, ignoring pings and pongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextReceived {
    /// Nothing yet, or the beginning of a message.
    Nothing,
    /// A close frame (RFC 6455 5.5.1).
    Close,
    /// A message, or a frame that breaks a rule.
    Message,
}

impl NextReceived {
    /// Looks at bytes of a peer that masks its frames. `at` is where a frame begins, and becomes
    /// where the last one begins that was looked at: with more bytes, the next call goes on from
    /// there.
    pub fn of(input: &[u8], at: &mut usize) -> Self {
        loop {
            let Some(input) = input.get(*at..) else { return Self::Nothing };
            match FirstFrame::control(input) {
                Ok((_, _, length)) => *at += length,
                Err(FirstFrame::Unfinished) => return Self::Nothing,
                Err(_) if input.first() == Some(&0x88) => return Self::Close,
                Err(_) => match FrameHeader::decode(input, true) {
                    Ok(Decoded::Header(header, used)) if !header.opcode.is_control() => {
                        let length = usize::try_from(header.length).unwrap_or(usize::MAX);
                        if input[used..].len() < length {
                            return Self::Nothing;
                        }
                        if header.fin {
                            return Self::Message;
                        }
                        *at += used + length;
                    }
                    Ok(Decoded::Short(_)) => return Self::Nothing,
                    _ => return Self::Message,
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::receive::tests::frame;

    #[test]
    fn finds_a_ping_and_where_it_ends() {
        let bytes = [frame(0x89, b"a"), frame(0x8a, b"bc"), frame(0x81, b"text")].concat();
        let ping = FirstFrame::Control { opcode: Opcode::PING, body: b"a".to_vec(), length: 7 };
        assert_eq!(FirstFrame::of(&bytes), ping);
        let answer = FirstFrame::Control { opcode: Opcode::PONG, body: b"bc".to_vec(), length: 8 };
        assert_eq!(FirstFrame::of(&bytes[7..]), answer);
        assert_eq!(FirstFrame::of(&bytes[15..]), FirstFrame::Other);
    }

    #[test]
    fn waits_for_the_whole_ping() {
        let bytes = frame(0x89, b"abc");
        for end in 0..bytes.len() {
            assert_eq!(FirstFrame::of(&bytes[..end]), FirstFrame::Unfinished, "{end} bytes");
        }
    }

    #[test]
    fn leaves_what_a_receiver_has_to_judge() {
        for first in [0x81, 0x02, 0x80, 0x88, 0x83, 0x09, 0xc9, 0x8b] {
            assert_eq!(FirstFrame::of(&frame(first, b"x")), FirstFrame::Other, "{first:#x}");
        }
        let longest = FirstFrame::of(&frame(0x89, &[0; 125]));
        assert!(matches!(longest, FirstFrame::Control { length: 131, .. }));
        // too long for a control frame; a length in too many octets; not masked
        assert_eq!(FirstFrame::of(&frame(0x89, &[0; 126])), FirstFrame::Other);
        assert_eq!(FirstFrame::of(b"\x89\xfe\x00\x01\0\0\0\0x"), FirstFrame::Other);
        assert_eq!(FirstFrame::of(b"\x89\x01x"), FirstFrame::Other);
    }

    #[test]
    fn what_is_ahead_is_behind_pings_and_pongs() {
        let ahead = |input: &[u8]| NextReceived::of(input, &mut 0);
        let ping = frame(0x89, b"x");
        assert_eq!(ahead(&ping), NextReceived::Nothing);
        assert_eq!(ahead(&[&ping[..], &frame(0x88, b"")].concat()), NextReceived::Close);
        assert_eq!(ahead(&[&ping[..], &frame(0x81, b"x")].concat()), NextReceived::Message);
        // a reserved opcode
        assert_eq!(ahead(&frame(0x83, b"")), NextReceived::Message);
        assert_eq!(ahead(b"\x81\x01x"), NextReceived::Message, "not masked");
    }

    #[test]
    fn half_a_message_is_nothing() {
        let ahead = |input: &[u8]| NextReceived::of(input, &mut 0);
        let fragments = [frame(0x01, b"a"), frame(0x89, b"p"), frame(0x80, b"bc")].concat();
        for end in 0..fragments.len() {
            assert_eq!(ahead(&fragments[..end]), NextReceived::Nothing, "{end} bytes");
        }
        assert_eq!(ahead(&fragments), NextReceived::Message);
        // however the bytes come, each frame is looked at once
        let mut at = 0;
        for end in 0..fragments.len() {
            assert_eq!(
                NextReceived::of(&fragments[..end], &mut at),
                NextReceived::Nothing,
                "{end} bytes"
            );
        }
        assert_eq!(at, fragments.len() - frame(0x80, b"bc").len());
        assert_eq!(NextReceived::of(&fragments, &mut at), NextReceived::Message);
        assert_eq!(
            ahead(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x"),
            NextReceived::Message
        );
        assert_eq!(
            ahead(b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0x"),
            NextReceived::Nothing
        );
    }
}
