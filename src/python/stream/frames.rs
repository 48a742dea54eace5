//! Raw bytes and single frames of a `Stream`, for handlers that do not use messages or have filters
//! of their own.

use std::sync::atomic::Ordering;

use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyType},
};

use super::{warnings::warn_non_minimal, FrameFields, Inner, StreamException, Underlying};
use crate::{
    connection::ReceiveError,
    protocol::{
        frame::{Frame, Opcode, MAX_CONTROL_PAYLOAD},
        receive::{MessageReader, Rules},
        ProtocolError,
    },
    python::{
        argument::bytes_of,
        connection::read_exactly,
        waiting::{self, Scheduler, WaitError},
    },
};

impl Inner {
    /// Notes that the handler reads raw frames, so that the keepalive thread must not read in its
    /// place.
    pub(super) fn note_raw(&self, py: Python<'_>) -> PyResult<()> {
        if let Underlying::Native(connection) = self.underlying(py)? {
            connection.get().transport.note_raw();
        }
        Ok(())
    }

    pub(super) fn receive_bytes<'py>(
        &self,
        py: Python<'py>,
        length: u64,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let underlying = self.underlying(py)?;
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        match &underlying {
            Underlying::Native(connection) => {
                let transport = &connection.get().transport;
                let bytes = read_exactly(py, transport, wanted)?.map_err(|error| {
                    self.receive_error(py, &underlying, ReceiveError::Io(length, error))
                })?;
                if bytes.len() < wanted {
                    let missing = length - bytes.len() as u64;
                    return Err(self.receive_error(py, &underlying, ReceiveError::End(missing)));
                }
                Ok(PyBytes::new(py, &bytes))
            }
            Underlying::Python(connection) => {
                let mut bytes = self.python_input.with(|input| std::mem::take(&mut input.bytes));
                while bytes.len() < wanted {
                    let missing = (wanted - bytes.len()) as u64;
                    bytes.extend_from_slice(self.python_read(connection, missing)?.as_bytes());
                }
                let rest = bytes.split_off(wanted);
                self.python_input.with(|input| input.bytes = rest);
                Ok(PyBytes::new(py, &bytes))
            }
        }
    }

    pub(super) fn receive_frame<'py>(
        &self,
        py: Python<'py>,
        scheduler: &dyn Scheduler,
    ) -> Result<FrameFields<'py>, WaitError> {
        let underlying = self.underlying(py)?;
        let Frame { header, payload } = self.next_frame(py, &underlying, scheduler)?;
        if !header.is_minimal() {
            warn_non_minimal(py, &header)?;
        }
        let bit = |mask: u8| u8::from(header.reserved & mask != 0);
        let payload = PyBytes::new(py, &payload);
        let opcode = header.opcode.value();
        Ok((opcode, payload, u8::from(header.fin), bit(0b100), bit(0b010), bit(0b001)))
    }

    pub(super) fn receive_frame_object<'py>(
        &self,
        py: Python<'py>,
        scheduler: &dyn Scheduler,
    ) -> Result<Bound<'py, PyAny>, WaitError> {
        static FRAME: PyOnceLock<Py<PyType>> = PyOnceLock::new();
        let (opcode, payload, fin, rsv1, rsv2, rsv3) = self.receive_frame(py, scheduler)?;
        let class = FRAME.import(py, "fastwsh.pywebsocket.stream", "Frame")?;
        Ok(class.call1((fin, rsv1, rsv2, rsv3, opcode, payload))?)
    }

    pub(super) fn receive_filtered_frame<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let frame = self
            .receive_frame_object(py, &*waiting::current_scheduler())
            .map_err(WaitError::into_exception)?;
        let (fin, opcode, _) = frame_fields(&frame)?;
        if !fin {
            return Err(StreamException::InvalidFrame
                .with(py, "Segmented frames must not be received via receive_filtered_frame()"));
        }
        if opcode != Opcode::TEXT && opcode != Opcode::BINARY {
            return Err(StreamException::InvalidFrame
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
        let underlying = self.underlying(py)?;
        let push = |reader: &mut MessageReader| {
            reader.set_limits(underlying.limits());
            let pushed = reader.push_frame(opcode, fin, payload)?;
            self.note_begun(reader);
            Ok(pushed)
        };
        let pushed = self.python_input.with(|own| {
            let half = match &underlying {
                Underlying::Native(connection) if !own.reader.is_mid_message() => {
                    connection.get().transport.try_receive_half()
                }
                _ => None,
            };
            // another caller that receives meanwhile may hold the half until the peer sends more
            match half {
                Some(mut half) => push(half.reader()),
                None => push(&mut own.reader),
            }
        });
        match pushed {
            Ok(None) => Ok(None),
            Ok(Some((kind, message))) => {
                self.last_opcode.store(kind.value(), Ordering::Relaxed);
                Ok(Some(PyBytes::new(py, &message)))
            }
            Err(error) => Err(underlying.protocol_error(py, &error)),
        }
    }

    /// Notes the opcode of a message that has begun and not ended.
    pub(super) fn note_begun(&self, reader: &MessageReader) {
        if let Some(opcode) = reader.begun() {
            self.last_opcode.store(opcode.value(), Ordering::Relaxed);
        }
    }

    /// The next frame, unchanged.
    fn next_frame(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
    ) -> Result<Frame, WaitError> {
        let rules = Rules {
            expect_masked: self.expects_masked(),
            deflate: false,
            late_rsv1: false,
            limits: underlying.limits(),
        };
        match underlying {
            Underlying::Native(connection) => {
                let transport = &connection.get().transport;
                scheduler.yield_if_over_budget(py)?;
                let waited =
                    scheduler.waiting(py, transport, |wait| transport.wait_frame(rules, wait))?;
                Ok(waited.map_err(|error| self.receive_error(py, underlying, error))?)
            }
            Underlying::Python(connection) => loop {
                let looked = self.python_input.with(|input| input.poll_frame(rules));
                if let Some(frame) =
                    looked.found.map_err(|error| underlying.protocol_error(py, &error))?
                {
                    return Ok(frame);
                }
                let bytes = self.python_read(connection, looked.wanted)?;
                self.python_input.with(|input| input.bytes.extend_from_slice(bytes.as_bytes()));
            },
        }
    }

    /// The next message or control frame after the handler's own filters; `None` for a fragment.
    pub(super) fn next_filtered(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
    ) -> Result<Option<(Opcode, Vec<u8>)>, WaitError> {
        let frame = self.receive_frame_object(py, scheduler)?;
        let (_, opcode, payload) = frame_fields(&frame)?;
        if opcode.is_control() && payload.as_bytes().len() as u64 > MAX_CONTROL_PAYLOAD {
            return Err(underlying.protocol_error(py, &ProtocolError::ControlFrameTooLong).into());
        }
        let (frame_filters, message_filters) = self.incoming_filters(py)?;
        for filter in &frame_filters {
            filter.call_method1(intern!(py, "filter"), (&frame,))?;
        }
        let mut reserved = 0;
        for name in [intern!(py, "rsv1"), intern!(py, "rsv2"), intern!(py, "rsv3")] {
            reserved = (reserved << 1) | u8::from(frame.getattr(name)?.is_truthy()?);
        }
        if reserved != 0 {
            return Err(underlying
                .protocol_error(py, &ProtocolError::ReservedBits(reserved))
                .into());
        }
        let Some(message) = self.message_from_frame(&frame)? else { return Ok(None) };
        let opcode = Opcode::new(self.last_opcode.load(Ordering::Relaxed))
            .map_err(super::super::errors::value_error)?;
        let mut message = message.into_any();
        for filter in &message_filters {
            message = filter.call_method1(intern!(py, "filter"), (&message,))?;
        }
        Ok(Some((opcode, bytes_of(&message)?.as_bytes().to_vec())))
    }
}

/// `fin`, `opcode` and `payload` of a frame object.
fn frame_fields<'py>(frame: &Bound<'py, PyAny>) -> PyResult<(bool, Opcode, Bound<'py, PyBytes>)> {
    let py = frame.py();
    let opcode: u8 = frame.getattr(intern!(py, "opcode"))?.extract()?;
    let opcode = Opcode::new(opcode).map_err(super::super::errors::value_error)?;
    let fin = frame.getattr(intern!(py, "fin"))?.is_truthy()?;
    let payload = bytes_of(&frame.getattr(intern!(py, "payload"))?)?;
    Ok((fin, opcode, payload))
}
