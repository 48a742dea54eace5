//! The filters by which streams of pywebsocket use permessage-deflate.

use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyList},
    PyClass,
};

use super::DeflateFramer;
use crate::{
    locks::lock,
    protocol::frame::Opcode,
    python::{argument::bytes_of, errors::protocol_error},
};

#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct OutgoingMessageFilter(pub(in crate::python) Py<DeflateFramer>);

#[pymethods]
impl OutgoingMessageFilter {
    #[pyo3(signature = (message, end=true, binary=false))]
    fn filter<'py>(
        &self,
        message: &Bound<'py, PyAny>,
        end: bool,
        binary: bool,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let message = if binary {
            message.clone()
        } else {
            message.call_method1(intern!(py, "encode"), (intern!(py, "utf-8"),))?
        };
        let bytes = bytes_of(&message)?;
        let framer = self.0.get();
        Ok(match framer.deflate(py, bytes.as_bytes(), end, || Ok(()))? {
            Some((output, is_first)) => {
                lock(&framer.outgoing).mark_next |= is_first;
                PyBytes::new(py, &output).into_any()
            }
            None => message,
        })
    }
}

#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct IncomingMessageFilter(pub(in crate::python) Py<DeflateFramer>);

#[pymethods]
impl IncomingMessageFilter {
    fn decompress_next_message(&self) {
        lock(&self.0.get().incoming).inflate_next = true;
    }

    fn filter<'py>(&self, message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = message.py();
        let framer = self.0.get();
        if !std::mem::take(&mut lock(&framer.incoming).inflate_next) {
            return Ok(message.clone());
        }
        let bytes = bytes_of(message)?;
        let output = framer
            .inflate(py, bytes.as_bytes())
            .map_err(|error| protocol_error(py, &error, false))?;
        Ok(PyBytes::new(py, &output).into_any())
    }
}

#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct OutgoingFrameFilter(pub(in crate::python) Py<DeflateFramer>);

#[pymethods]
impl OutgoingFrameFilter {
    fn filter(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        // a control frame may be sent in between
        if !is_control(frame)? && self.0.get().take_mark() {
            frame.setattr(intern!(frame.py(), "rsv1"), 1)?;
        }
        Ok(())
    }
}

#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct IncomingFrameFilter(pub(in crate::python) Py<DeflateFramer>);

#[pymethods]
impl IncomingFrameFilter {
    fn filter(&self, frame: &Bound<'_, PyAny>) -> PyResult<()> {
        let rsv1 = intern!(frame.py(), "rsv1");
        if frame.getattr(rsv1)?.is_truthy()? && !is_control(frame)? {
            lock(&self.0.get().incoming).inflate_next = true;
            frame.setattr(rsv1, 0)?;
        }
        Ok(())
    }
}

/// The framer, if its two filters are the only ones for receiving.
pub(in crate::python) fn incoming_framer<'py>(
    frame_filters: &Bound<'py, PyList>,
    message_filters: &Bound<'py, PyList>,
) -> Option<Bound<'py, DeflateFramer>> {
    let frame_filter = only::<IncomingFrameFilter>(frame_filters)?;
    let message_filter = only::<IncomingMessageFilter>(message_filters)?;
    let framer = &frame_filter.get().0;
    framer.is(&message_filter.get().0).then(|| framer.bind(frame_filters.py()).clone())
}

/// The framer, if its two filters are the only ones for sending.
pub(in crate::python) fn outgoing_framer<'py>(
    frame_filters: &Bound<'py, PyList>,
    message_filters: &Bound<'py, PyList>,
) -> Option<Bound<'py, DeflateFramer>> {
    let frame_filter = only::<OutgoingFrameFilter>(frame_filters)?;
    let message_filter = only::<OutgoingMessageFilter>(message_filters)?;
    let framer = &frame_filter.get().0;
    framer.is(&message_filter.get().0).then(|| framer.bind(frame_filters.py()).clone())
}

fn only<'py, T: PyClass>(filters: &Bound<'py, PyList>) -> Option<Bound<'py, T>> {
    if filters.len() != 1 {
        return None;
    }
    filters.get_item(0).ok()?.cast_into::<T>().ok()
}

pub(super) fn append<T>(options: &Bound<'_, PyAny>, list: &str, filter: T) -> PyResult<()>
where
    T: Into<PyClassInitializer<T>> + PyClass,
{
    let filter = Bound::new(options.py(), filter)?;
    options.getattr(list)?.call_method1(intern!(options.py(), "append"), (filter,)).map(|_| ())
}

fn is_control(frame: &Bound<'_, PyAny>) -> PyResult<bool> {
    let opcode: u8 = frame.getattr(intern!(frame.py(), "opcode"))?.extract()?;
    Ok(Opcode::new(opcode & 0xf).is_ok_and(Opcode::is_control))
}
