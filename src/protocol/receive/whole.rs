//! The fast path for most input: complete messages in one frame that are already in the buffer.

use std::ops::Range;

use super::MessageReader;
use crate::protocol::{
    frame::{Decoded, FrameHeader, Opcode},
    mask::{self, MaskingKey},
    utf8,
};

/// A data message inside the input of its reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Text or binary.
    pub opcode: Opcode,
    /// Whether the payload must be inflated first (RFC 7692 7.2.2).
    pub compressed: bool,
    /// The position of the payload in the input. After it comes the next frame. An uncompressed
    /// text is valid UTF-8.
    pub payload: Range<usize>,
    /// The key of a payload that is masked still, as that of a binary message is: whoever copies it
    /// unmasks it in the same pass. All others are unmasked in place.
    pub key: Option<MaskingKey>,
}

/// The payload of a [`Whole`].
#[derive(Debug, Clone, Copy)]
pub struct WholePayload<'a> {
    bytes: &'a [u8],
    key: Option<MaskingKey>,
}

impl Whole {
    /// The payload in the input of the reader.
    pub fn payload<'a>(&self, input: &'a [u8]) -> WholePayload<'a> {
        WholePayload { bytes: &input[self.payload.clone()], key: self.key }
    }
}

impl<'a> WholePayload<'a> {
    /// The number of bytes.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes, if they are not masked.
    pub fn plain(&self) -> Option<&'a [u8]> {
        self.key.is_none().then_some(self.bytes)
    }

    /// Writes the unmasked bytes into `target` with the caller's function.
    ///
    /// # Panics
    /// If `target` does not have the length of [`Self::size`].
    pub fn copy_to<T>(&self, target: &mut [T], write: impl Fn(&mut T, u8)) {
        mask::copy(self.bytes, self.key.unwrap_or_default(), target, write);
    }

    /// A copy of the unmasked bytes.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut bytes = self.bytes.to_vec();
        mask::apply(&mut bytes, self.key.unwrap_or_default(), 0);
        bytes
    }
}

impl MessageReader {
    /// Takes a data message if it is complete and in one frame at the front of `input`, which the
    /// caller then drops up to the end of the payload.
    ///
    /// `None` says nothing about the input: [`Self::poll`] must be called, which also finds errors.
    /// Reader and input are then unchanged.
    pub fn take_whole(&self, input: &mut [u8]) -> Option<Whole> {
        if self.frame.is_some() || self.discard {
            return None;
        }
        let Ok(Decoded::Header(header, start)) =
            FrameHeader::decode(input, self.rules.expect_masked)
        else {
            return None;
        };
        let opcode = header.opcode;
        let is_data = opcode == Opcode::TEXT || opcode == Opcode::BINARY;
        if !header.fin
            || !is_data
            || !header.is_minimal()
            || self.check_limits(header.length).is_err()
        {
            return None;
        }
        let end = start.checked_add(usize::try_from(header.length).ok()?)?;
        let payload = input.get_mut(start..end)?;
        // a message in one frame does not change this state, but is it allowed here (RFC 6455 5.4)?
        let mut fragments = self.fragments;
        fragments.receive(opcode, header.fin).ok()?;
        let compressed = self.is_compressed(&header).ok()?;
        let mut key = header.masking_key;
        if opcode == Opcode::TEXT || compressed {
            let unmask = |payload: &mut [u8]| {
                if let Some(key) = key {
                    mask::apply(payload, key, 0);
                }
            };
            unmask(payload);
            if !compressed && !utf8::is_valid(payload) {
                unmask(payload);
                return None;
            }
            key = None;
        }
        Some(Whole { opcode, compressed, payload: start..end, key })
    }

    /// Whether `input` is the beginning of a frame that needs no more than `room` bytes.
    pub fn begins_short_frame(&self, input: &[u8], room: usize) -> bool {
        if self.frame.is_some() {
            return false;
        }
        match FrameHeader::decode(input, self.rules.expect_masked) {
            Ok(Decoded::Header(header, used)) => {
                let missing = header.length.saturating_sub((input.len() - used) as u64);
                missing > 0 && (input.len() as u64).saturating_add(missing) <= room as u64
            }
            Ok(Decoded::Short(_)) => true,
            Err(_) => false,
        }
    }

    /// Whether the next byte begins a frame.
    pub fn is_between_frames(&self) -> bool {
        self.frame.is_none()
    }

    /// Whether a complete data message is at the front of `input`, so that receiving it will not
    /// wait.
    pub fn has_message(&self, input: &[u8]) -> bool {
        if self.frame.is_some() {
            return false;
        }
        match FrameHeader::decode(input, self.rules.expect_masked) {
            Ok(Decoded::Header(header, used)) => {
                header.fin
                    && !header.opcode.is_control()
                    && (input.len() - used) as u64 >= header.length
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::receive::{
        tests::{frame, limits, read, rules, Outcome, KEY},
        Event, Message, Rules,
    };

    /// Takes a message by the short way: its opcode, whether it is compressed, its payload and the
    /// bytes behind it.
    fn take(rules: Rules, input: &[u8]) -> Option<(Opcode, bool, Vec<u8>, Vec<u8>)> {
        let mut bytes = input.to_vec();
        let Some(whole) = MessageReader::new(rules).take_whole(&mut bytes) else {
            assert_eq!(bytes, input, "touched, and not taken");
            return None;
        };
        let (payload, left) = (whole.payload(&bytes).to_vec(), bytes[whole.payload.end..].to_vec());
        Some((whole.opcode, whole.compressed, payload, left))
    }

    #[test]
    fn takes_the_example_of_rfc_6455_5_7_and_leaves_what_follows() {
        // 81: fin, text; 85: masked, five bytes; the key; "Hello"; the next frame's first byte
        let bytes = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x89";
        let hello = Some((Opcode::TEXT, false, b"Hello".to_vec(), b"\x89".to_vec()));
        assert_eq!(take(rules(), bytes), hello);
        // from a server, not masked
        let hello = Some((Opcode::TEXT, false, b"Hello".to_vec(), Vec::new()));
        let client = Rules { expect_masked: false, ..rules() };
        assert_eq!(take(client, b"\x81\x05Hello"), hello);
    }

    #[test]
    fn takes_every_form_of_the_length() {
        for size in [0, 125, 126, 0xffff, 0x1_0000] {
            let binary = Some((Opcode::BINARY, false, vec![0xff; size], Vec::new()));
            assert_eq!(take(rules(), &frame(0x82, &vec![0xff; size])), binary);
        }
    }

    #[test]
    fn takes_a_compressed_text_without_looking_at_it() {
        let rules = Rules { deflate: true, ..rules() };
        let compressed = Some((Opcode::TEXT, true, b"\xff".to_vec(), Vec::new()));
        assert_eq!(take(rules, &frame(0xc1, b"\xff")), compressed);
    }

    #[test]
    fn leaves_what_is_not_simple() {
        let whole = frame(0x81, b"Hello");
        for end in 0..whole.len() {
            assert_eq!(take(rules(), &whole[..end]), None, "{end} bytes");
        }
        let rules = Rules { limits: limits(100), ..rules() };
        for bytes in [
            frame(0x01, b"Hel"),                               // a first fragment
            frame(0x80, b"lo"),                                // a continuation
            frame(0x83, b"x"),                                 // a reserved opcode
            frame(0x88, b"\x03\xe8"),                          // a close frame
            frame(0x89, b"p"),                                 // a ping
            frame(0xc1, b"x"),                                 // RSV1, which means nothing here
            frame(0xa1, b"x"),                                 // RSV2
            frame(0x82, &[0; 101]),                            // above the limit
            frame(0x81, b"ab\xff"),                            // not UTF-8
            frame(0x81, b"\xe6\x97"),                          // half a character
            frame(0x81, &[&[b'x'; 90][..], b"\xff"].concat()), // the same for long texts
            b"\x81\x05Hello".to_vec(),                         // not masked
            [&b"\x81\xfe\x00\x01"[..], &KEY, b"x"].concat(),   // two octets for a length of 1
            [&b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..], &KEY].concat(),
            [&b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff"[..], &KEY].concat(),
        ] {
            assert_eq!(take(rules, &bytes), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn waits_until_what_is_under_way_has_ended() {
        for under_way in [
            frame(0x01, b"Hel"),               // a fragmented message
            frame(0x82, b"123")[..8].to_vec(), // a frame
            frame(0x01, b"\xff"),              // a message that is passed over
            frame(0x03, b"x"),                 // a message of no meaning
        ] {
            let mut reader = MessageReader::new(rules());
            let _ = reader.poll(&mut &under_way[..]);
            let mut bytes = frame(0x81, b"Hello");
            assert_eq!(reader.take_whole(&mut bytes), None);
            assert_eq!(bytes, frame(0x81, b"Hello"));
        }
    }

    #[test]
    fn sees_a_whole_message_at_the_front() {
        let reader = MessageReader::new(rules());
        let hello = frame(0x81, b"Hello");
        assert!(reader.has_message(&hello));
        assert!(!reader.has_message(&hello[..10]));
        assert!(!reader.has_message(&frame(0x01, b"Hel")));
        assert!(!reader.has_message(&frame(0x89, b"p")));
        assert!(!reader.has_message(b""));
        let mut inside = MessageReader::new(rules());
        assert_eq!(inside.poll(&mut &hello[..8]), Ok(None));
        assert!(!inside.has_message(&hello), "it is payload");
    }

    #[test]
    fn sees_the_beginning_of_a_frame_that_fits() {
        let reader = MessageReader::new(rules());
        let hello = frame(0x82, b"Hello");
        for end in 0..hello.len() {
            assert!(reader.begins_short_frame(&hello[..end], hello.len()), "{end} bytes");
        }
        assert!(!reader.begins_short_frame(&hello[..10], hello.len() - 1), "too long");
        assert!(!reader.begins_short_frame(&hello, 100), "whole");
        assert!(!reader.begins_short_frame(b"\x82\x05Hell", 100), "not masked");
        let mut inside = MessageReader::new(rules());
        assert_eq!(inside.poll(&mut &hello[..8]), Ok(None));
        assert!(!inside.begins_short_frame(&hello[..2], 100), "it is payload");
    }

    #[test]
    fn a_binary_message_is_unmasked_as_it_is_copied() {
        let mut bytes = frame(0x82, b"Hello");
        let masked = bytes.clone();
        let whole = MessageReader::new(rules()).take_whole(&mut bytes).expect("it is whole");
        assert_eq!(bytes, masked);
        let payload = whole.payload(&bytes);
        assert_eq!(payload.plain(), None);
        let mut copied = [0; 5];
        payload.copy_to(&mut copied, |target, byte| *target = byte);
        assert_eq!(&copied, b"Hello");
    }

    /// As `read`, by the short way wherever it leads on.
    fn read_whole(rules: Rules, pieces: &[&[u8]]) -> Vec<Outcome> {
        let mut reader = MessageReader::new(rules);
        let mut kept = Vec::new();
        let mut outcomes = Vec::new();
        for piece in pieces {
            kept.extend_from_slice(piece);
            loop {
                if let Some(whole) = reader.take_whole(&mut kept) {
                    let payload = whole.payload(&kept).to_vec();
                    let Whole { opcode, compressed, payload: Range { end, .. }, .. } = whole;
                    kept.drain(..end);
                    outcomes.push(Ok(Event::Message(Message { opcode, payload, compressed })));
                    continue;
                }
                let mut input = &kept[..];
                let outcome = reader.poll(&mut input);
                kept = input.to_vec();
                match outcome {
                    Ok(None) => break,
                    Ok(Some(event)) => outcomes.push(Ok(event)),
                    Err(error) => outcomes.push(Err(error)),
                }
            }
        }
        outcomes
    }

    /// Frames, most of which are whole messages and may stand where they stand.
    fn any_frame() -> impl Strategy<Value = Vec<u8>> {
        let first = prop_oneof![
            8 => prop::sample::select(&[0x81, 0x82, 0xc1, 0xc2][..]),
            3 => prop::sample::select(&[0x01, 0x00, 0x80, 0x89, 0x41][..]),
            1 => any::<u8>(),
        ];
        let payload = prop_oneof![
            6 => "[ -~]{0,140}".prop_map(String::into_bytes),
            2 => "\\PC{0,60}".prop_map(String::into_bytes),
            2 => proptest::collection::vec(any::<u8>(), 0..140),
        ];
        (first, payload, prop::bool::weighted(0.05), prop::bool::weighted(0.02)).prop_map(
            |(first, payload, wasteful, unmasked)| match u8::try_from(payload.len()) {
                Ok(length @ ..126) if wasteful => {
                    [&[first, 0xfe, 0, length][..], &[0; 4], &payload].concat()
                }
                Ok(length @ ..126) if unmasked => [&[first, length][..], &payload].concat(),
                _ => frame(first, &payload),
            },
        )
    }

    proptest! {
        #[test]
        fn the_short_way_and_the_long_one_tell_the_same(
            frames in proptest::collection::vec(any_frame(), 0..8),
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
            deflate: bool,
            late_rsv1: bool,
        ) {
            let bytes = frames.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let mut from = 0;
            let mut pieces = Vec::new();
            for cut in cuts {
                pieces.push(&bytes[from..cut]);
                from = cut;
            }
            let rules = Rules { deflate, late_rsv1, limits: limits(130), ..rules() };
            prop_assert_eq!(read_whole(rules, &pieces), read(rules, &pieces));
        }
    }
}
