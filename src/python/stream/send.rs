//! The sending half of `Stream`.

use std::{error::Error, io};

use pyo3::{
    exceptions::{PyUnicodeEncodeError, PyValueError},
    intern,
    prelude::*,
    types::{PyBytes, PyString},
};

use super::{
    lock, masked_frame::with_frame, send_queue::Unsent, Direction, Inner, StreamException,
    Underlying,
};
use crate::{
    connection::{AfterServerClose, Transport},
    protocol::{
        frame::{FrameHeader, Opcode},
        mask::MaskingKey,
        send::{append_frame, control, Piece},
    },
    python::{
        argument::bytes_of,
        deflate::outgoing_framer,
        errors::{as_connection_error, os_error, send_error, sending_error},
        waiting::{self, Scheduler, WaitError},
    },
};

impl Inner {
    /// Sends first and lets others run afterwards: another handler may block the hub, and this
    /// message must not wait for that.
    pub(super) fn send_message(
        &self,
        message: &Bound<'_, PyAny>,
        piece: Piece,
        unsent: Option<&mut Unsent>,
        scheduler: &dyn Scheduler,
    ) -> Result<(), WaitError> {
        let sent = self.send_first(message, piece, unsent, scheduler);
        scheduler.yield_if_over_budget(message.py())?;
        sent
    }

    fn send_first(
        &self,
        message: &Bound<'_, PyAny>,
        piece: Piece,
        unsent: Option<&mut Unsent>,
        scheduler: &dyn Scheduler,
    ) -> Result<(), WaitError> {
        let py = message.py();
        let underlying = self.underlying(py)?;
        if self.server_terminated(py, &underlying)? {
            return Err(after_close(py).into());
        }
        if let Some(pending) = unsent.as_ref().and_then(|unsent| unsent.pending()) {
            return self.send_pending(py, &underlying, scheduler, Some(pending));
        }
        if piece.kind == Opcode::BINARY && message.is_instance_of::<PyString>() {
            let text = "Message for binary frame must not be instance of Unicode";
            return Err(StreamException::BadOperation.with(py, text).into());
        }
        // nearly every stream has no filters: skip looking at the Python lists
        if self.is_plain(py, Direction::Outgoing) {
            return Ok(self.send_plain(&underlying, scheduler, piece, message)?);
        }
        self.send_through_filters(&underlying, scheduler, piece, message, unsent)
    }

    /// Sends a piece of a message that is compressed already, or that is not compressed.
    #[expect(clippy::inline_always, reason = "one caller is hot, the others hardly matter")]
    #[inline(always)]
    pub(super) fn send_payload(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        piece: Piece,
        payload: &[u8],
        size: usize,
    ) -> PyResult<()> {
        let key = self.masking_key()?;
        let header = lock(&self.writer).data(piece, payload.len(), key);
        let header = header.map_err(|error| send_error(py, &error))?;
        note_sent(underlying, piece, size);
        self.send_frame(py, underlying, scheduler, &header, payload)
    }

    #[expect(clippy::inline_always, reason = "one caller is hot, the others hardly matter")]
    #[inline(always)]
    pub(super) fn send_plain(
        &self,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        piece: Piece,
        message: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = message.py();
        let bytes;
        // a subclass may have an `encode` of its own
        let payload = match message.cast_exact::<PyString>() {
            Ok(text) if piece.kind == Opcode::TEXT => {
                text.to_str().map_err(|error| bad_operation(py, error))?.as_bytes()
            }
            _ => {
                bytes = encoded(message, piece.kind == Opcode::BINARY || self.is_encoded(message)?)
                    .map_err(|error| self.unsendable(py, piece, error))?;
                bytes.as_bytes()
            }
        };
        self.send_payload(py, underlying, scheduler, piece, payload, payload.len())
    }

    /// Whether the options say that texts come encoded, and this one may be.
    fn is_encoded(&self, message: &Bound<'_, PyAny>) -> PyResult<bool> {
        let py = message.py();
        let encode = self.options.bind(py).getattr(intern!(py, "encode_text_message_to_utf8"))?;
        Ok(!message.is_instance_of::<PyString>() && !encode.is_truthy()?)
    }

    /// The exception for a message that has no bytes. As in pywebsocket, one that may not be sent now
    /// is told so first.
    #[cold]
    pub(super) fn unsendable(&self, py: Python<'_>, piece: Piece, error: PyErr) -> PyErr {
        match lock(&self.writer).check(piece) {
            Err(mixed) => send_error(py, &mixed),
            Ok(()) => bad_operation(py, error),
        }
    }

    pub(super) fn send_ping(&self, body: &Bound<'_, PyAny>, binary: bool) -> PyResult<()> {
        let body = if !binary && body.is_instance_of::<PyString>() {
            encoded(body, false)?.into_any()
        } else {
            body.clone()
        };
        self.send_control(Opcode::PING, &body)?;
        let underlying = self.underlying(body.py())?;
        let max_pings = underlying.settings().map_or(usize::MAX, |settings| settings.max_pings);
        let body = bytes_of(&body)?.as_bytes().to_vec();
        let mut pings = lock(&self.pings);
        pings.push(body);
        // a peer that never answers must not make the list grow without limit
        let surplus = pings.len().saturating_sub(max_pings);
        pings.drain(..surplus);
        Ok(())
    }

    pub(super) fn send_control(&self, opcode: Opcode, body: &Bound<'_, PyAny>) -> PyResult<()> {
        self.control_frame(opcode, body, |frame| frame.send(self))
    }

    /// Sends raw bytes. The text of an exception has the peer's address.
    pub(super) fn write_raw(&self, bytes: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = bytes.py();
        let connection = self.attribute(py, intern!(py, "connection"))?;
        match connection.call_method1(intern!(py, "write"), (bytes,)) {
            Ok(_) => Ok(()),
            Err(error) => Err(self.write_failure(py, as_connection_error(py, error))),
        }
    }

    pub(super) fn control_frame<'py>(
        &self,
        opcode: Opcode,
        body: &Bound<'py, PyAny>,
        send: impl FnOnce(ControlFrame<'_, 'py>) -> PyResult<()>,
    ) -> PyResult<()> {
        let py = body.py();
        let length = body.len()?;
        if self.leaves_control_frames(py)? {
            let header = control(opcode, length, self.control_masking_key(py)?);
            let mut header = header.map_err(|error| send_error(py, &error))?;
            let body = bytes_of(body)?;
            let size = body.as_bytes().len();
            if size != length {
                // an array of larger items than bytes
                let larger = control(opcode, size, header.masking_key);
                header = larger.map_err(|error| send_error(py, &error))?;
            }
            return send(ControlFrame { header, body: &body });
        }
        // the filters may change the length, so it is checked after them
        let key = self.control_masking_key(py)?;
        let header = control(opcode, 0, key).map_err(|error| send_error(py, &error))?;
        let (header, body) = self.filtered(&header, bytes_of(body)?.as_any())?;
        send(ControlFrame { header, body: &body })
    }

    /// Whether no filter changes control frames.
    fn leaves_control_frames(&self, py: Python<'_>) -> PyResult<bool> {
        if self.is_plain(py, Direction::Outgoing) {
            return Ok(true);
        }
        let (frame_filters, message_filters) = self.filters(
            py,
            intern!(py, "outgoing_frame_filters"),
            intern!(py, "outgoing_message_filters"),
        )?;
        Ok(frame_filters.is_empty() || outgoing_framer(&frame_filters, &message_filters).is_some())
    }

    pub(super) fn send_frame(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        header: &FrameHeader,
        payload: &[u8],
    ) -> PyResult<()> {
        // a connection in Python, for example in an embedding program, gets the whole frame in one
        // write
        let Underlying::Native(connection) = underlying else {
            let mut bytes = Vec::new();
            append_frame(header, payload, &mut bytes);
            return self.write_raw(PyBytes::new(py, &bytes).as_any());
        };
        let transport = &connection.get().transport;
        if header.masking_key.is_some() {
            scheduler.charge_bytes(payload.len());
            return scheduler
                .sending(py, transport, |wait| {
                    with_frame(header, payload, |frame| transport.send_frame(frame, &[], wait))
                })?
                .map_err(|error| self.frame_failure(py, transport, &error));
        }
        // an unmasked frame of a server: the payload need not be copied
        let encoded = header.encoded();
        if transport.hold(&encoded, payload) {
            return Ok(());
        }
        scheduler.charge_bytes(payload.len());
        scheduler
            .sending(py, transport, |wait| transport.send_frame(&encoded, payload, wait))?
            .map_err(|error| self.frame_failure(py, transport, &error))
    }

    /// The key for the next control frame: handlers may change their mind.
    fn control_masking_key(&self, py: Python<'_>) -> PyResult<Option<MaskingKey>> {
        let masks = self.options.bind(py).getattr(intern!(py, "mask_send"))?.is_truthy()?;
        masks.then(new_masking_key).transpose()
    }

    /// The key for the next frame of a message: only a client masks.
    pub(super) fn masking_key(&self) -> PyResult<Option<MaskingKey>> {
        if self.mask_send {
            return new_masking_key().map(Some);
        }
        Ok(None)
    }

    #[cold]
    fn frame_failure(&self, py: Python<'_>, transport: &Transport, error: &io::Error) -> PyErr {
        if error.get_ref().is_some_and(<dyn Error + Send + Sync>::is::<AfterServerClose>) {
            return after_close(py);
        }
        self.write_failure(py, sending_error(py, transport, error))
    }

    /// Puts the peer's address into the text of an exception from a write.
    fn write_failure(&self, py: Python<'_>, error: PyErr) -> PyErr {
        let prefixed = || -> PyResult<()> {
            let value = error.value(py);
            let text = format!(
                "Failed to send message to {}: {}",
                self.remote_addr(py)?,
                value.str()?.to_string_lossy()
            );
            value.setattr(intern!(py, "args"), (text,))
        };
        match prefixed() {
            Ok(()) => error,
            Err(other) => other,
        }
    }
}

/// A new key for every frame that a client sends, from the system's random number generator: the
/// author of the payload must not be able to guess it (RFC 6455 5.3 and 10.3).
#[cold]
fn new_masking_key() -> PyResult<MaskingKey> {
    let mut key = MaskingKey::default();
    getrandom::fill(&mut key).map_err(|error| os_error(&error.into()))?;
    Ok(key)
}

/// Counts a piece of a message.
pub(super) fn note_sent(underlying: &Underlying<'_>, piece: Piece, bytes: usize) {
    if let Underlying::Native(connection) = underlying {
        connection.get().transport.note_piece_sent(piece.kind, bytes, piece.end);
    }
}

/// The exception for a message after our own close frame (RFC 6455 5.5.1).
#[cold]
fn after_close(py: Python<'_>) -> PyErr {
    StreamException::BadOperation
        .with(py, "Requested send_message after sending out a closing handshake")
}

/// A control frame behind a handler's own filters, if there are any.
pub(super) struct ControlFrame<'a, 'py> {
    header: FrameHeader,
    body: &'a Bound<'py, PyBytes>,
}

impl ControlFrame<'_, '_> {
    pub(super) fn send(self, inner: &Inner) -> PyResult<()> {
        let py = self.body.py();
        let scheduler = waiting::current_scheduler();
        inner.send_frame(
            py,
            &inner.underlying(py)?,
            &*scheduler,
            &self.header,
            self.body.as_bytes(),
        )
    }
}

/// The bytes of a message. Any object with an `encode` method counts as text, as in pywebsocket.
pub(super) fn encoded<'py>(
    message: &Bound<'py, PyAny>,
    binary: bool,
) -> PyResult<Bound<'py, PyBytes>> {
    if binary {
        return bytes_of(message);
    }
    let py = message.py();
    let bytes = message.call_method1(intern!(py, "encode"), (intern!(py, "utf-8"),))?;
    bytes_of(&bytes)
}

/// Like pywebsocket, turns a `ValueError` in building a frame into a `BadOperationException`.
#[cold]
pub(super) fn bad_operation(py: Python<'_>, error: PyErr) -> PyErr {
    if error.is_instance_of::<PyValueError>(py) || error.is_instance_of::<PyUnicodeEncodeError>(py)
    {
        return StreamException::BadOperation.with(py, error.into_value(py));
    }
    error
}
