//! Raw reads and writes: bytes that are not frames of a stream.

use std::io;

use pyo3::prelude::*;

use super::Connection;
use crate::{
    connection::{Inbound, Transport, Wait},
    python::{
        errors::connection_error,
        waiting::{self, sending, waiting},
    },
};

/// The most bytes for one raw read: a caller that asks for gigabytes gets them in pieces.
const READ_AT_ONCE: usize = 64 * 1024;

impl Connection {
    pub(super) fn send(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        waiting::charge_bytes(bytes.len());
        sending(py, &self.transport, |wait| self.transport.write(bytes, wait))?.map_err(|error| {
            self.transport.note_end_told();
            connection_error(py, &error)
        })
    }

    /// Whether bytes cannot be sent because they would come before the answer. A handler that
    /// answers by itself would do this, and HTTP/2 and HTTP/3 do not allow it. If so, resets the stream.
    pub(super) fn refuses_early_bytes(&self) -> bool {
        let Some(slot) = self.answer_slot.as_ref().filter(|slot| slot.is_empty()) else {
            return false;
        };
        slot.give_up();
        let version = self.protocol();
        self.warn(|| {
            format!(
                "bytes before the server's answer, such as an answer of the handler's own, cannot be \
                 sent over {version}: stream reset"
            )
        });
        true
    }
}

/// Reads at most `most` bytes. Waits until there are some, or the stream ends.
pub(super) fn read_some(
    py: Python<'_>,
    transport: &Transport,
    most: usize,
) -> PyResult<io::Result<Vec<u8>>> {
    waiting::yield_if_over_budget(py)?;
    transport.note_raw();
    let bytes = waiting(py, transport, |wait| {
        transport.flush_before_wait(wait);
        let mut inbound = transport.inbound(wait)?;
        let buffered = inbound.bytes();
        let mut bytes = buffered[..buffered.len().min(most)].to_vec();
        inbound.consume(bytes.len());
        while bytes.is_empty() && most > 0 {
            match fill_or_wait(&mut inbound, &mut bytes, most.min(READ_AT_ONCE), wait)? {
                Some(0) => break,
                Some(_) => bytes.shrink_to_fit(),
                None => {}
            }
        }
        Ok(bytes)
    })?;
    waiting::charge_bytes(bytes.as_ref().map_or(0, Vec::len));
    Ok(bytes)
}

/// Reads until it has `wanted` bytes or the stream ends.
pub(in crate::python) fn read_exactly(
    py: Python<'_>,
    transport: &Transport,
    wanted: usize,
) -> PyResult<io::Result<Vec<u8>>> {
    waiting::yield_if_over_budget(py)?;
    transport.note_raw();
    let bytes = waiting(py, transport, |wait| {
        transport.flush_before_wait(wait);
        let mut inbound = transport.inbound(wait)?;
        let mut bytes = Vec::new();
        loop {
            let buffered = inbound.bytes();
            let count = buffered.len().min(wanted - bytes.len());
            bytes.extend_from_slice(&buffered[..count]);
            inbound.consume(count);
            if bytes.len() == wanted {
                return Ok(bytes);
            }
            let missing = wanted - bytes.len();
            if let Wait::Park(parker) = wait {
                parker.pause()?;
            }
            if fill_or_wait(&mut inbound, &mut bytes, missing, wait)? == Some(0) {
                return Ok(bytes);
            }
        }
    })?;
    waiting::charge_bytes(bytes.as_ref().map_or(0, Vec::len));
    Ok(bytes)
}

/// Reads at most `most` bytes to the end of `bytes`, and returns their number, which is 0 at the end
/// of the stream. If nothing has come, waits until the socket is readable, and returns `None`.
fn fill_or_wait(
    inbound: &mut Inbound,
    bytes: &mut Vec<u8>,
    most: usize,
    wait: Wait<'_>,
) -> io::Result<Option<usize>> {
    match inbound.fill_target(bytes, most as u64, wait) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            inbound.wait_readable(wait)?;
            Ok(None)
        }
        filled => filled.map(Some),
    }
}
