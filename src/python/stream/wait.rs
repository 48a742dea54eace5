//! Waiting for frames and messages on a native connection.

use std::{io, sync::Mutex};

use super::lock;
use crate::{
    connection::{Inbound, Park, Transport, Wait},
    protocol::{
        close::{self, CloseCode},
        frame::{Frame, FrameHeader, FrameReader, Opcode},
        limits::FrameLimits,
        receive::{Event, MessageReader, Rules, Whole},
        ProtocolError,
    },
};

/// Below this size a payload goes through the read-ahead buffer, which takes what follows as well.
const DIRECT_MIN: u64 = 1024;

/// Below this size what is missing of a payload is copied: quicker than a system call more.
const LARGE_MIN: u64 = 8 * 1024;

/// Up to this size the header of a message claims the memory for all of it.
const LARGE_AT_ONCE: u64 = 64 * 1024;

/// Up to this size a quarter of the message must have come before memory for all of it is claimed; above,
/// half.
const LARGE_AT_A_QUARTER: u64 = 1024 * 1024;

/// Why no event came.
pub(super) enum Failure {
    Protocol(ProtocolError),
    /// The stream ended where so many bytes were wanted.
    End(u64),
    Io(u64, io::Error),
    /// Another thread has received the peer's close frame.
    Answered,
}

/// An event, and what is odd about how it came.
pub(super) struct Received {
    pub(super) event: Event,
    pub(super) non_minimal: Option<FrameHeader>,
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::python) enum ReceiveGoal {
    Message,
    /// The peer's answer to our close frame, whichever thread gets it.
    CloseAnswer,
}

/// What came of waiting for an event.
pub(super) enum ReadOutcome {
    Received(Received),
    /// A binary message of this length, long enough that its payload should be read straight to
    /// where it will stay: see [`read_direct`].
    Direct(u64),
}

/// Waits for the beginning of a frame, if nothing of it is buffered yet.
pub(super) fn wait_input(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    awaited: ReceiveGoal,
    wait: Wait<'_>,
) -> Result<(), Failure> {
    let mut inbound = transport.inbound(wait).map_err(|error| Failure::Io(1, error))?;
    if awaited == ReceiveGoal::CloseAnswer && transport.closing().is_close_received() {
        return Err(Failure::Answered);
    }
    if !inbound.bytes().is_empty() || !lock(reader).is_between_frames() {
        return Ok(());
    }
    transport.flush_before_wait(wait);
    let wanted = lock(reader).wanted(&[]);
    match inbound.fill(wait) {
        Ok(0) => Err(Failure::End(wanted)),
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::Io(wanted, error)),
    }
}

/// What is there without waiting.
pub(super) enum Buffered {
    /// Nothing, or not a whole message of one frame.
    Other,
    /// A message that `make` has made an object of.
    Whole(Opcode),
    /// One that must be inflated first.
    Compressed(Opcode, Vec<u8>),
}

/// Takes the next message if all of it has come in one frame, as most have, and hands its payload
/// to `make`, which must not run code of Python's: locks are held.
///
/// The socket is asked only if it has said that there is something: asking otherwise costs a system
/// call that finds nothing for every message of a peer that waits for its answers.
pub(super) fn take_whole(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    rules: Rules,
    parker: Option<&dyn Park>,
    make: impl FnOnce(Opcode, &[u8]),
) -> Result<Buffered, Failure> {
    // whoever holds the reader for longer holds this as well
    let Some(mut inbound) = transport.try_inbound() else { return Ok(Buffered::Other) };
    let mut reader = lock(reader);
    if let Some(parker) = parker.filter(|_| inbound.bytes().is_empty()) {
        let wanted = reader.wanted(&[]);
        match inbound.try_fill(parker) {
            Ok(None) => return Ok(Buffered::Other),
            Ok(Some(0)) => return Err(Failure::End(wanted)),
            Ok(Some(_)) => {}
            Err(error) => return Err(Failure::Io(wanted, error)),
        }
    }
    reader.set_rules(rules);
    let Some(whole) = reader.take_whole(inbound.bytes_mut()) else { return Ok(Buffered::Other) };
    let Whole { opcode, compressed, payload } = whole;
    let end = payload.end;
    let there = if compressed {
        Buffered::Compressed(opcode, inbound.bytes()[payload].to_vec())
    } else {
        make(opcode, &inbound.bytes()[payload]);
        Buffered::Whole(opcode)
    };
    inbound.consume(end);
    inbound.expect_direct(false);
    transport.set_more_buffered(reader.has_message(inbound.bytes()));
    Ok(there)
}

fn received(
    transport: &Transport,
    inbound: &Inbound,
    reader: &mut MessageReader,
    event: Event,
) -> Received {
    transport.set_more_buffered(reader.has_message(inbound.bytes()));
    if let Event::Close(body) = &event {
        let code = close::parse_body(body).ok();
        transport.note_close_received(code.map(|close| close.code.unwrap_or(CloseCode::NO_STATUS)));
    }
    Received { event, non_minimal: reader.take_non_minimal() }
}

/// Takes the next event out of what has been received.
fn poll(inbound: &mut Inbound, reader: &mut MessageReader) -> Result<Option<Event>, ProtocolError> {
    let mut input = inbound.bytes();
    let before = input.len();
    let polled = reader.poll(&mut input);
    let used = before - input.len();
    inbound.consume(used);
    polled
}

/// Waits for the next event.
///
/// The reader is not held while others run: they may look at it.
pub(super) fn wait_event(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    rules: Rules,
    awaited: ReceiveGoal,
    wait: Wait<'_>,
) -> Result<ReadOutcome, Failure> {
    let mut inbound = transport.inbound(wait).map_err(|error| Failure::Io(1, error))?;
    if awaited == ReceiveGoal::CloseAnswer && transport.closing().is_close_received() {
        return Err(Failure::Answered);
    }
    lock(reader).set_rules(rules);
    let waited = next_event(transport, &mut inbound, reader, wait);
    transport.set_mid_frame(!lock(reader).is_between_frames());
    waited
}

fn next_event(
    transport: &Transport,
    inbound: &mut Inbound,
    reader: &Mutex<MessageReader>,
    wait: Wait<'_>,
) -> Result<ReadOutcome, Failure> {
    let mut event = poll(inbound, &mut lock(reader)).map_err(Failure::Protocol)?;
    if event.is_none() {
        transport.flush_before_wait(wait);
    }
    loop {
        if let (None, Wait::Park(parker)) = (&event, wait) {
            // the reader keeps what it has of a message, which may have fragments without end
            parker.pause().map_err(|error| Failure::Io(1, error))?;
        }
        if let Some(event) = event {
            inbound.expect_direct(false);
            return Ok(ReadOutcome::Received(received(
                transport,
                inbound,
                &mut lock(reader),
                event,
            )));
        }
        // a caller that comes back would have it read from the front each time
        let waits = !matches!(wait, Wait::Park(parker) if !parker.waits());
        if let Some(length) = direct_length(&lock(reader)).filter(|_| waits) {
            return Ok(ReadOutcome::Direct(length));
        }
        event = match fill(inbound, reader, wait)? {
            // what came behind the payload is buffered
            None => poll(inbound, &mut lock(reader)).map_err(Failure::Protocol)?,
            event => event,
        };
    }
}

/// The length of a message that is to be read straight to where it stays.
fn direct_length(reader: &MessageReader) -> Option<u64> {
    let (length, received) = reader.direct_length(LARGE_MIN)?;
    let needed = if length <= LARGE_AT_ONCE {
        0
    } else if length <= LARGE_AT_A_QUARTER {
        length / 4
    } else {
        length / 2
    };
    (received >= needed).then_some(length)
}

/// Reads the payload that [`ReadOutcome::Direct`] announced; `false` if somebody else has read of it.
pub(super) fn read_direct(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    target: &mut [u8],
    wait: Wait<'_>,
) -> Result<bool, Failure> {
    let mut inbound = transport.inbound(wait).map_err(|error| Failure::Io(1, error))?;
    let mut filled = {
        let mut reader = lock(reader);
        let is_next = direct_length(&reader) == Some(target.len() as u64);
        if !is_next || !inbound.bytes().is_empty() {
            return Ok(false);
        }
        let prefix = reader.begin_direct();
        target[..prefix.len()].copy_from_slice(&prefix);
        prefix.len()
    };
    let before = filled;
    let mut outcome = Ok(true);
    while filled < target.len() && outcome.is_ok() {
        if let Wait::Park(parker) = wait {
            if let Err(error) = parker.pause() {
                outcome = Err(Failure::Io(1, error));
                break;
            }
        }
        let missing = (target.len() - filled) as u64;
        match inbound.fill_direct(&mut target[filled..], wait) {
            Ok(0) => outcome = Err(Failure::End(missing)),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let waited = inbound.wait_readable(wait);
                outcome = waited.map(|()| true).map_err(|error| Failure::Io(missing, error));
            }
            Err(error) => outcome = Err(Failure::Io(missing, error)),
        }
    }
    inbound.expect_direct(true);
    let mut reader = lock(reader);
    reader.end_direct(&mut target[before..filled]);
    if outcome.is_err() {
        reader.take_back(&target[..filled]);
    }
    transport.set_mid_frame(!reader.is_between_frames());
    transport.set_more_buffered(false);
    outcome
}

/// Waits for more bytes, and takes those that belong to a long payload straight there; an event if
/// that makes it whole.
fn fill(
    inbound: &mut Inbound,
    reader: &Mutex<MessageReader>,
    wait: Wait<'_>,
) -> Result<Option<Event>, Failure> {
    loop {
        let wanted;
        let count = {
            let mut reader = lock(reader);
            wanted = reader.wanted(inbound.bytes());
            match reader.payload_target().filter(|(_, missing)| *missing >= DIRECT_MIN) {
                None => None,
                Some((payload, missing)) => match inbound.fill_target(payload, missing, wait) {
                    Ok(0) => return Err(Failure::End(wanted)),
                    Ok(count) => {
                        return reader.payload_added(count).map_err(Failure::Protocol);
                    }
                    Err(error) if error.kind() == io::ErrorKind::OutOfMemory => {
                        let length = payload.len() as u64;
                        *payload = Vec::new();
                        return Err(Failure::Protocol(ProtocolError::NoMemory { length }));
                    }
                    Err(error) => Some(error),
                },
            }
        };
        match count {
            Some(error) if error.kind() == io::ErrorKind::WouldBlock => {
                inbound.wait_readable(wait).map_err(|error| Failure::Io(wanted, error))?;
            }
            Some(error) => return Err(Failure::Io(wanted, error)),
            None => {
                return match inbound.fill(wait) {
                    Ok(0) => Err(Failure::End(wanted)),
                    Ok(_) => Ok(None),
                    Err(error) => Err(Failure::Io(wanted, error)),
                };
            }
        }
    }
}

pub(super) fn poll_frame(
    input: &mut &[u8],
    reader: &Mutex<MessageReader>,
    frames: &mut FrameReader,
    expect_masked: bool,
    limits: FrameLimits,
) -> Result<Option<Frame>, ProtocolError> {
    if !lock(reader).skip(input) {
        return Ok(None);
    }
    frames.poll(input, expect_masked, limits)
}

/// Waits for the next frame.
pub(super) fn wait_frame(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    frames: &Mutex<FrameReader>,
    expect_masked: bool,
    limits: FrameLimits,
    wait: Wait<'_>,
) -> Result<Frame, Failure> {
    let mut inbound = transport.inbound(wait).map_err(|error| Failure::Io(1, error))?;
    loop {
        // not held while others run
        let mut frames = lock(frames);
        let mut input = inbound.bytes();
        let before = input.len();
        let polled = poll_frame(&mut input, reader, &mut frames, expect_masked, limits);
        let used = before - input.len();
        inbound.consume(used);
        transport.set_mid_frame(polled.is_err() || frames.is_mid_frame());
        if let Some(frame) = polled.map_err(Failure::Protocol)? {
            return Ok(frame);
        }
        let wanted = frames.wanted(inbound.bytes(), expect_masked);
        drop(frames);
        transport.flush_before_wait(wait);
        if let Wait::Park(parker) = wait {
            parker.pause().map_err(|error| Failure::Io(wanted, error))?;
        }
        match inbound.fill(wait) {
            Ok(0) => return Err(Failure::End(wanted)),
            Ok(_) => {}
            Err(error) => return Err(Failure::Io(wanted, error)),
        }
    }
}
