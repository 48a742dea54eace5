//! The work of an `Operation`.

use pyo3::{prelude::*, PyTraverseError, PyVisit};

use crate::python::{
    argument::Number,
    stream::{Stream, Unsent},
};

/// The steps of an awaitable call. Some turn into others.
#[derive(Default)]
pub(super) enum Work {
    #[default]
    Nothing,
    Receive(Py<Stream>),
    /// The next message of an iteration.
    Next(Py<Stream>),
    Send(Py<Stream>, OutgoingMessage, Unsent),
    Ping(Py<Stream>, OutgoingMessage),
    Close(Py<Stream>, OutgoingClose),
    /// Waits for the peer's close frame.
    AwaitClose(Py<Stream>),
    /// Waits until the kernel has taken all that was sent.
    Drain,
}

/// A message, or a ping's body.
pub(super) struct OutgoingMessage {
    pub(super) message: Py<PyAny>,
    pub(super) end: bool,
    pub(super) binary: bool,
}

/// A close frame.
pub(super) struct OutgoingClose {
    pub(super) code: Option<Number>,
    pub(super) reason: Py<PyAny>,
    pub(super) wait_response: bool,
}

impl Work {
    pub(super) fn is_iteration(&self) -> bool {
        matches!(self, Self::Next(_))
    }

    /// The name of the method that began the work.
    pub(super) fn name(&self) -> Option<&'static str> {
        match self {
            Self::Nothing | Self::Next(_) | Self::AwaitClose(_) | Self::Drain => None,
            Self::Receive(_) => Some("receive_message"),
            Self::Send(..) => Some("send_message"),
            Self::Ping(..) => Some("send_ping"),
            Self::Close(..) => Some("close_connection"),
        }
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Nothing | Self::Drain => Ok(()),
            Self::Receive(stream) | Self::Next(stream) | Self::AwaitClose(stream) => {
                visit.call(stream)
            }
            Self::Send(stream, outgoing, _) | Self::Ping(stream, outgoing) => {
                visit.call(stream)?;
                visit.call(&outgoing.message)
            }
            Self::Close(stream, closing) => {
                visit.call(stream)?;
                visit.call(&closing.reason)?;
                closing.code.as_ref().map_or(Ok(()), |code| code.traverse(visit))
            }
        }
    }
}
