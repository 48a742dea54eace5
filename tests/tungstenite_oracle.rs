//! The receive path against tungstenite's `WebSocket` as an oracle, over valid and broken streams.
//!
//! Both read the same bytes, cut at the same places, up to a close frame, the first error or the
//! end. [`DIFFERENCES`] and [`agree`] say where they may differ. Of tungstenite, our receive path
//! uses nothing but the table of close codes, so that everything else here is judged twice.

mod frame_streams;

use std::{
    cell::RefCell,
    collections::BTreeSet,
    io::{self, Read, Write},
};

use fastwsh::protocol::{
    close::{self, CloseCode},
    frame::Opcode,
    limits::FrameLimits,
    receive::{Event, MessageReader, Rules},
    ProtocolError,
};
use frame_streams::{closing, cut, endless, lawless, message, mutation, Frame, Said};
use proptest::{collection::vec, prelude::*, sample::Index, test_runner::TestRunner};
use tungstenite::{
    error::ProtocolError as TheirError,
    protocol::{Role, WebSocketConfig},
    Error, Message, WebSocket,
};

/// Larger than any stream here; what announces more is never whole.
const THEIR_LIMIT: usize = 1 << 22;

/// Why a reader stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    /// More must come.
    Open,
    Closed,
    MaskBit,
    LengthOutOfRange,
    ReservedOpcode,
    ReservedBits,
    FragmentedControl,
    LongControl,
    LoneContinuation,
    MessageInsideMessage,
    Utf8,
    /// The same, told before the frame is whole.
    EarlyUtf8,
    CloseBodyOfOneByte,
    CloseCode,
    /// Only tungstenite has a limit here.
    TooBig,
}

type Reading = (Vec<Said>, End);

/// Our ends, and those of tungstenite that mean the same: the known differences.
const DIFFERENCES: &[(End, &[End])] = &[
    // RFC 6455 5.1 asks nothing else of a frame first: we look at the mask bit as soon as it is
    // there, tungstenite when the frame is whole.
    (End::MaskBit, &[End::Open, End::TooBig]),
    // tungstenite has no rule about the highest bit of a length, but its limit, and that when the
    // masking key has come.
    (End::LengthOutOfRange, &[End::Open, End::TooBig]),
    // We wait for such a payload here.
    (End::Open, &[End::TooBig]),
    // We tell the first bad byte, tungstenite the first bad frame.
    (End::EarlyUtf8, &[End::Utf8, End::Open, End::TooBig]),
    // A control frame that breaks two rules: we judge the length first, as pywebsocket does.
    (End::LongControl, &[End::ReservedBits, End::FragmentedControl]),
    // A body with two faults: we judge the code first, tungstenite the reason.
    (End::CloseCode, &[End::Utf8]),
];

fn ends_agree(ours: End, theirs: End) -> bool {
    let known = |(end, same): &(End, &[End])| *end == ours && same.contains(&theirs);
    ours == theirs || DIFFERENCES.iter().any(known)
}

/// Whether two readings of a stream are the same but for known differences.
fn agree(ours: &Reading, theirs: &Reading) -> bool {
    if theirs.1 != End::ReservedOpcode {
        return ours.0 == theirs.0 && ends_agree(ours.1, theirs.1);
    }
    // tungstenite refuses an opcode when the header is whole, before it looks at anything else. We
    // do as pywebsocket: the other rules first, and then the frame, or all of the message that it
    // begins, is read. Control frames inside that message are heard.
    match ours.0.strip_prefix(&theirs.0[..]) {
        Some(more) => !more.iter().any(Said::is_data),
        None => false,
    }
}

fn ours(pieces: &[&[u8]]) -> Reading {
    let mut reader = MessageReader::new(Rules {
        expect_masked: true,
        deflate: false,
        late_rsv1: false,
        limits: FrameLimits::NONE,
    });
    let mut said = Vec::new();
    let mut left = Vec::new();
    for piece in pieces {
        left.extend_from_slice(piece);
        loop {
            let mut input = &left[..];
            let outcome = reader.poll(&mut input);
            left = input.to_vec();
            match outcome {
                Ok(None) => break,
                Ok(Some(Event::Message(message))) if message.opcode == Opcode::TEXT => {
                    said.push(Said::Text(message.payload));
                }
                Ok(Some(Event::Message(message))) => said.push(Said::Binary(message.payload)),
                Ok(Some(Event::Ping(payload))) => said.push(Said::Ping(payload)),
                Ok(Some(Event::Pong(payload))) => said.push(Said::Pong(payload)),
                Ok(Some(Event::Close(body))) => match close::parse_body(&body) {
                    // registered after RFC 6455, and not in tungstenite's table
                    Ok(close) if close.code == Some(CloseCode(1014)) => {
                        return (said, End::CloseCode);
                    }
                    Ok(close) => {
                        said.push(Said::Close(close.code.map(|code| (code.0, close.reason))));
                        return (said, End::Closed);
                    }
                    Err(error) => return (said, our_end(&error)),
                },
                Err(error) => return (said, our_end(&error)),
            }
        }
    }
    (said, End::Open)
}

fn our_end(error: &ProtocolError) -> End {
    match error {
        ProtocolError::WrongMaskBit => End::MaskBit,
        ProtocolError::LengthOutOfRange => End::LengthOutOfRange,
        ProtocolError::ReservedOpcode(_) => End::ReservedOpcode,
        ProtocolError::ReservedBits(_) => End::ReservedBits,
        ProtocolError::FragmentedControlFrame => End::FragmentedControl,
        ProtocolError::ControlFrameTooLong => End::LongControl,
        ProtocolError::EndWithoutStart | ProtocolError::ContinuationWithoutStart => {
            End::LoneContinuation
        }
        ProtocolError::MessageInsideMessage | ProtocolError::StartInsideMessage => {
            End::MessageInsideMessage
        }
        ProtocolError::BadText { mid_frame: true, .. } => End::EarlyUtf8,
        ProtocolError::BadText { .. } | ProtocolError::BadCloseReason(_) => End::Utf8,
        ProtocolError::CloseBodyOfOneByte => End::CloseBodyOfOneByte,
        ProtocolError::CloseCodeNotAllowed(_) => End::CloseCode,
        other => panic!("{other:?} without limits and compression"),
    }
}

fn theirs(pieces: &[&[u8]]) -> Reading {
    let config = WebSocketConfig::default()
        .read_buffer_size(4096)
        .max_frame_size(Some(THEIR_LIMIT))
        .max_message_size(None);
    let wire = Wire { pieces: pieces.iter().rev().copied().collect() };
    let mut socket = WebSocket::from_raw_socket(wire, Role::Server, Some(config));
    let mut said = Vec::new();
    loop {
        match socket.read() {
            Ok(Message::Text(text)) => said.push(Said::Text(text.as_bytes().to_vec())),
            Ok(Message::Binary(payload)) => said.push(Said::Binary(payload.to_vec())),
            Ok(Message::Ping(payload)) => said.push(Said::Ping(payload.to_vec())),
            Ok(Message::Pong(payload)) => said.push(Said::Pong(payload.to_vec())),
            // its words for a code that it does not allow
            Ok(Message::Close(Some(close))) if close.reason.as_str() == "Protocol violation" => {
                return (said, End::CloseCode);
            }
            Ok(Message::Close(close)) => {
                said.push(Said::Close(
                    close.map(|close| (u16::from(close.code), close.reason.to_string())),
                ));
                return (said, End::Closed);
            }
            Ok(Message::Frame(frame)) => panic!("{frame} is never read"),
            Err(error) => return (said, their_end(&error)),
        }
    }
}

fn their_end(error: &Error) -> End {
    match error {
        Error::Protocol(TheirError::ResetWithoutClosingHandshake) => End::Open,
        Error::Protocol(TheirError::UnmaskedFrameFromClient) => End::MaskBit,
        Error::Protocol(TheirError::InvalidOpcode(_)) => End::ReservedOpcode,
        Error::Protocol(TheirError::NonZeroReservedBits) => End::ReservedBits,
        Error::Protocol(TheirError::FragmentedControlFrame) => End::FragmentedControl,
        Error::Protocol(TheirError::ControlFrameTooBig) => End::LongControl,
        Error::Protocol(TheirError::UnexpectedContinueFrame) => End::LoneContinuation,
        Error::Protocol(TheirError::ExpectedFragment(_)) => End::MessageInsideMessage,
        Error::Protocol(TheirError::InvalidCloseSequence) => End::CloseBodyOfOneByte,
        Error::Utf8(_) => End::Utf8,
        Error::Capacity(_) => End::TooBig,
        other => panic!("{other:?} cannot be made by a peer's bytes"),
    }
}

/// Gives the pieces one by one, the last of the vector first, and loses what is written.
struct Wire<'a> {
    pieces: Vec<&'a [u8]>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(piece) = self.pieces.last_mut() {
            let count = piece.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.pieces.pop();
        }
        Ok(0)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(2_000))]

    #[test]
    fn both_read_what_a_valid_stream_says(
        messages in vec(message(), 0..6),
        closing in proptest::option::of(closing()),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let end = if closing.is_some() { End::Closed } else { End::Open };
        let (frames, said): (Vec<_>, Vec<_>) = messages.into_iter().chain(closing).unzip();
        let stream: Vec<u8> = frames.iter().flatten().flat_map(Frame::encode).collect();
        let pieces = cut(&stream, &cuts);
        let expected = (said.concat(), end);
        prop_assert_eq!(&ours(&pieces), &expected);
        prop_assert_eq!(&theirs(&pieces), &expected);
    }
}

#[test]
fn both_read_as_far_into_a_broken_stream() {
    let encode = |frames: Vec<Frame>| frames.iter().map(Frame::encode).collect::<Vec<_>>();
    let whole = prop_oneof![
        12 => message().prop_map(move |(frames, _)| encode(frames)),
        2 => closing().prop_map(move |(frames, _)| encode(frames)),
        4 => lawless().prop_map(move |frame| encode(vec![frame])),
        1 => endless().prop_map(|header| vec![header]),
    ];
    let streams = (vec(whole, 1..6), vec(mutation(), 0..5), vec(any::<Index>(), 0..8));
    let reached = RefCell::new(BTreeSet::new());
    let outcome = TestRunner::new(config(10_000)).run(&streams, |(frames, mutations, cuts)| {
        let mut frames = frames.concat();
        for mutation in &mutations {
            mutation.apply(&mut frames);
        }
        let stream = frames.concat();
        prop_assert!(stream.len() < THEIR_LIMIT);
        let pieces = cut(&stream, &cuts);
        let (ours, theirs) = (ours(&pieces), theirs(&pieces));
        prop_assert!(agree(&ours, &theirs), "ours {:?}\ntheirs {:?}", ours, theirs);
        reached.borrow_mut().extend([ours.1, theirs.1]);
        Ok(())
    });
    assert_eq!(outcome.map_err(|error| error.to_string()), Ok(()));
    let every = [
        [End::Open, End::Closed, End::MaskBit, End::LengthOutOfRange, End::ReservedOpcode],
        [
            End::ReservedBits,
            End::FragmentedControl,
            End::LongControl,
            End::LoneContinuation,
            End::MessageInsideMessage,
        ],
        [End::Utf8, End::EarlyUtf8, End::CloseBodyOfOneByte, End::CloseCode, End::TooBig],
    ];
    assert_eq!(reached.take(), every.concat().into_iter().collect());
}
