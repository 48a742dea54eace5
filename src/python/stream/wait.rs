//! Waiting for frames and messages on a native connection, the interpreter detached.

use std::{io, sync::Mutex};

use super::lock;
use crate::{
    protocol::{
        frame::{Frame, FrameHeader, FrameReader},
        receive::{Event, MessageReader, Rules},
        ProtocolError,
    },
    server::{Inbound, Transport, Wait},
};

/// Below this size a payload goes through the read-ahead buffer, which takes what follows as well.
const DIRECT_MIN: u64 = 1024;

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
pub(super) enum Awaited {
    Message,
    /// The peer's answer to our close frame, whichever thread gets it.
    CloseAnswer,
}

/// Takes an event out of what is buffered, without waiting for anything. (Asking the socket as
/// well costs a system call that finds nothing for every message of a peer that waits for its
/// answers.)
pub(super) fn buffered_event(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    rules: Rules,
) -> Result<Option<Received>, Failure> {
    // whoever holds the reader holds this as well
    let Some(mut inbound) = transport.try_inbound() else { return Ok(None) };
    let mut reader = lock(reader);
    reader.set_rules(rules);
    let event = poll(&mut inbound, &mut reader).map_err(Failure::Protocol)?;
    Ok(event.map(|event| received(transport, &inbound, &mut reader, event)))
}

fn received(
    transport: &Transport,
    inbound: &Inbound,
    reader: &mut MessageReader,
    event: Event,
) -> Received {
    transport.set_more_buffered(reader.has_message(inbound.bytes()));
    if matches!(event, Event::Close(_)) {
        transport.note_close_received();
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

/// Waits for the next event, the interpreter detached.
pub(super) fn wait_event(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    rules: Rules,
    awaited: Awaited,
) -> Result<Received, Failure> {
    let mut inbound = transport.inbound();
    if awaited == Awaited::CloseAnswer && transport.is_close_received() {
        return Err(Failure::Answered);
    }
    let mut reader = lock(reader);
    reader.set_rules(rules);
    let mut event = poll(&mut inbound, &mut reader).map_err(Failure::Protocol)?;
    if event.is_none() {
        transport.flush_before_wait();
    }
    loop {
        if let Some(event) = event {
            return Ok(received(transport, &inbound, &mut reader, event));
        }
        let wanted = reader.wanted(inbound.bytes());
        let target = reader.payload_target().filter(|(_, missing)| *missing >= DIRECT_MIN);
        let (count, direct) = match target {
            Some((payload, missing)) => (inbound.fill_target(payload, missing, Wait::Long), true),
            None => (inbound.fill(Wait::Long), false),
        };
        event = match count {
            Ok(0) => return Err(Failure::End(wanted)),
            Ok(count) if direct => match reader.payload_added(count) {
                // what came behind the payload is buffered
                Ok(None) => poll(&mut inbound, &mut reader),
                added => added,
            },
            Ok(_) => poll(&mut inbound, &mut reader),
            Err(error) => return Err(Failure::Io(wanted, error)),
        }
        .map_err(Failure::Protocol)?;
    }
}

pub(super) fn poll_frame(
    input: &mut &[u8],
    reader: &Mutex<MessageReader>,
    frames: &mut FrameReader,
    expect_masked: bool,
    limit: u64,
) -> Result<Option<Frame>, ProtocolError> {
    if !lock(reader).skip(input) {
        return Ok(None);
    }
    frames.poll(input, expect_masked, limit)
}

/// Waits for the next frame, the interpreter detached.
pub(super) fn wait_frame(
    transport: &Transport,
    reader: &Mutex<MessageReader>,
    frames: &Mutex<FrameReader>,
    expect_masked: bool,
    limit: u64,
) -> Result<Frame, Failure> {
    let mut inbound = transport.inbound();
    let mut frames = lock(frames);
    loop {
        let mut input = inbound.bytes();
        let before = input.len();
        let polled = poll_frame(&mut input, reader, &mut frames, expect_masked, limit);
        let used = before - input.len();
        inbound.consume(used);
        if let Some(frame) = polled.map_err(Failure::Protocol)? {
            return Ok(frame);
        }
        transport.flush_before_wait();
        let wanted = frames.wanted(inbound.bytes(), expect_masked);
        match inbound.fill(Wait::Long) {
            Ok(0) => return Err(Failure::End(wanted)),
            Ok(_) => {}
            Err(error) => return Err(Failure::Io(wanted, error)),
        }
    }
}
