//! Waiting for frames and messages on a native connection, the interpreter detached.

use std::{io, sync::Mutex};

use super::lock;
use crate::{
    protocol::{
        frame::{Frame, FrameReader},
        receive::{Event, MessageReader},
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
}

/// Takes the next event out of what has been received.
pub(super) fn poll(
    inbound: &mut Inbound,
    reader: &mut MessageReader,
) -> Result<Option<Event>, ProtocolError> {
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
) -> Result<Event, Failure> {
    let mut inbound = transport.inbound();
    let mut reader = lock(reader);
    let mut event = poll(&mut inbound, &mut reader).map_err(Failure::Protocol)?;
    if event.is_none() {
        transport.flush_before_wait();
    }
    loop {
        if let Some(event) = event {
            transport.set_more_buffered(reader.has_message(inbound.bytes()));
            return Ok(event);
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
