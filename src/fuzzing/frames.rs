//! Frames one by one: headers, bodies of close frames, what stands at the front, raw readers.

use crate::protocol::{
    close::{format_body, parse_body, CloseReason},
    error::ProtocolError,
    frame::{Decoded, Frame, FrameHeader, FrameReader, Opcode, MAX_CONTROL_PAYLOAD},
    limits::FrameLimits,
    mask,
    receive::{Event, FirstFrame, MessageReader, Rules},
};

/// Decodes a frame header, whole and cut short, and encodes it again.
///
/// # Panics
/// If an invariant is broken.
pub fn frame_header(data: &[u8]) {
    let Some((flags, input)) = data.split_first() else { return };
    let expect_masked = flags & 1 != 0;
    let Ok(Decoded::Header(header, used)) = FrameHeader::decode(input, expect_masked) else {
        return;
    };
    for end in 0..used {
        match FrameHeader::decode(&input[..end], expect_masked) {
            Ok(Decoded::Short(missing)) => assert!(missing > 0 && end + missing <= used),
            other => panic!("{other:?} of {end} bytes of a header of {used}"),
        }
    }
    let mut encoded = Vec::new();
    header.encode(&mut encoded);
    if header.is_minimal() {
        assert_eq!(encoded, &input[..used]);
    } else {
        let minimal = match FrameHeader::decode(&encoded, expect_masked) {
            Ok(Decoded::Header(minimal, size)) if size == encoded.len() => minimal,
            other => panic!("{other:?} of an encoded header"),
        };
        assert!(minimal.is_minimal() && encoded.len() < used);
        assert_eq!(FrameHeader { length_octets: minimal.length_octets, ..header }, minimal);
    }
}

/// Parses the body of a close frame and formats it again.
///
/// # Panics
/// If an invariant is broken.
pub fn close_body(data: &[u8]) {
    match parse_body(data) {
        Ok(CloseReason { code: None, reason }) => assert!(data.is_empty() && reason.is_empty()),
        Ok(CloseReason { code: Some(code), reason }) => {
            assert!(code.is_receivable());
            assert_eq!(format_body(code, &reason).as_deref(), Ok(data));
        }
        Err(error @ ProtocolError::CloseBodyOfOneByte) => {
            assert_eq!((data.len(), error.close_code().0), (1, 1002));
        }
        Err(error @ ProtocolError::CloseCodeNotAllowed(code)) => {
            assert!(data.starts_with(&code.to_be_bytes()));
            assert_eq!(error.close_code().0, 1002);
        }
        Err(error @ ProtocolError::BadCloseReason(_)) => {
            assert!(std::str::from_utf8(&data[2..]).is_err());
            assert_eq!(error.close_code().0, 1007);
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Looks for a control frame at the front of a stream, as a reader would find it there.
///
/// # Panics
/// If an invariant is broken.
pub fn control_front(data: &[u8]) {
    let rules =
        Rules { expect_masked: true, deflate: true, late_rsv1: true, limits: FrameLimits::NONE };
    let mut reader = MessageReader::new(rules);
    let mut left = data;
    let read = reader.poll(&mut left);
    let used = data.len() - left.len();
    match FirstFrame::of(data) {
        FirstFrame::Control { opcode, body, length } => {
            assert_eq!(length, used);
            assert!(body.len() as u64 <= MAX_CONTROL_PAYLOAD);
            for end in 0..length {
                assert_eq!(
                    FirstFrame::of(&data[..end]),
                    FirstFrame::Unfinished,
                    "{end} of {length}"
                );
            }
            let event = if opcode == Opcode::PING { Event::Ping(body) } else { Event::Pong(body) };
            assert_eq!(read, Ok(Some(event)));
            assert_eq!(reader.take_non_minimal(), None);
        }
        FirstFrame::Unfinished => {
            assert_eq!(read, Ok(None));
            assert!(reader.wanted(left) > 0);
        }
        FirstFrame::Other => {
            let is_pingpong = data.first().is_some_and(|first| matches!(first, 0x89 | 0x8a));
            if is_pingpong && reader.take_non_minimal().is_none() {
                // the mask bit, or the length of which not all has come
                let is_too_long = data.get(1).is_some_and(|second| second & 0x7f > 125);
                assert!(read.is_err() || (read == Ok(None) && is_too_long), "{read:?}");
            }
        }
    }
}

/// Reads whole frames that come at once, in two halves and byte by byte, and formats them again.
///
/// # Panics
/// If an invariant is broken.
pub fn raw_frames(data: &[u8]) {
    let [flags, limit, cut, stream @ ..] = data else { return };
    let expect_masked = flags & 1 != 0;
    let limits = FrameLimits { frame_bytes: u64::from(*limit), ..FrameLimits::NONE };
    let whole = frames(expect_masked, limits, [stream]);
    let (left, right) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(frames(expect_masked, limits, [left, right]), whole, "in two pieces");
    assert_eq!(frames(expect_masked, limits, stream.chunks(1)), whole, "byte by byte");
    let mut rest = stream;
    for outcome in whole {
        // behind an error, a reader goes on where only it knows
        let Ok(Frame { header, mut payload }) = outcome else { return };
        assert!(payload.len() as u64 == header.length && header.length <= u64::from(*limit));
        if let Some(key) = header.masking_key {
            mask::apply(&mut payload, key, 0);
        }
        let mut encoded = header.encoded().to_vec();
        if !header.is_minimal() {
            let Ok(Decoded::Header(same, used)) = FrameHeader::decode(rest, expect_masked) else {
                panic!("no header where one was read");
            };
            assert_eq!(same, header);
            encoded = rest[..used].to_vec();
        }
        encoded.extend_from_slice(&payload);
        rest = rest.strip_prefix(&encoded[..]).unwrap_or_else(|| panic!("not {encoded:02x?}"));
    }
}

/// Everything that a raw reader makes of the pieces.
fn frames<'a>(
    expect_masked: bool,
    limits: FrameLimits,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Vec<Result<Frame, ProtocolError>> {
    let mut reader = FrameReader::default();
    let mut outcomes = Vec::new();
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let mut input = &buffer[..];
            let outcome = reader.poll(&mut input, expect_masked, limits).transpose();
            buffer = input.to_vec();
            match outcome {
                Some(outcome) => outcomes.push(outcome),
                None => break,
            }
        }
        assert!(reader.wanted(&buffer, expect_masked) > 0, "nothing is missing");
        assert!(!reader.is_mid_frame() || buffer.is_empty(), "left what the frame wants");
    }
    outcomes
}
