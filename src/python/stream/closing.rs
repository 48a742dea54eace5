//! The closing handshake from our side of a `Stream`.

use std::sync::Arc;

use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyString},
};

use super::{Inner, ReceiveGoal, Stream, StreamException, Underlying};
use crate::{
    connection::Transport,
    protocol::{close::CloseCode, frame::Opcode},
    python::{
        argument::Number,
        functions::closing_body,
        waiting::{self, Scheduler, WaitError},
    },
};

impl Inner {
    pub(super) fn close_connection(
        &self,
        stream: &Bound<'_, Stream>,
        code: Option<&Number>,
        reason: &Bound<'_, PyAny>,
        wait_response: bool,
    ) -> PyResult<()> {
        let py = stream.py();
        if !self.begin_close(py, code, reason, wait_response)? {
            return Ok(());
        }
        let awaiting = AwaitingClose::begin(&self.underlying(py)?);
        let answered = self.receive_close(stream, &*waiting::current_scheduler());
        drop(awaiting);
        answered.map_err(WaitError::into_exception)
    }

    /// Sends a close frame. Returns whether to wait for the peer's.
    pub(super) fn begin_close(
        &self,
        py: Python<'_>,
        code: Option<&Number>,
        reason: &Bound<'_, PyAny>,
        wait_response: bool,
    ) -> PyResult<bool> {
        let underlying = self.underlying(py)?;
        if self.server_terminated(py, &underlying)? {
            return Ok(false);
        }
        if code.is_none() {
            if !reason.is_none() && reason.len()? > 0 {
                return Err(StreamException::BadOperation
                    .with(py, "close reason must not be specified if code is None"));
            }
        } else if !reason.is_instance_of::<PyBytes>() && !reason.is_instance_of::<PyString>() {
            return Err(StreamException::BadOperation
                .with(py, "close reason must be an instance of bytes or unicode"));
        }
        let sent = self.send_only_close(code, reason)?;
        Ok(wait_response && sent.is_some_and(CloseCode::expects_answer))
    }

    /// Waits for the peer's close frame.
    pub(super) fn receive_close(
        &self,
        stream: &Bound<'_, Stream>,
        scheduler: &dyn Scheduler,
    ) -> Result<(), WaitError> {
        let py = stream.py();
        let answer = match self.receive_message(stream, ReceiveGoal::CloseAnswer, scheduler) {
            Ok(answer) => answer,
            Err(WaitError::Raised(error))
                if StreamException::ConnectionTerminated.is(py, &error) =>
            {
                // another thread, or task, of the handler received the peer's close frame
                return if self.underlying(py)?.is_close_received() {
                    Ok(())
                } else {
                    Err(WaitError::Raised(error))
                };
            }
            Err(error) => return Err(error),
        };
        if answer.is_none() {
            return Ok(());
        }
        let text = "Didn't receive valid ack for closing handshake";
        Err(StreamException::ConnectionTerminated.with(py, text).into())
    }

    /// Sends a close frame, unless another thread has done so since the caller has looked. Returns its
    /// code.
    pub(super) fn send_only_close(
        &self,
        code: Option<&Number>,
        reason: &Bound<'_, PyAny>,
    ) -> PyResult<Option<CloseCode>> {
        self.send_close_frame(code, reason, Transport::note_only_close_sent)
    }

    /// Sends a close frame. Returns its code.
    pub(super) fn send_closing_handshake(
        &self,
        code: Option<&Number>,
        reason: &Bound<'_, PyAny>,
    ) -> PyResult<Option<CloseCode>> {
        self.send_close_frame(code, reason, |transport, code| {
            transport.note_close_sent(code);
            true
        })
    }

    /// Sends a close frame, if `note` wants it for a connection of ours. Returns its code.
    fn send_close_frame(
        &self,
        code: Option<&Number>,
        reason: &Bound<'_, PyAny>,
        note: impl FnOnce(&Transport, CloseCode) -> bool,
    ) -> PyResult<Option<CloseCode>> {
        let py = reason.py();
        let body = closing_body(py, code, reason)?;
        let code = body
            .first_chunk()
            .map_or(CloseCode::NO_STATUS, |code| CloseCode(u16::from_be_bytes(*code)));
        let body = PyBytes::new(py, &body);
        let underlying = self.underlying(py)?;
        let mut is_wanted = true;
        self.control_frame(Opcode::CLOSE, body.as_any(), |frame| {
            self.set(py, intern!(py, "server_terminated"), true)?;
            if let Underlying::Native(connection) = &underlying {
                is_wanted = note(&connection.get().transport, code);
            }
            if is_wanted {
                frame.send(self)
            } else {
                Ok(())
            }
        })?;
        Ok(is_wanted.then_some(code))
    }
}

/// Guards a wait for the peer's close frame: the time limit for it runs while this exists.
pub(super) struct AwaitingClose(Option<Arc<Transport>>);

impl AwaitingClose {
    pub(super) fn begin(underlying: &Underlying<'_>) -> Self {
        let Underlying::Native(connection) = underlying else { return Self(None) };
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
