//! Waits for frames and messages on a native connection.

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

/// Below this size a payload is read through the read-ahead buffer, which may read the next frames
/// in the same system call.
const DIRECT_MIN: u64 = 1024;

/// If less than this is missing of a payload, it is copied from the buffer, which is quicker than
/// another system call.
const LARGE_MIN: u64 = 8 * 1024;

/// Up to this size, memory for the whole message is allocated as soon as its header is there.
const LARGE_AT_ONCE: u64 = 64 * 1024;

/// Up to this size, a quarter of the message must have arrived before memory for all of it is
/// allocated; above, half.
const LARGE_AT_A_QUARTER: u64 = 1024 * 1024;

/// Why there is no event.
pub(super) enum Failure {
    Protocol(ProtocolError),
    /// The stream ended where this number of bytes was expected.
    End(u64),
    Io(u64, io::Error),
    /// Another thread has received the peer's close frame.
    Answered,
}

/// An event, and the header if its length was not encoded in the shortest form.
pub(super) struct Received {
    pub(super) event: Event,
    pub(super) non_minimal: Option<FrameHeader>,
}

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::python) enum ReceiveGoal {
    Message,
    /// The peer's answer to our close frame, whichever thread receives it.
    CloseAnswer,
}

/// The result of waiting for an event.
pub(super) enum ReadOutcome {
    Received(Received),
    /// A binary message of this length. It is so long that its payload should be read straight into
    /// its Python object, see [`read_direct`].
    Direct(u64),
}

/// Waits for the beginning of the next frame, unless a part of it is buffered.
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

/// What can be received without waiting.
pub(super) enum Buffered {
    /// Nothing, or no complete message in one frame.
    Other,
    /// A message for which `make` has made an object.
    Whole(Opcode),
    /// A message that must be inflated first.
    Compressed(Opcode, Vec<u8>),
}

/// Takes the next message if it is complete and in one frame, as most are, and passes its payload
/// to `make`. `make` must not run Python code, because locks are held.
///
/// The socket is read only if the reactor has reported it as readable. If a peer waits for each
/// answer, a read would find nothing and cost a system call for each message.
pub(super) fn take_whole(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    rules: Rules,
    parker: Option<&dyn Park>,
    make: impl FnOnce(Opcode, &[u8]),
) -> Result<Buffered, Failure> {
    // a thread that holds the reader for long holds this half as well
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

/// Takes the next event from the received bytes.
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
/// The reader is not locked while others run, because they may use it.
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
            // a message may have fragments without end, so let others run; the reader keeps what it
            // has
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
        // not for a caller that repeats its call: it would begin to read the payload again each
        // time
        let waits = !matches!(wait, Wait::Park(parker) if !parker.waits());
        if let Some(length) = direct_length(&lock(reader)).filter(|_| waits) {
            return Ok(ReadOutcome::Direct(length));
        }
        event = match fill(inbound, reader, wait)? {
            // the bytes after the payload are buffered
            None => poll(inbound, &mut lock(reader)).map_err(Failure::Protocol)?,
            event => event,
        };
    }
}

/// The length of the current message, if it should be read straight into its object.
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

/// Reads the payload that [`ReadOutcome::Direct`] announced. Returns `false` if another caller has
/// read a part of it in the meantime.
pub(super) fn read_direct(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    target: &mut [u8],
    wait: Wait<'_>,
) -> Result<bool, Failure> {
    let mut inbound = transport.inbound(wait).map_err(|error| Failure::Io(1, error))?;
    let mut filled = {
        let mut reader = lock(reader);
        // another thread may have received in between; then the announced message is gone
        let is_next = direct_length(&reader) == Some(target.len() as u64);
        if !is_next || !inbound.bytes().is_empty() {
            return Ok(false);
        }
        // what the buffer had of this payload comes first
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
    // put the bytes back, so that the next call can go on where this one has failed
    if outcome.is_err() {
        reader.take_back(&target[..filled]);
    }
    transport.set_mid_frame(!reader.is_between_frames());
    transport.set_more_buffered(false);
    outcome
}

/// Waits for more bytes, and reads the bytes of a long payload straight into it. Returns an event
/// if that completes the message.
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
            // wait without the reader's lock, which `fill_target` needed
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
        // not locked while others run
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
