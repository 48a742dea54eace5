//! Whole messages out of a stream of frames.

use std::ops::Range;

use crate::protocol::{
    limits::FrameLimits,
    receive::{Event, Message, MessageReader, Rules, Whole},
    ProtocolError,
};

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
        limits: FrameLimits {
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
                if let Some(whole) = reader.take_whole(&mut buffer) {
                    let payload = whole.payload(&buffer).to_vec();
                    let Whole { opcode, compressed, payload: Range { end, .. }, .. } = whole;
                    buffer.drain(..end);
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
