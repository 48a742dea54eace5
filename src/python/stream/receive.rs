//! The receiving half of `Stream`.

use std::{io, sync::atomic::Ordering};

use pyo3::{
    exceptions::{PyAttributeError, PyOSError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyString, PyType},
};

use super::{
    lock,
    wait::{buffered_event, poll_frame, wait_event, wait_frame, Awaited, Failure, Received},
    Inner, Kind, Link, Stream,
};
use crate::{
    protocol::{
        close::{self, CloseCode},
        frame::{Frame, FrameHeader, Opcode, MAX_CONTROL_PAYLOAD},
        receive::{Event, Message, Rules},
        ProtocolError,
    },
    python::{
        connection::read_exactly,
        deflate::{incoming_framer, DeflateFramer},
        errors::{invalid_utf8, os_error},
    },
};

/// How messages pass on their way in.
enum Incoming<'py> {
    /// No extension.
    Plain,
    /// permessage-deflate and nothing else.
    Deflate(Bound<'py, DeflateFramer>),
    /// Filters of a handler's own.
    Filters,
}

impl Inner {
    pub(super) fn receive_message<'py>(
        &self,
        stream: &Bound<'py, Stream>,
        awaited: Awaited,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = stream.py();
        if self.client_terminated(py)? {
            return Err(Kind::BadOperation
                .with(py, "Requested receive_message after receiving a closing handshake"));
        }
        let link = self.link(py)?;
        loop {
            let (opcode, payload) = match self.incoming(py)? {
                Incoming::Filters => match self.next_filtered(py, &link)? {
                    Some(message) => message,
                    None => continue,
                },
                Incoming::Plain => self.next(py, &link, None, awaited)?,
                Incoming::Deflate(framer) => self.next(py, &link, Some(&framer), awaited)?,
            };
            self.last_opcode.store(opcode.value(), Ordering::Relaxed);
            match opcode {
                Opcode::TEXT => return to_text(py, &payload),
                Opcode::BINARY => return Ok(PyBytes::new(py, &payload).into_any()),
                Opcode::CLOSE => {
                    self.process_close(py, &payload)?;
                    return Ok(py.None().into_bound(py));
                }
                Opcode::PING => self.process_ping(stream, &payload)?,
                Opcode::PONG => self.process_pong(py, &payload)?,
                other => {
                    let error = ProtocolError::ReservedOpcode(other.value());
                    return Err(link.protocol_error(py, &error));
                }
            }
        }
    }

    pub(super) fn process_close(&self, py: Python<'_>, body: &[u8]) -> PyResult<()> {
        self.set(py, intern!(py, "client_terminated"), true)?;
        let link = self.link(py)?;
        let said = close::parse_body(body).map_err(|error| link.protocol_error(py, &error))?;
        let code = said.code.unwrap_or(CloseCode::NO_STATUS);
        self.set(py, intern!(py, "ws_close_code"), code.0)?;
        if said.code.is_some() {
            self.set(py, intern!(py, "ws_close_reason"), said.reason)?;
        }
        if self.server_terminated(py, &link)? {
            return Ok(());
        }
        let (code, reason) = self.passive_close(py)?;
        self.send_closing_handshake(code, &reason)
    }

    /// What to answer a close frame with; the handler's passive hook decides if there is one.
    fn passive_close<'py>(&self, py: Python<'py>) -> PyResult<(Option<i64>, Bound<'py, PyAny>)> {
        let empty = || PyString::new(py, "").into_any();
        let request = self.request.bind(py);
        let Some(dispatcher) = request.getattr_opt(intern!(py, "_dispatcher"))? else {
            return Ok((Some(CloseCode::NORMAL.0.into()), empty()));
        };
        let (code, reason): (Option<i64>, Bound<'py, PyAny>) = dispatcher
            .call_method1(intern!(py, "passive_closing_handshake"), (request,))?
            .extract()?;
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
        let mut pings = lock(&self.pings);
        if let Some(answered) = pings.iter().position(|ping| ping == body) {
            // those before it were ignored by the peer (RFC 6455 5.5.3)
            pings.drain(..=answered);
        }
        drop(pings);
        let body = PyBytes::new(py, body).into_any();
        self.call_hook(py, intern!(py, "on_pong_handler"), &body).map(|_| ())
    }

    /// Calls a hook of the request; `false` if there is none. An `AttributeError` that comes out
    /// of it counts as none, as in pywebsocket.
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

    pub(super) fn receive_bytes<'py>(
        &self,
        py: Python<'py>,
        length: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let link = self.link(py)?;
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        match &link {
            Link::Native(connection) => {
                let transport = &connection.get().transport;
                let bytes = py
                    .detach(|| {
                        transport.flush_before_wait();
                        read_exactly(&mut transport.inbound(), wanted)
                    })
                    .map_err(|error| self.failure(py, &link, Failure::Io(length, error)))?;
                if bytes.len() < wanted {
                    let missing = length - bytes.len() as u64;
                    return Err(self.failure(py, &link, Failure::End(missing)));
                }
                Ok(PyBytes::new(py, &bytes))
            }
            Link::Duck(connection) => {
                let mut bytes = Vec::new();
                std::mem::swap(&mut bytes, &mut lock(&self.duck_input));
                while bytes.len() < wanted {
                    let missing = (wanted - bytes.len()) as u64;
                    bytes.extend_from_slice(self.duck_read(connection, missing)?.as_bytes());
                }
                *lock(&self.duck_input) = bytes.split_off(wanted);
                Ok(PyBytes::new(py, &bytes))
            }
        }
    }

    pub(super) fn receive_frame<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(u8, Bound<'py, PyBytes>, u8, u8, u8, u8)> {
        let link = self.link(py)?;
        let Frame { header, payload } = self.next_frame(py, &link)?;
        if !header.is_minimal() {
            warn_non_minimal(py, &header)?;
        }
        let bit = |mask: u8| u8::from(header.reserved & mask != 0);
        let payload = PyBytes::new(py, &payload);
        let opcode = header.opcode.value();
        Ok((opcode, payload, u8::from(header.fin), bit(0b100), bit(0b010), bit(0b001)))
    }

    pub(super) fn receive_frame_object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        static FRAME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let (opcode, payload, fin, rsv1, rsv2, rsv3) = self.receive_frame(py)?;
        let class = FRAME.import(py, "fastwsh.pywebsocket.stream", "Frame")?;
        class.call1((fin, rsv1, rsv2, rsv3, opcode, payload))
    }

    pub(super) fn receive_filtered_frame<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let frame = self.receive_frame_object(py)?;
        let (fin, opcode, _) = frame_fields(&frame)?;
        if !fin {
            return Err(Kind::InvalidFrame
                .with(py, "Segmented frames must not be received via receive_filtered_frame()"));
        }
        if opcode != Opcode::TEXT && opcode != Opcode::BINARY {
            return Err(Kind::InvalidFrame
                .with(py, "Control frames must not be received via receive_filtered_frame()"));
        }
        let (frame_filters, message_filters) = self.incoming_filters(py)?;
        for filter in &frame_filters {
            filter.call_method1(intern!(py, "filter"), (&frame,))?;
        }
        let payload = intern!(py, "payload");
        for filter in &message_filters {
            let filtered =
                filter.call_method1(intern!(py, "filter"), (frame.getattr(payload)?,))?;
            frame.setattr(payload, filtered)?;
        }
        Ok(frame)
    }

    pub(super) fn message_from_frame<'py>(
        &self,
        frame: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let py = frame.py();
        let (fin, opcode, payload) = frame_fields(frame)?;
        let payload = payload.as_bytes().to_vec();
        let pushed = self.reader(py).push_frame(opcode, fin, payload);
        match pushed {
            Ok(None) => Ok(None),
            Ok(Some((kind, message))) => {
                self.last_opcode.store(kind.value(), Ordering::Relaxed);
                Ok(Some(PyBytes::new(py, &message)))
            }
            Err(error) => Err(self.link(py)?.protocol_error(py, &error)),
        }
    }

    fn incoming<'py>(&self, py: Python<'py>) -> PyResult<Incoming<'py>> {
        let (frame_filters, message_filters) = self.incoming_filters(py)?;
        if frame_filters.is_empty() && message_filters.is_empty() {
            return Ok(Incoming::Plain);
        }
        Ok(incoming_framer(&frame_filters, &message_filters)
            .map_or(Incoming::Filters, Incoming::Deflate))
    }

    fn incoming_filters<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Bound<'py, pyo3::types::PyList>, Bound<'py, pyo3::types::PyList>)> {
        self.filters(
            py,
            intern!(py, "incoming_frame_filters"),
            intern!(py, "incoming_message_filters"),
        )
    }

    /// The next message or control frame, inflated.
    fn next(
        &self,
        py: Python<'_>,
        link: &Link<'_>,
        framer: Option<&Bound<'_, DeflateFramer>>,
        awaited: Awaited,
    ) -> PyResult<(Opcode, Vec<u8>)> {
        let max_message_bytes = link.max_message_bytes();
        let rules = Rules {
            expect_masked: self.expect_masked,
            deflate: framer.is_some(),
            late_rsv1: link.strict_compat(),
            max_message_bytes,
        };
        let Received { event, non_minimal } = match link {
            Link::Native(connection) => {
                let transport = &connection.get().transport;
                match buffered_event(transport, &self.reader, rules) {
                    Ok(None) => py.detach(|| wait_event(transport, &self.reader, rules, awaited)),
                    Ok(Some(received)) => Ok(received),
                    Err(failure) => Err(failure),
                }
                .map_err(|failure| self.failure(py, link, failure))?
            }
            Link::Duck(connection) => self.duck_event(connection, link, rules)?,
        };
        if let Some(header) = non_minimal {
            warn_non_minimal(py, &header)?;
        }
        let Message { opcode, payload, compressed } = match event {
            Event::Message(message) => message,
            Event::Ping(body) => return Ok((Opcode::PING, body)),
            Event::Pong(body) => return Ok((Opcode::PONG, body)),
            Event::Close(body) => return Ok((Opcode::CLOSE, body)),
        };
        match framer.filter(|_| compressed) {
            None => Ok((opcode, payload)),
            Some(framer) => framer
                .get()
                .inflate(py, &payload, max_message_bytes)
                .map(|payload| (opcode, payload))
                .map_err(|error| link.protocol_error(py, &error)),
        }
    }

    fn duck_event(
        &self,
        connection: &Bound<'_, PyAny>,
        link: &Link<'_>,
        rules: Rules,
    ) -> PyResult<Received> {
        let py = connection.py();
        loop {
            let (polled, non_minimal, wanted) = {
                let mut kept = lock(&self.duck_input);
                let mut reader = self.reader(py);
                reader.set_rules(rules);
                let mut input = &kept[..];
                let polled = reader.poll(&mut input);
                let used = kept.len() - input.len();
                kept.drain(..used);
                (polled, reader.take_non_minimal(), reader.wanted(&kept))
            };
            if let Some(event) = polled.map_err(|error| link.protocol_error(py, &error))? {
                return Ok(Received { event, non_minimal });
            }
            let bytes = self.duck_read(connection, wanted)?;
            lock(&self.duck_input).extend_from_slice(bytes.as_bytes());
        }
    }

    /// The next frame as it came.
    fn next_frame(&self, py: Python<'_>, link: &Link<'_>) -> PyResult<Frame> {
        let masked = self.expect_masked;
        let limit = link.max_message_bytes();
        match link {
            Link::Native(connection) => {
                let transport = &connection.get().transport;
                py.detach(|| wait_frame(transport, &self.reader, &self.frames, masked, limit))
                    .map_err(|failure| self.failure(py, link, failure))
            }
            Link::Duck(connection) => loop {
                let (polled, wanted) = {
                    let mut kept = lock(&self.duck_input);
                    let mut frames = lock(&self.frames);
                    let mut input = &kept[..];
                    let polled = poll_frame(&mut input, &self.reader, &mut frames, masked, limit);
                    let used = kept.len() - input.len();
                    kept.drain(..used);
                    (polled, frames.wanted(&kept, masked))
                };
                if let Some(frame) = polled.map_err(|error| link.protocol_error(py, &error))? {
                    return Ok(frame);
                }
                let bytes = self.duck_read(connection, wanted)?;
                lock(&self.duck_input).extend_from_slice(bytes.as_bytes());
            },
        }
    }

    /// The next message or control frame through a handler's own filters; `None`: a fragment.
    fn next_filtered(
        &self,
        py: Python<'_>,
        link: &Link<'_>,
    ) -> PyResult<Option<(Opcode, Vec<u8>)>> {
        let frame = self.receive_frame_object(py)?;
        let (_, opcode, payload) = frame_fields(&frame)?;
        if opcode.is_control() && payload.as_bytes().len() as u64 > MAX_CONTROL_PAYLOAD {
            return Err(link.protocol_error(py, &ProtocolError::ControlFrameTooLong));
        }
        let (frame_filters, message_filters) = self.incoming_filters(py)?;
        for filter in &frame_filters {
            filter.call_method1(intern!(py, "filter"), (&frame,))?;
        }
        let mut reserved = 0;
        for name in [intern!(py, "rsv1"), intern!(py, "rsv2"), intern!(py, "rsv3")] {
            reserved = reserved << 1 | u8::from(frame.getattr(name)?.is_truthy()?);
        }
        if reserved != 0 {
            return Err(link.protocol_error(py, &ProtocolError::ReservedBits(reserved)));
        }
        let Some(message) = self.message_from_frame(&frame)? else { return Ok(None) };
        let opcode = Opcode::new(self.last_opcode.load(Ordering::Relaxed))
            .map_err(super::super::errors::value_error)?;
        let mut message = message.into_any();
        for filter in &message_filters {
            message = filter.call_method1(intern!(py, "filter"), (&message,))?;
        }
        Ok(Some((opcode, super::bytes_of(&message)?.as_bytes().to_vec())))
    }

    /// Calls a Python connection's `read` once.
    fn duck_read<'py>(
        &self,
        connection: &Bound<'py, PyAny>,
        wanted: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let py = connection.py();
        let bytes = match connection.call_method1(intern!(py, "read"), (wanted,)) {
            Ok(bytes) if !bytes.is_truthy()? => {
                return Err(self.end_of_stream(py, wanted));
            }
            Ok(bytes) => bytes,
            Err(error) if error.is_instance_of::<PyOSError>(py) => {
                let text = error.value(py).str()?.to_string_lossy().into_owned();
                return Err(io_failure(py, wanted, &text));
            }
            Err(error) => return Err(error),
        };
        super::bytes_of(&bytes)
    }

    fn failure(&self, py: Python<'_>, link: &Link<'_>, failure: Failure) -> PyErr {
        match failure {
            Failure::Protocol(error) => link.protocol_error(py, &error),
            Failure::Io(wanted, error) if error.kind() == io::ErrorKind::NotConnected => {
                // closed on this side, by the end of the handler or of the server
                self.end_of_stream(py, wanted)
            }
            Failure::Io(wanted, error) => {
                let text = os_error(&error)
                    .value(py)
                    .str()
                    .map_or_else(|_| error.to_string(), |text| text.to_string_lossy().into_owned());
                io_failure(py, wanted, &text)
            }
            Failure::End(wanted) => self.end_of_stream(py, wanted),
            Failure::Answered => self.end_of_stream(py, 1),
        }
    }

    fn end_of_stream(&self, py: Python<'_>, wanted: u64) -> PyErr {
        match self.remote_addr(py) {
            Ok(address) => Kind::ConnectionTerminated.with(
                py,
                format!("Receiving {wanted} byte failed. Peer (({address},)) closed connection"),
            ),
            Err(error) => error,
        }
    }
}

fn warn_non_minimal(py: Python<'_>, header: &FrameHeader) -> PyResult<()> {
    let FrameHeader { length, length_octets, .. } = header;
    warn(
        py,
        &format!(
            "Payload length is not encoded using the minimal number of bytes ({length} is encoded \
             using {length_octets} bytes)"
        ),
    )
}

/// A line of the logger that pywebsocket's class had.
fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let logging = py.import("logging")?;
    let logger = logging.call_method1("getLogger", ("pywebsocket3.stream.Stream",))?;
    logger.call_method1("warning", ("%s", text)).map(|_| ())
}

fn io_failure(py: Python<'_>, wanted: u64, text: &str) -> PyErr {
    let text = format!("Receiving {wanted} byte failed. IOError ({text}) occurred");
    Kind::ConnectionTerminated.with(py, text)
}

/// `fin`, `opcode` and `payload` of a frame object.
fn frame_fields<'py>(frame: &Bound<'py, PyAny>) -> PyResult<(bool, Opcode, Bound<'py, PyBytes>)> {
    let py = frame.py();
    let opcode: u8 = frame.getattr(intern!(py, "opcode"))?.extract()?;
    let opcode = Opcode::new(opcode).map_err(super::super::errors::value_error)?;
    let fin = frame.getattr(intern!(py, "fin"))?.is_truthy()?;
    let payload = super::bytes_of(&frame.getattr(intern!(py, "payload"))?)?;
    Ok((fin, opcode, payload))
}

fn to_text<'py>(py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match PyString::from_bytes(py, payload) {
        Ok(text) => Ok(text.into_any()),
        Err(_) => Err(invalid_utf8(py, payload)),
    }
}
