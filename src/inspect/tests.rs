use std::sync::Mutex;

use proptest::prelude::*;

use super::{
    reader::{FrameObserver, Reader},
    timeline::{Frame, Record, Timeline},
};
use crate::{
    locks::lock,
    protocol::{
        deflate::{MessageDeflater, PieceEnd},
        frame::{FrameHeader, Opcode, RSV1},
        send::append_frame,
    },
};

#[derive(Default)]
struct Seen {
    frames: Mutex<Vec<Frame>>,
    losses: Mutex<usize>,
}

impl FrameObserver for Seen {
    fn has_deflate(&self) -> bool {
        true
    }

    fn take_decompressor(&self) -> bool {
        true
    }

    fn frame(&self, frame: Frame) {
        lock(&self.frames).push(frame);
    }

    fn frame_begins(&self, position: u64) -> bool {
        position == 7
    }

    fn frames_lost(&self, _received: bool) {
        *lock(&self.losses) += 1;
    }
}

fn frame(first: u8, key: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin: first & 0x80 != 0,
        reserved: (first >> 4) & 7,
        opcode: Opcode::new(first & 0xf).expect("four bits"),
        masking_key: key,
        length: payload.len() as u64,
        length_octets: 1,
    };
    let mut bytes = Vec::new();
    append_frame(&header, payload, &mut bytes);
    bytes
}

fn read(bytes: &[u8], pieces: usize) -> Vec<Frame> {
    let (mut reader, seen) = (Reader::new(true), Seen::default());
    for piece in bytes.chunks(pieces) {
        reader.feed(piece, 0, &seen);
    }
    seen.frames.into_inner().expect("no panic")
}

proptest! {
    #[test]
    fn frames_are_found_however_their_bytes_are_split(
        frames in prop::collection::vec(
            (any::<u8>(), any::<Option<[u8; 4]>>(), prop::collection::vec(any::<u8>(), 0..300)),
            1..6,
        ),
        pieces in 1_usize..40,
    ) {
        // RSV1 is for compression here, see below
        let frames: Vec<_> =
            frames.into_iter().map(|(first, key, data)| (first & 0xbf, key, data)).collect();
        let bytes: Vec<u8> =
            frames.iter().flat_map(|(first, key, data)| frame(*first, *key, data)).collect();
        let found = read(&bytes, pieces);
        prop_assert_eq!(found.len(), frames.len());
        for (found, (first, key, data)) in found.iter().zip(&frames) {
            prop_assert_eq!(found.first, *first);
            prop_assert_eq!(found.masked, key.is_some());
            prop_assert_eq!(&found.data[..], &data[..]);
            prop_assert_eq!((found.wire, found.size), (data.len() as u64, data.len() as u64));
        }
    }

    #[test]
    fn no_bytes_at_all_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        read(&bytes, 7);
    }

    #[test]
    fn compressed_messages_are_shown_decompressed(
        messages in prop::collection::vec(prop::collection::vec(0_u8..4, 0..4_000), 1..5),
        pieces in 1_usize..700,
    ) {
        let mut deflater = MessageDeflater::new(None, false);
        let bytes: Vec<u8> = messages
            .iter()
            .flat_map(|message| frame(0xc2, None, &deflater.deflate(message, PieceEnd::Message)))
            .collect();
        let found = read(&bytes, pieces);
        prop_assert_eq!(found.len(), messages.len());
        for (found, message) in found.iter().zip(&messages) {
            prop_assert!(!found.opaque);
            prop_assert_eq!(&found.data[..], &message[..]);
            prop_assert_eq!(found.size, message.len() as u64);
        }
    }
}

#[test]
fn a_message_beyond_the_limit_is_not_decompressed_further() {
    let bomb = MessageDeflater::new(None, false).deflate(&vec![0; 17 << 20], PieceEnd::Message);
    let found = read(&frame(0x80 | (RSV1 << 4) | 2, None, &bomb), 1 << 16);
    assert!(found[0].opaque);
    assert_eq!(found[0].data.len(), 64 * 1024);
    assert!(found[0].size <= (16 << 20) + (64 << 10), "{}", found[0].size);
}

#[test]
fn the_first_bytes_of_a_long_payload_are_kept() {
    let found = read(&frame(0x82, Some([1, 2, 3, 4]), &vec![7; 100_000]), 999);
    assert_eq!(&found[0].data[..], &vec![7; 64 * 1024][..]);
    assert_eq!(found[0].size, 100_000);
}

#[test]
fn feeding_stops_behind_the_message_that_is_asked_for() {
    let mut bytes = frame(0x81, None, b"a");
    bytes.extend(frame(0x89, None, b"ping"));
    bytes.extend(frame(0x01, None, b"b"));
    bytes.extend(frame(0x80, None, b""));
    let end = bytes.len();
    bytes.extend(frame(0x81, None, b"c"));
    let mut reader = Reader::new(true);
    assert_eq!(reader.feed(&bytes, 2, &Seen::default()), (Some(end), 2));
    let mut reader = Reader::new(true);
    assert_eq!(reader.feed(&bytes, 9, &Seen::default()), (None, 3));
}

#[test]
fn a_length_beyond_the_range_ends_the_frames() {
    let (mut reader, seen) = (Reader::new(false), Seen::default());
    // a length of 2^63
    reader.feed(b"\x81\x7f\x80\0\0\0\0\0\0\0", 0, &seen);
    reader.feed(&frame(0x81, None, b"a"), 0, &seen);
    assert_eq!((lock(&seen.frames).len(), *lock(&seen.losses)), (0, 1));
}

#[test]
fn frames_from_the_inspector_are_known_by_their_position() {
    let (mut reader, seen) = (Reader::new(false), Seen::default());
    let mut bytes = frame(0x81, None, b"12345");
    bytes.extend(frame(0x81, None, b"by hand"));
    reader.feed_at(0, &bytes, &seen);
    let by_hand: Vec<_> = lock(&seen.frames).iter().map(|frame| frame.by_hand).collect();
    assert_eq!(by_hand, [false, true]);
}

#[test]
fn a_timeline_drops_its_oldest_records_and_keeps_their_numbers() {
    let mut timeline = Timeline::default();
    for number in 0..10 {
        timeline.push(f64::from(number), Record::Note("x".repeat(880).into()));
    }
    assert_eq!(timeline.bytes(), 10_000);
    assert_eq!(timeline.shrink(3500), (7000, 7));
    let numbers = |after, most| {
        let slice = timeline.slice(after, most, 0);
        slice.records.iter().map(|record| record.0).collect::<Vec<_>>()
    };
    assert_eq!(numbers(0, 9), [8, 9, 10]);
    assert_eq!(numbers(8, 1), [9]);
    assert_eq!(numbers(99, 9), [0_u64; 0]);
    assert_eq!((timeline.slice(0, 0, 0).last, timeline.slice(0, 0, 0).dropped), (10, 7));
}
