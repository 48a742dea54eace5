//! Raw reads and writes: bytes that are not frames of a stream.

use std::io;

use pyo3::prelude::*;

use crate::{
    connection::{ReadBuffer, Transport, Wait},
    python::{
        errors::sending_error,
        waiting::{self, waiting},
    },
};

/// The most bytes for one raw read: a caller that asks for gigabytes gets them in pieces.
const READ_AT_ONCE: usize = 64 * 1024;

/// Writes all of `bytes`.
pub(super) fn write_all(py: Python<'_>, transport: &Transport, bytes: &[u8]) -> PyResult<()> {
    let scheduler = waiting::current_scheduler();
    scheduler.charge_bytes(bytes.len());
    scheduler.sending(py, transport, |wait| transport.write(bytes, wait))?.map_err(|error| {
        transport.note_end_reported();
        sending_error(py, transport, &error)
    })
}

/// Reads at most `most` bytes. Waits until there are some, or the stream ends.
pub(super) fn read_some(
    py: Python<'_>,
    transport: &Transport,
    most: usize,
) -> PyResult<io::Result<Vec<u8>>> {
    read(py, transport, |read_buffer, wait| {
        let buffered = read_buffer.bytes();
        let mut bytes = buffered[..buffered.len().min(most)].to_vec();
        read_buffer.consume(bytes.len());
        while bytes.is_empty() && most > 0 {
            match fill_or_wait(read_buffer, &mut bytes, most.min(READ_AT_ONCE), wait)? {
                Some(0) => break,
                Some(_) => bytes.shrink_to_fit(),
                None => {}
            }
        }
        Ok(bytes)
    })
}

/// Reads until it has `wanted` bytes or the stream ends.
pub(in crate::python) fn read_exactly(
    py: Python<'_>,
    transport: &Transport,
    wanted: usize,
) -> PyResult<io::Result<Vec<u8>>> {
    read(py, transport, |read_buffer, wait| {
        let mut bytes = Vec::new();
        loop {
            let buffered = read_buffer.bytes();
            let count = buffered.len().min(wanted - bytes.len());
            bytes.extend_from_slice(&buffered[..count]);
            read_buffer.consume(count);
            if bytes.len() == wanted {
                return Ok(bytes);
            }
            let missing = wanted - bytes.len();
            if let Wait::Park(parker) = wait {
                parker.pause()?;
            }
            if fill_or_wait(read_buffer, &mut bytes, missing, wait)? == Some(0) {
                return Ok(bytes);
            }
        }
    })
}

/// Calls `take` with the buffer, after sending what is held back, and charges the caller for the
/// bytes.
fn read(
    py: Python<'_>,
    transport: &Transport,
    take: impl FnOnce(&mut ReadBuffer, Wait<'_>) -> io::Result<Vec<u8>> + Send,
) -> PyResult<io::Result<Vec<u8>>> {
    let scheduler = waiting::current_scheduler();
    scheduler.yield_if_over_budget(py)?;
    transport.note_raw();
    let bytes = waiting(py, transport, |wait| {
        transport.flush_before_wait(wait);
        let mut half = transport.receive_half(wait)?;
        let read_buffer = half.read_buffer();
        if read_buffer.is_closed() && read_buffer.bytes().is_empty() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        take(read_buffer, wait)
    })?;
    scheduler.charge_bytes(bytes.as_ref().map_or(0, Vec::len));
    Ok(bytes)
}

/// Reads at most `most` bytes to the end of `bytes`, and returns their number, which is 0 at the end
/// of the stream. If nothing has come, waits until the socket is readable, and returns `None`.
fn fill_or_wait(
    read_buffer: &mut ReadBuffer,
    bytes: &mut Vec<u8>,
    most: usize,
    wait: Wait<'_>,
) -> io::Result<Option<usize>> {
    match read_buffer.fill_target(bytes, most as u64, wait) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            read_buffer.wait_readable(wait)?;
            Ok(None)
        }
        filled => filled.map(Some),
    }
}
