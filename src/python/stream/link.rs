//! The connection below a stream, which is native or a Python object, and the settings that follow
//! from that.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::{prelude::*, sync::MutexExt};

use crate::{
    connection::Transport,
    protocol::{limits::FrameLimits, ProtocolError},
    python::{
        connection::{Connection, Settings},
        errors::protocol_error,
        waiting::{Scheduler, WaitError},
    },
};

/// The connection below a stream.
pub(super) enum Link<'py> {
    Native(Bound<'py, Connection>),
    Python(Bound<'py, PyAny>),
}

impl Link<'_> {
    pub(super) fn settings(&self) -> Option<&Arc<Settings>> {
        match self {
            Self::Native(connection) => Some(&connection.get().settings),
            Self::Python(_) => None,
        }
    }

    pub(super) fn is_close_received(&self) -> bool {
        match self {
            Self::Native(connection) => connection.get().transport.closing().is_close_received(),
            Self::Python(_) => false,
        }
    }

    pub(super) fn strict_compat(&self) -> bool {
        self.settings().is_some_and(|settings| settings.strict_compat)
    }

    pub(super) fn limits(&self) -> FrameLimits {
        self.settings().map_or(FrameLimits::NONE, |settings| settings.limits)
    }

    pub(super) fn protocol_error(&self, py: Python<'_>, error: &ProtocolError) -> PyErr {
        protocol_error(py, error, self.strict_compat())
    }
}

/// The right to compress, until it is dropped.
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
    link: &Link<'_>,
    scheduler: &dyn Scheduler,
    mutex: &'a Mutex<()>,
) -> Result<CodecGuard<'a>, WaitError> {
    let Link::Native(connection) = link else {
        let guard = mutex.lock_py_attached(py);
        let guard = guard.unwrap_or_else(PoisonError::into_inner);
        return Ok(CodecGuard::new(guard, None));
    };
    let transport = &connection.get().transport;
    let guard = scheduler.lock(py, transport, mutex)?;
    Ok(CodecGuard::new(guard, Some(transport.clone())))
}

/// Guards a wait for the peer's close frame: the time limit for it runs while this exists.
pub(super) struct AwaitingClose(Option<Arc<Transport>>);

impl AwaitingClose {
    pub(super) fn begin(link: &Link<'_>) -> Self {
        let Link::Native(connection) = link else { return Self(None) };
        let transport = connection.get().transport.clone();
        transport.set_awaits_close(true);
        Self(Some(transport))
    }
}

impl Drop for AwaitingClose {
    fn drop(&mut self) {
        if let Some(transport) = &self.0 {
            transport.set_awaits_close(false);
        }
    }
}
