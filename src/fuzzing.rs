//! What the fuzz targets check: invariants of the protocol layer over arbitrary bytes.
//!
//! Each function takes the bytes of one input and panics if an invariant is broken. `fuzz` calls
//! them from libFuzzer, `tests/fuzz_replay.rs` with the corpus and mutations of it.

use crate::protocol::{
    deflate::{DeflateLevel, MessageDeflater, MessageInflater, Offer, WindowBits},
    extension,
    frame::{Decoded, FrameHeader},
    grammar,
    handshake::Opening,
    head::{HeadError, HeadReader, RequestHead},
    limits::Limits,
    receive::{Event, Message, MessageReader, Rules, Whole},
    ProtocolError,
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

/// Assembles messages from a stream of frames that comes whole, in two halves, byte by byte, past
/// the caller's buffer, and in it.
///
/// # Panics
/// If an invariant is broken.
pub fn message_assembly(data: &[u8]) {
    let [flags, limit, cut, stream @ ..] = data else { return };
    let rules = Rules {
        expect_masked: flags & 1 != 0,
        deflate: flags & 2 != 0,
        late_rsv1: flags & 4 != 0,
        limits: Limits {
            message_bytes: u64::from(*limit),
            // so that each of them is met by short inputs
            frame_bytes: u64::from(*limit / 2).max(1),
            fragments: u64::from(*limit / 16).max(1),
        },
    };
    let whole = events(rules, [stream], Way::Poll);
    for event in &whole {
        check_event(rules, event);
    }
    let (left, right) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(events(rules, [left, right], Way::Poll), whole, "in two pieces");
    assert_eq!(events(rules, stream.chunks(1), Way::Poll), whole, "byte by byte");
    let chunks = stream.chunks(usize::from(*cut).max(1));
    assert_eq!(events(rules, chunks, Way::Direct), whole, "past the buffer");
    assert_eq!(events(rules, [left, right], Way::Whole), whole, "in the buffer");
}

/// Inflates arbitrary messages, and what a compressor made of them.
///
/// # Panics
/// If an invariant is broken.
pub fn inflate(data: &[u8]) {
    let [flags, limit, data @ ..] = data else { return };
    let mut inflater = MessageInflater::default();
    let (left, right) = data.split_at(data.len() / 2);
    for payload in [left, right, left] {
        match inflater.inflate(payload, u64::from(*limit)) {
            Ok(message) => assert!(message.len() <= usize::from(*limit)),
            Err(ProtocolError::BadDeflate | ProtocolError::InflatedTooBig { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    }

    let window = WindowBits::new(i64::from(8 + (flags & 7))).ok();
    let bfinal = flags & 16 != 0;
    let no_context_takeover = flags & 8 != 0;
    let level = DeflateLevel::new(if flags & 64 != 0 { i64::from(*limit) % 10 } else { 6 });
    let level = level.unwrap_or_default();
    let mut deflater = MessageDeflater::with_level(window, no_context_takeover, level);
    let mut inflater = MessageInflater::new(no_context_takeover);
    for message in [data, left, data] {
        let (first, last) = message.split_at(message.len() / 3);
        let mut payload = Vec::new();
        if flags & 32 != 0 {
            payload = deflater.deflate(first, false, false);
            payload.extend(deflater.deflate(last, true, bfinal));
        } else {
            payload.extend(deflater.deflate(message, true, bfinal));
        }
        assert_eq!(inflater.inflate(&payload, message.len() as u64).as_deref(), Ok(message));
    }
    if let Some(limit) = (data.len() as u64).checked_sub(1) {
        let payload = MessageDeflater::new(window, false).deflate(data, true, bfinal);
        let refused = MessageInflater::default().inflate(&payload, limit);
        assert_eq!(refused, Err(ProtocolError::InflatedTooBig { limit }));
    }
}

/// Parses a Sec-WebSocket-Extensions value, formats it and parses it again; judges what it offers.
///
/// # Panics
/// If an invariant is broken.
pub fn extension_header(data: &[u8]) {
    let text: String = data.iter().copied().map(char::from).collect();
    if let Ok(tokens) = grammar::parse_token_list(&text) {
        assert!(tokens.iter().all(|token| grammar::is_token(token)));
        assert_eq!(grammar::parse_token_list(&tokens.join(", ")), Ok(tokens));
    }
    let Ok(extensions) = extension::parse(&text) else { return };
    assert!(!extensions.is_empty());
    // pywebsocket escapes no backslash, and a run of white space reads as one space
    let plain = |value: &str| {
        !value.contains(['\\', '\t'])
            && !value.contains("  ")
            && !value.chars().any(char::is_control)
    };
    let mut all_plain = true;
    for extension in &extensions {
        assert!(grammar::is_token(&extension.name));
        for (name, value) in &extension.parameters {
            assert!(grammar::is_token(name));
            all_plain &= value.as_deref().is_none_or(plain);
        }
        let parameters = extension.parameters.iter();
        let offer = Offer::parse(parameters.map(|(name, value)| (name.as_str(), value.as_deref())));
        if let Ok(Offer { server_max_window_bits: Some(window), .. }) = offer {
            assert!((8..=15).contains(&window.bits()));
        }
    }
    if all_plain {
        assert_eq!(extension::parse(&extension::format(&extensions)), Ok(extensions));
    }
}

/// Reads a request head that comes whole, in two halves and byte by byte, and judges it.
///
/// # Panics
/// If an invariant is broken.
pub fn request_head(data: &[u8]) {
    let Some((cut, input)) = data.split_first() else { return };
    let whole = read_head(input, [input.len()]);
    let middle = usize::from(*cut).min(input.len());
    assert_eq!(read_head(input, [middle, input.len()]), whole, "in two pieces");
    assert_eq!(read_head(input, 0..=input.len()), whole, "byte by byte");
    let _ = HeadReader::default().finish(&input[..middle]);
    let Ok(Some((head, used))) = whole else { return };
    assert_eq!(head.bytes.len(), used);
    assert!(!head.method.is_empty() && !head.method.contains(' '));
    assert!(!head.target.starts_with("//"));
    assert!(head.headers.iter().all(|(name, _)| !name.is_empty() && !name.contains(':')));
    if let Ok(opening) = Opening::check(&head) {
        // base64 of the 20 bytes of a SHA-1
        assert_eq!(opening.accept.len(), 28);
    }
}

/// How bytes get into a message reader.
#[derive(Clone, Copy)]
enum Way {
    /// All through the caller's buffer.
    Poll,
    /// The rest of a payload straight to where it belongs, if the reader says where that is.
    Direct,
    /// Whole messages stay in the caller's buffer.
    Whole,
}

type Outcome = Result<Event, ProtocolError>;

/// Everything that a reader makes of the pieces.
fn events<'a>(rules: Rules, pieces: impl IntoIterator<Item = &'a [u8]>, way: Way) -> Vec<Outcome> {
    let mut reader = MessageReader::new(rules);
    let mut outcomes = Vec::new();
    let mut buffer = Vec::new();
    for mut piece in pieces {
        if matches!(way, Way::Direct) && buffer.is_empty() {
            if let Some((target, missing)) = reader.payload_target() {
                let count = usize::try_from(missing).map_or(piece.len(), |m| m.min(piece.len()));
                target.extend_from_slice(&piece[..count]);
                piece = &piece[count..];
                outcomes.extend(reader.payload_added(count).transpose());
            }
        }
        buffer.extend_from_slice(piece);
        loop {
            if matches!(way, Way::Whole) {
                if let Some(Whole { opcode, compressed, payload }) = reader.take_whole(&mut buffer)
                {
                    let left = buffer.split_off(payload.end);
                    let payload = buffer.split_off(payload.start);
                    buffer = left;
                    outcomes.push(Ok(Event::Message(Message { opcode, payload, compressed })));
                    continue;
                }
            }
            let mut input = &buffer[..];
            let outcome = reader.poll(&mut input).transpose();
            buffer = input.to_vec();
            match outcome {
                Some(outcome) => outcomes.push(outcome),
                None => break,
            }
        }
        assert!(reader.wanted(&buffer) > 0, "nothing is missing, and nothing comes");
    }
    for outcome in &mut outcomes {
        // how much came with the first bad byte depends on the pieces
        if let Err(ProtocolError::BadText { text, valid_up_to, mid_frame }) = outcome {
            text.truncate(*valid_up_to);
            *mid_frame = false;
        }
    }
    outcomes
}

fn check_event(rules: Rules, outcome: &Outcome) {
    match outcome {
        Ok(Event::Message(message)) => {
            assert!(message.payload.len() as u64 <= rules.limits.message_bytes);
            assert!(rules.deflate || !message.compressed);
            if message.opcode.value() == 1 && !message.compressed {
                assert!(std::str::from_utf8(&message.payload).is_ok());
            }
        }
        Ok(Event::Ping(body) | Event::Pong(body) | Event::Close(body)) => {
            assert!(body.len() <= 125);
        }
        Err(ProtocolError::BadText { text, valid_up_to, .. }) => {
            assert_eq!(text.len(), *valid_up_to);
            assert!(std::str::from_utf8(text).is_ok());
        }
        Err(error) => assert!((1002..=1009).contains(&error.close_code().0)),
    }
}

type ReadHead = Result<Option<(RequestHead, usize)>, HeadError>;

/// What a reader says first, when it is shown the input up to each of these ends.
fn read_head(input: &[u8], ends: impl IntoIterator<Item = usize>) -> ReadHead {
    let mut reader = HeadReader::default();
    for end in ends {
        let outcome = reader.poll(&input[..end]);
        if outcome != Ok(None) {
            return outcome;
        }
    }
    Ok(None)
}
