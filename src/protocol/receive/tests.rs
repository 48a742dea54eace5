use proptest::prelude::*;

use super::*;
use crate::protocol::mask;

pub(super) const KEY: MaskingKey = [0x37, 0xfa, 0x21, 0x3d];

pub(super) fn limits(message_bytes: u64) -> FrameLimits {
    FrameLimits { message_bytes, ..FrameLimits::NONE }
}

pub(super) fn rules() -> Rules {
    Rules { expect_masked: true, deflate: false, late_rsv1: false, limits: limits(1 << 20) }
}

pub(super) fn frame(first_byte: u8, payload: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        fin: first_byte & 0x80 != 0,
        reserved: (first_byte >> 4) & 0b111,
        opcode: Opcode::new(first_byte & 0xf).expect("four bits"),
        masking_key: Some(KEY),
        length: payload.len() as u64,
        length_octets: 1,
    };
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask::apply(&mut bytes[start..], KEY, 0);
    bytes
}

pub(super) type Outcome = Result<Event, ProtocolError>;

/// Feeds the pieces one by one, as a socket would give them.
pub(super) fn read(rules: Rules, pieces: &[&[u8]]) -> Vec<Outcome> {
    let mut reader = MessageReader::new(rules);
    let mut kept = Vec::new();
    let mut outcomes = Vec::new();
    for piece in pieces {
        kept.extend_from_slice(piece);
        loop {
            let mut input = &kept[..];
            let outcome = reader.poll(&mut input);
            kept = input.to_vec();
            match outcome {
                Ok(None) => break,
                Ok(Some(event)) => outcomes.push(Ok(event)),
                Err(error) => outcomes.push(Err(error)),
            }
            if outcomes.len() > 1000 {
                return outcomes;
            }
        }
    }
    outcomes
}

#[allow(clippy::unnecessary_wraps, reason = "one of the outcomes compared")]
fn text(payload: &str) -> Outcome {
    Ok(Event::Message(Message { opcode: Opcode::TEXT, payload: payload.into(), compressed: false }))
}

#[test]
fn joins_fragments_and_lets_control_frames_stand_between() {
    let bytes = [frame(0x01, b"Hel"), frame(0x89, b"p"), frame(0x80, b"lo")].concat();
    assert_eq!(read(rules(), &[&bytes]), [Ok(Event::Ping(b"p".to_vec())), text("Hello")]);
}

#[test]
fn refuses_bad_text_before_the_frame_is_whole() {
    let whole = frame(0x81, b"ab\xffcdefgh");
    let (head, tail) = whole.split_at(9); // header 2, key 4, three payload bytes
    let outcomes = read(rules(), &[head]);
    assert_eq!(
        outcomes,
        [Err(ProtocolError::BadText { text: b"ab\xff".to_vec(), valid_up_to: 2, mid_frame: true })]
    );
    let next = frame(0x81, b"Hello");
    assert_eq!(read(rules(), &[head, tail, &next])[1..], [text("Hello")]);
}

#[test]
fn goes_on_behind_bad_text_that_ends_with_its_frame() {
    let bad = |text: &[u8], valid_up_to| {
        Err(ProtocolError::BadText { text: text.to_vec(), valid_up_to, mid_frame: false })
    };
    let late = Rules { deflate: true, late_rsv1: true, ..rules() };
    // a bad last byte, half a character at the end, and a bad byte at the end of a fragment
    for (rules, bytes, refused) in [
        (rules(), frame(0x81, b"ab\xff"), bad(b"ab\xff", 2)),
        (rules(), frame(0x81, b"ab\xe6"), bad(b"ab\xe6", 2)),
        (late, frame(0x81, b"\xe6"), bad(b"\xe6", 0)),
        (rules(), [frame(0x01, b"ab\xff"), frame(0x80, b"end")].concat(), bad(b"ab\xff", 2)),
    ] {
        let outcomes = read(rules, &[&bytes, &frame(0x81, "é".as_bytes()), &frame(0x81, b"\xff")]);
        assert_eq!(outcomes, [refused, text("é"), bad(b"\xff", 0)], "{bytes:02x?}");
    }
}

#[test]
fn a_control_frame_in_single_bytes_is_whole_with_its_last() {
    let bytes = frame(0x89, b"abc");
    let pieces: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(read(rules(), &pieces), [Ok(Event::Ping(b"abc".to_vec()))]);
    assert_eq!(read(rules(), &pieces[..bytes.len() - 1]), []);
}

#[test]
fn passes_over_the_remaining_fragments_of_a_refused_message() {
    let bytes = [
        frame(0x01, b"\xff"),
        frame(0x89, b"p"),
        frame(0x00, b"more"),
        frame(0x80, b"end"),
        frame(0x81, b"Hello"),
    ]
    .concat();
    let outcomes = read(rules(), &[&bytes]);
    assert!(matches!(outcomes[0], Err(ProtocolError::BadText { .. })));
    assert_eq!(outcomes[1..], [Ok(Event::Ping(b"p".to_vec())), text("Hello")]);
}

#[test]
fn a_refused_control_frame_does_not_end_the_passing_over() {
    let bytes = [
        frame(0x01, b"\xff"),
        frame(0xc9, b"p"), // a ping with RSV1
        frame(0x80, b"end"),
        frame(0x81, b"Hello"),
    ]
    .concat();
    let outcomes = read(rules(), &[&bytes]);
    assert_eq!(outcomes[1..], [Err(ProtocolError::ReservedBits(4)), text("Hello")]);
}

#[test]
fn each_reserved_bit_is_refused() {
    for (first, bits) in [(0xc1, 4), (0xa1, 2), (0x91, 1), (0xf1, 7), (0x99, 1), (0x98, 1)] {
        let outcomes = read(rules(), &[&frame(first, b"x")]);
        assert_eq!(outcomes, [Err(ProtocolError::ReservedBits(bits))], "{first:#x}");
    }
    let rules = Rules { deflate: true, ..rules() };
    for (first, bits) in [(0xe1, 6), (0xd1, 5), (0xc9, 4)] {
        let outcomes = read(rules, &[&frame(first, b"x")]);
        assert_eq!(outcomes, [Err(ProtocolError::ReservedBits(bits))], "{first:#x}");
    }
}

#[test]
fn a_control_frame_has_up_to_125_bytes() {
    let longest = vec![b'x'; 125];
    assert_eq!(read(rules(), &[&frame(0x89, &longest)]), [Ok(Event::Ping(longest))]);
    let outcomes = read(rules(), &[&frame(0x8a, &[0; 126])]);
    assert_eq!(outcomes, [Err(ProtocolError::ControlFrameTooLong)]);
}

#[test]
fn goes_on_behind_a_refused_frame() {
    for (bad, error) in [
        (frame(0xc1, b"x"), ProtocolError::ReservedBits(0b100)),
        (frame(0x83, b"x"), ProtocolError::ReservedOpcode(3)),
        (frame(0x8b, b"x"), ProtocolError::ReservedOpcode(11)),
        (frame(0x80, b"x"), ProtocolError::EndWithoutStart),
        (frame(0x00, b"x"), ProtocolError::ContinuationWithoutStart),
        (frame(0x09, b"x"), ProtocolError::FragmentedControlFrame),
        (frame(0x89, &[0; 126]), ProtocolError::ControlFrameTooLong),
        (frame(0x83, b""), ProtocolError::ReservedOpcode(3)),
    ] {
        let bytes = [bad, frame(0x81, b"Hello")].concat();
        assert_eq!(read(rules(), &[&bytes]), [Err(error), text("Hello")]);
    }
}

#[test]
fn a_reserved_opcode_is_told_when_its_message_is_whole() {
    let bytes = [frame(0x03, b"x"), frame(0x89, b"p"), frame(0x80, b"y"), frame(0x81, b"Hello")];
    assert_eq!(
        read(rules(), &[&bytes.concat()]),
        [Ok(Event::Ping(b"p".to_vec())), Err(ProtocolError::ReservedOpcode(3)), text("Hello")]
    );
}

#[test]
fn remembers_a_length_in_too_many_octets() {
    let mut reader = MessageReader::new(rules());
    let bytes = [&b"\x82\xfe\x00\x05"[..], &KEY, b"abcde"].concat();
    assert!(reader.poll(&mut &bytes[..]).is_ok_and(|event| event.is_some()));
    let header = reader.take_non_minimal().map(|header| (header.length, header.length_octets));
    assert_eq!(header, Some((5, 2)));
    assert_eq!(reader.take_non_minimal(), None);
}

#[test]
fn keeps_the_open_message_when_another_starts_inside_it() {
    let bytes = [frame(0x01, b"a"), frame(0x81, b"x"), frame(0x80, b"b")].concat();
    assert_eq!(read(rules(), &[&bytes]), [Err(ProtocolError::MessageInsideMessage), text("ab")]);
}

#[test]
fn refuses_a_message_above_the_limit_before_it_comes() {
    let rules = Rules { limits: limits(5), ..rules() };
    let bytes = [frame(0x02, b"123"), frame(0x80, b"456"), frame(0x81, b"Hello")].concat();
    assert_eq!(
        read(rules, &[&bytes]),
        [Err(ProtocolError::MessageTooBig { limit: 5 }), text("Hello")]
    );
    // 2^62 bytes announced, none sent: refused from the header alone
    let huge = [&b"\x82\xff\x40\0\0\0\0\0\0\0"[..], &KEY].concat();
    assert_eq!(read(rules, &[&huge]), [Err(ProtocolError::MessageTooBig { limit: 5 })]);
}

#[test]
fn refuses_a_frame_above_the_limit_and_a_message_in_too_many() {
    let limits = FrameLimits { frame_bytes: 4, fragments: 3, ..FrameLimits::NONE };
    let rules = Rules { limits, ..rules() };
    assert_eq!(
        read(rules, &[&frame(0x82, b"12345"), &frame(0x81, b"1234")]),
        [Err(ProtocolError::FrameTooBig { length: 5, limit: 4 }), text("1234")]
    );
    // control frames have a limit of their own, and do not count
    assert_eq!(read(rules, &[&frame(0x89, b"12345")]), [Ok(Event::Ping(b"12345".to_vec()))]);
    let three = [frame(0x01, b""), frame(0x89, b""), frame(0x00, b"a"), frame(0x80, b"b")].concat();
    assert_eq!(read(rules, &[&three]), [Ok(Event::Ping(Vec::new())), text("ab")]);
    let four = [
        frame(0x01, b""),
        frame(0x00, b""),
        frame(0x00, b""),
        frame(0x00, b"x"),
        frame(0x80, b"y"),
        frame(0x81, b"Hi"),
    ];
    assert_eq!(
        read(rules, &[&four.concat()]),
        [Err(ProtocolError::TooManyFragments { limit: 3 }), text("Hi")]
    );
}

#[test]
fn rsv1_marks_a_compressed_message_on_its_first_frame_only() {
    let rules = Rules { deflate: true, ..rules() };
    let bytes = [frame(0x41, b"\xff"), frame(0x80, b"\xfe")].concat();
    let compressed = Ok(Event::Message(Message {
        opcode: Opcode::TEXT,
        payload: b"\xff\xfe".to_vec(),
        compressed: true,
    }));
    assert_eq!(read(rules, &[&bytes]), std::slice::from_ref(&compressed));

    let late = [frame(0x01, b"\xff"), frame(0xc0, b"\xfe")].concat();
    assert!(matches!(read(rules, &[&late])[0], Err(ProtocolError::BadText { .. })));
    assert_eq!(read(Rules { late_rsv1: true, ..rules }, &[&late]), [compressed]);
}

#[test]
fn payload_may_be_read_straight_into_the_message() {
    let whole = frame(0x82, &[7; 300]);
    let mut reader = MessageReader::new(rules());
    let mut input = &whole[..20];
    assert_eq!(reader.poll(&mut input), Ok(None));
    let mut rest = &whole[20..];
    let event = loop {
        let (target, missing) = reader.payload_target().expect("inside a data frame");
        assert_eq!(missing, rest.len() as u64);
        let (piece, after) = rest.split_at(rest.len().min(100));
        target.extend_from_slice(piece);
        rest = after;
        if let Some(event) = reader.payload_added(piece.len()).expect("valid") {
            break event;
        }
    };
    assert_eq!(
        event,
        Event::Message(Message {
            opcode: Opcode::BINARY,
            payload: vec![7; 300],
            compressed: false
        })
    );
    assert!(reader.payload_target().is_none());
}

#[test]
fn nothing_is_read_straight_into_what_is_passed_over() {
    let inside = |frames: &[Vec<u8>]| {
        let mut reader = MessageReader::new(rules());
        let bytes = frames.concat();
        let mut input = &bytes[..bytes.len() - 1];
        while matches!(reader.poll(&mut input), Err(_) | Ok(Some(_))) {}
        assert_eq!(reader.wanted(input), 1, "not at the last byte");
        reader.payload_target().is_some()
    };
    assert!(inside(&[frame(0x82, b"xy")]));
    // a ping; a frame with RSV2; the rest of a text that is not UTF-8
    assert!(!inside(&[frame(0x89, b"xy")]));
    assert!(!inside(&[frame(0xa2, b"xy")]));
    assert!(!inside(&[frame(0x01, b"\xff"), frame(0x80, b"xy")]));
}

#[test]
fn a_refused_frame_is_told_when_its_payload_has_come() {
    let whole = frame(0xa2, b"Hello");
    let mut reader = MessageReader::new(rules());
    let mut input = &whole[..8];
    assert_eq!(reader.poll(&mut input), Ok(None));
    let mut input = &whole[8..];
    assert_eq!(reader.poll(&mut input), Err(ProtocolError::ReservedBits(2)));
}

#[test]
fn rules_and_limits_change_between_frames() {
    let mut reader = MessageReader::new(rules());
    let poll = |reader: &mut MessageReader, bytes: &[u8]| {
        let mut input = bytes;
        reader.poll(&mut input)
    };
    reader.set_limits(limits(4));
    assert_eq!(
        poll(&mut reader, &frame(0x81, b"Hello")),
        Err(ProtocolError::MessageTooBig { limit: 4 })
    );
    let mut reader = MessageReader::new(rules());
    reader.set_rules(Rules { expect_masked: false, ..rules() });
    assert_eq!(poll(&mut reader, b"\x81\x05Hello").map(Option::unwrap), text("Hello"));
}

#[test]
fn frames_read_by_other_means_join_the_same_message() {
    let mut reader = MessageReader::new(rules());
    assert_eq!(reader.push_frame(Opcode::TEXT, false, b"a".to_vec()), Ok(None));
    assert_eq!(
        reader.push_frame(Opcode::CONTINUATION, true, b"b".to_vec()),
        Ok(Some((Opcode::TEXT, b"ab".to_vec())))
    );
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), proptest::collection::vec(any::<u8>(), 0..140))
        .prop_map(|(first, payload)| frame(first, &payload))
}

proptest! {
    /// Any partition of the input gives the same events and the same errors. The text that a
    /// refused message had so far depends on where it was cut; what was valid of it does not.
    #[test]
    fn partition_does_not_matter(
        frames in proptest::collection::vec(any_frame(), 0..6),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..12),
        deflate: bool,
        late_rsv1: bool,
    ) {
        let bytes = frames.concat();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut pieces = Vec::new();
        let mut from = 0;
        for cut in cuts {
            pieces.push(&bytes[from..cut]);
            from = cut;
        }
        pieces.push(&bytes[from..]);
        let rules = Rules { deflate, late_rsv1, limits: limits(200), ..rules() };
        let strip = |outcomes: Vec<Outcome>| -> Vec<Outcome> {
            outcomes.into_iter().map(|outcome| match outcome {
                Err(ProtocolError::BadText { valid_up_to, .. }) => {
                    Err(ProtocolError::BadText { text: Vec::new(), valid_up_to, mid_frame: false })
                }
                other => other,
            }).collect()
        };
        prop_assert_eq!(strip(read(rules, &pieces)), strip(read(rules, &[&bytes])));
    }

    /// Text frames are refused exactly when the standard library refuses them.
    #[test]
    fn text_is_utf8(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
        let outcomes = read(rules(), &[&frame(0x81, &payload)]);
        prop_assert_eq!(outcomes[0].is_ok(), std::str::from_utf8(&payload).is_ok());
    }

    /// Nothing that a peer sends makes the reader panic or never end.
    #[test]
    fn garbage_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        read(rules(), &[&bytes]);
    }
}

#[test]
fn frames_that_announce_more_than_the_limit_are_refused_by_their_headers() {
    for length in [(1 << 20) + 1, 1 << 62, (1 << 63) - 1] {
        // a ping, reserved bits, a reserved opcode of either kind, no message to be continued
        for first_byte in [0x89, 0xf2, 0x83, 0x03, 0x8f, 0x80, 0xc1] {
            let mut header = vec![first_byte, 0xff];
            header.extend_from_slice(&u64::to_be_bytes(length));
            header.extend_from_slice(&KEY);
            let outcomes = read(rules(), &[&header]);
            assert!(matches!(outcomes[..], [Err(_)]), "{first_byte:#x} {length}: {outcomes:?}");
        }
    }
}
