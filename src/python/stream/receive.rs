//! The receiving half of `Stream`.

use std::{io, sync::atomic::Ordering};

use pyo3::{
    exceptions::{PyAttributeError, PyOSError, PyValueError},
    intern,
    prelude::*,
    types::{PyBytes, PyString},
};

use super::{
    lock,
    message::Found,
    payload::{to_text, Payload},
    warnings::warn,
    Direction, Inner, ReceiveGoal, Stream, StreamException, Underlying,
};
use crate::{
    connection::{is_own_pong, ReceiveError},
    protocol::{
        close::{self, CloseCode},
        frame::Opcode,
        ProtocolError,
    },
    python::{
        argument::{bytes_of, Number},
        deflate::{incoming_framer, DeflateFramer},
        errors::{os_error, ENDED},
        waiting::{Scheduler, WaitError},
    },
};

/// How received messages are processed.
enum ReceivePath<'py> {
    /// No extension.
    Plain,
    /// permessage-deflate and nothing else.
    Deflate(Bound<'py, DeflateFramer>),
    /// Filters of a handler's own.
    Filters,
}

/// What a call has found in place of the bytes that it needs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// The end of what the peer sends.
    OfStream,
    /// A connection that was closed on this side.
    Ours,
}

impl Inner {
    pub(super) fn receive_message<'py>(
        &self,
        stream: &Bound<'py, Stream>,
        awaited: ReceiveGoal,
        scheduler: &dyn Scheduler,
    ) -> Result<Bound<'py, PyAny>, WaitError> {
        let py = stream.py();
        let underlying = self.begin_receiving(py, scheduler)?;
        if let (Underlying::Native(connection), ReceiveGoal::Message) = (&underlying, awaited) {
            let transport = &connection.get().transport;
            if !transport.is_more_buffered() {
                scheduler.await_input(py, transport)?;
            }
        }
        self.receive(stream, &underlying, awaited, scheduler)
    }

    #[inline(never)]
    fn begin_receiving<'py>(
        &self,
        py: Python<'py>,
        scheduler: &dyn Scheduler,
    ) -> Result<Underlying<'py>, WaitError> {
        scheduler.yield_if_over_budget(py)?;
        if self.client_terminated(py)? {
            return Err(StreamException::BadOperation
                .with(py, "Requested receive_message after receiving a closing handshake")
                .into());
        }
        Ok(self.underlying(py)?)
    }

    /// Not inlined: the stack of a handler that waits in the hub is copied, so it should be small.
    #[inline(never)]
    fn receive<'py>(
        &self,
        stream: &Bound<'py, Stream>,
        underlying: &Underlying<'py>,
        awaited: ReceiveGoal,
        scheduler: &dyn Scheduler,
    ) -> Result<Bound<'py, PyAny>, WaitError> {
        let py = stream.py();
        let mut is_first = true;
        loop {
            if let (false, Underlying::Native(connection)) = (is_first, underlying) {
                // a peer may send control frames without end, so let others run in between
                scheduler.pause(py, &connection.get().transport)?;
            }
            is_first = false;
            if self.is_plain(py, Direction::Incoming) {
                if let Some(message) = self.receive_whole(py, underlying, scheduler)? {
                    return Ok(message);
                }
            }
            if let Some(message) = self.receive_any(stream, underlying, awaited, scheduler)? {
                return Ok(message);
            }
        }
    }

    /// The next message in any form. `None` if a control frame has been processed instead.
    #[inline(never)]
    fn receive_any<'py>(
        &self,
        stream: &Bound<'py, Stream>,
        underlying: &Underlying<'py>,
        awaited: ReceiveGoal,
        scheduler: &dyn Scheduler,
    ) -> Result<Option<Bound<'py, PyAny>>, WaitError> {
        let py = stream.py();
        let (opcode, payload) = match self.incoming(py)? {
            ReceivePath::Filters => match self.next_filtered(py, underlying, scheduler)? {
                Some((opcode, message)) => (opcode, Payload::Bytes(message)),
                None => return Ok(None),
            },
            ReceivePath::Plain => self.next(py, underlying, None, awaited, scheduler)?,
            ReceivePath::Deflate(framer) => {
                self.next(py, underlying, Some(&framer), awaited, scheduler)?
            }
        };
        self.last_opcode.store(opcode.value(), Ordering::Relaxed);
        if let Opcode::TEXT | Opcode::BINARY = opcode {
            underlying.note_message_received(opcode, payload.size());
        }
        scheduler.charge_bytes(payload.size());
        let payload = match &payload {
            Payload::Bytes(bytes) => &bytes[..],
            Payload::Made(object, _) => return Ok(Some(object.clone())),
        };
        match opcode {
            Opcode::TEXT => return Ok(Some(to_text(py, payload)?)),
            Opcode::BINARY => return Ok(Some(PyBytes::new(py, payload).into_any())),
            Opcode::CLOSE => {
                self.process_close(py, payload)?;
                return Ok(Some(py.None().into_bound(py)));
            }
            Opcode::PING => self.process_ping(stream, payload)?,
            Opcode::PONG => self.process_pong(py, payload)?,
            other => {
                let error = ProtocolError::ReservedOpcode(other.value());
                return Err(underlying.protocol_error(py, &error).into());
            }
        }
        Ok(None)
    }

    /// The next message of a stream without filters in its usual form: in one frame, and received
    /// already. `None` says nothing of what comes.
    fn receive_whole<'py>(
        &self,
        py: Python<'py>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Underlying::Native(connection) = underlying else { return Ok(None) };
        if self.is_unfinished.load(Ordering::Relaxed) {
            return Ok(None);
        }
        let rules = self.rules(underlying, false);
        let transport = &connection.get().transport;
        // nothing is found that is compressed, as these rules do not allow it
        let Some(Found::Made(opcode, Payload::Made(message, size))) =
            self.take_whole(py, underlying, scheduler, transport, rules)?
        else {
            return Ok(None);
        };
        self.last_opcode.store(opcode.value(), Ordering::Relaxed);
        transport.note_message_received(opcode, size);
        scheduler.charge_bytes(size);
        Ok(Some(message))
    }

    pub(super) fn process_close(&self, py: Python<'_>, body: &[u8]) -> PyResult<()> {
        self.set(py, intern!(py, "client_terminated"), true)?;
        let underlying = self.underlying(py)?;
        let said =
            close::parse_body(body).map_err(|error| underlying.protocol_error(py, &error))?;
        let code = said.code.unwrap_or(CloseCode::NO_STATUS);
        self.set(py, intern!(py, "ws_close_code"), code.0)?;
        if said.code.is_some() {
            self.set(py, intern!(py, "ws_close_reason"), said.reason)?;
        }
        if self.server_terminated(py, &underlying)? {
            return Ok(());
        }
        let (code, reason) = self.passive_close(py)?;
        self.send_only_close(code.as_ref(), &reason).map(drop)
    }

    /// The code and reason of the answer to a close frame. The handler's passive closing function
    /// decides, if there is one.
    fn passive_close<'py>(&self, py: Python<'py>) -> PyResult<(Option<Number>, Bound<'py, PyAny>)> {
        let empty = || PyString::new(py, "").into_any();
        let request = self.request.bind(py);
        let Some(dispatcher) = request.getattr_opt(intern!(py, "_dispatcher"))? else {
            return Ok((Some(i64::from(CloseCode::NORMAL.0).into()), empty()));
        };
        let answer =
            dispatcher.call_method1(intern!(py, "passive_closing_handshake"), (request,))?;
        let [code, reason] = unpack(&answer)?;
        let code = code.extract::<Option<Number>>()?;
        if reason.is_none() {
            return Ok((code, empty()));
        }
        if code.is_none() && reason.len()? > 0 {
            warn(py, "Handler specified reason despite code being None")?;
            return Ok((code, empty()));
        }
        Ok((code, reason))
    }

    pub(super) fn process_ping(&self, stream: &Bound<'_, Stream>, body: &[u8]) -> PyResult<()> {
        let py = stream.py();
        let body = PyBytes::new(py, body).into_any();
        if self.call_hook(py, intern!(py, "on_ping_handler"), &body)? {
            return Ok(());
        }
        self.send_control(Opcode::PONG, &body)
    }

    pub(super) fn process_pong(&self, py: Python<'_>, body: &[u8]) -> PyResult<()> {
        if is_own_pong(body) {
            return Ok(());
        }
        let mut pings = lock(&self.pings);
        if let Some(answered) = pings.iter().position(|ping| ping == body) {
            // the peer need not answer the pings before it (RFC 6455 5.5.3)
            pings.drain(..=answered);
        }
        drop(pings);
        let body = PyBytes::new(py, body).into_any();
        self.call_hook(py, intern!(py, "on_pong_handler"), &body).map(|_| ())
    }

    /// Calls a hook of the request. Returns `false` if there is none, or if the hook raises an
    /// `AttributeError`, as in pywebsocket.
    fn call_hook(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        body: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let request = self.request.bind(py);
        let Some(hook) = request.getattr_opt(name)? else { return Ok(false) };
        if !hook.is_truthy()? {
            return Ok(false);
        }
        match hook.call1((request, body)) {
            Ok(_) => Ok(true),
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn incoming<'py>(&self, py: Python<'py>) -> PyResult<ReceivePath<'py>> {
        if self.is_plain(py, Direction::Incoming) {
            return Ok(ReceivePath::Plain);
        }
        let (frame_filters, message_filters) = self.incoming_filters(py)?;
        if frame_filters.is_empty() && message_filters.is_empty() {
            return Ok(ReceivePath::Plain);
        }
        Ok(incoming_framer(&frame_filters, &message_filters)
            .map_or(ReceivePath::Filters, ReceivePath::Deflate))
    }

    pub(super) fn incoming_filters<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, pyo3::types::PyList>, Bound<'py, pyo3::types::PyList>)> {
        self.filters(
            py,
            intern!(py, "incoming_frame_filters"),
            intern!(py, "incoming_message_filters"),
        )
    }

    /// Calls a Python connection's `read` once.
    pub(super) fn python_read<'py>(
        &self,
        connection: &Bound<'py, PyAny>,
        wanted: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = connection.py();
        let bytes = match connection.call_method1(intern!(py, "read"), (wanted,)) {
            Ok(bytes) if !bytes.is_truthy()? => {
                return Err(self.end_of_stream(py, wanted, End::OfStream));
            }
            Ok(bytes) => bytes,
            Err(error) if error.is_instance_of::<PyOSError>(py) => {
                let text = error.value(py).str()?.to_string_lossy().into_owned();
                return Err(io_failure(py, wanted, &text));
            }
            Err(error) => return Err(error),
        };
        bytes_of(&bytes)
    }

    #[cold]
    pub(super) fn receive_error(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
        error: ReceiveError,
    ) -> PyErr {
        if let Underlying::Native(connection) = underlying {
            if let Some(mut half) = connection.get().transport.try_receive_half() {
                self.note_begun(half.reader());
            }
        }
        match error {
            ReceiveError::Protocol(error) => underlying.protocol_error(py, &error),
            ReceiveError::Io(wanted, error) if error.kind() == io::ErrorKind::NotConnected => {
                // the connection was closed on this side, when the handler or the server ended
                self.end_of_stream(py, wanted, End::Ours)
            }
            ReceiveError::Io(wanted, error) => {
                let text = os_error(&error)
                    .value(py)
                    .str()
                    .map_or_else(|_| error.to_string(), |text| text.to_string_lossy().into_owned());
                io_failure(py, wanted, &text)
            }
            ReceiveError::End(wanted) => self.end_of_stream(py, wanted, End::OfStream),
            ReceiveError::Answered => self.end_of_stream(py, 1, End::OfStream),
        }
    }

    fn end_of_stream(&self, py: Python<'_>, wanted: u64, end: End) -> PyErr {
        let (address, underlying) = match (self.remote_addr(py), self.underlying(py)) {
            (Ok(address), Ok(underlying)) => (address, underlying),
            (Err(error), _) | (_, Err(error)) => return error,
        };
        let (what, is_ended) = match underlying {
            Underlying::Native(connection) => {
                let transport = &connection.get().transport;
                (transport.expiry(), end == End::Ours && transport.closing().has_handler_ended())
            }
            Underlying::Python(_) => (None, false),
        };
        if is_ended {
            return StreamException::ConnectionEnded.with(
                py,
                what.map_or_else(
                    || ENDED.to_owned(),
                    |expiry| format!("{ENDED}; the peer {expiry}"),
                ),
            );
        }
        let what = what.map_or_else(|| "closed connection".to_owned(), |expiry| expiry.to_string());
        let text = format!("Receiving {wanted} byte failed. Peer (({address},)) {what}");
        StreamException::ConnectionTerminated.with(py, text)
    }
}

fn io_failure(py: Python<'_>, wanted: u64, text: &str) -> PyErr {
    let text = format!("Receiving {wanted} byte failed. IOError ({text}) occurred");
    StreamException::ConnectionTerminated.with(py, text)
}

/// Unpacks two values from an iterable, as an assignment does (Python reference 7.2).
fn unpack<'py>(values: &Bound<'py, PyAny>) -> PyResult<[Bound<'py, PyAny>; 2]> {
    let mut values = values.try_iter()?;
    let wrong = |found| PyValueError::new_err(format!("{found} values to unpack (expected 2)"));
    let mut next = || values.next().transpose();
    let (Some(first), Some(second)) = (next()?, next()?) else {
        return Err(wrong("not enough"));
    };
    if next()?.is_some() {
        return Err(wrong("too many"));
    }
    Ok([first, second])
}
