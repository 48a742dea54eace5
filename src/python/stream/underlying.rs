//! The connection below a stream, which is native or a Python object, and the settings that follow
//! from that.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::{
    protocol::{frame::Opcode, limits::FrameLimits, ProtocolError},
    python::{
        connection::{Connection, Settings},
        errors::protocol_error,
    },
};

/// The connection below a stream: `request.connection`.
pub(super) enum Underlying<'py> {
    /// One of this server, or of `fastwsh.connect`.
    Native(Bound<'py, Connection>),
    /// Any object with `read` and `write`.
    Python(Bound<'py, PyAny>),
}

impl Underlying<'_> {
    pub(super) fn settings(&self) -> Option<&Arc<Settings>> {
        match self {
            Self::Native(connection) => Some(&connection.get().settings),
            Self::Python(_) => None,
        }
    }

    /// Counts a message that was received.
    pub(super) fn note_message_received(&self, opcode: Opcode, bytes: usize) {
        if let Self::Native(connection) = self {
            connection.get().transport.note_message_received(opcode, bytes);
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

    #[cold]
    pub(super) fn protocol_error(&self, py: Python<'_>, error: &ProtocolError) -> PyErr {
        protocol_error(py, error, self.strict_compat())
    }
}
