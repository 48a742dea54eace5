//! The lock for compressing, or decompressing, the messages of a stream in order.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::{prelude::*, sync::MutexExt};

use super::Underlying;
use crate::{
    connection::Transport,
    python::waiting::{Scheduler, WaitError},
};

/// The right to compress or decompress, until it is dropped.
pub(super) struct CodecGuard<'a> {
    guard: Option<MutexGuard<'a, ()>>,
    transport: Option<Arc<Transport>>,
}

impl<'a> CodecGuard<'a> {
    pub(super) fn new(guard: MutexGuard<'a, ()>, transport: Option<Arc<Transport>>) -> Self {
        Self { guard: Some(guard), transport }
    }
}

impl Drop for CodecGuard<'_> {
    fn drop(&mut self) {
        drop(self.guard.take());
        if let Some(transport) = &self.transport {
            transport.lock_waiters().released();
        }
    }
}

/// Waits while another caller holds a lock of the stream, which it may do while it waits itself.
pub(super) fn lock_codec<'a>(
    py: Python<'_>,
    underlying: &Underlying<'_>,
    scheduler: &dyn Scheduler,
    mutex: &'a Mutex<()>,
) -> Result<CodecGuard<'a>, WaitError> {
    let Underlying::Native(connection) = underlying else {
        let guard = mutex.lock_py_attached(py);
        let guard = guard.unwrap_or_else(PoisonError::into_inner);
        return Ok(CodecGuard::new(guard, None));
    };
    let transport = &connection.get().transport;
    let guard = scheduler.lock(py, transport, mutex)?;
    Ok(CodecGuard::new(guard, Some(transport.clone())))
}
