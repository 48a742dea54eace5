//! Payloads of received messages, in the form for the handler.

use pyo3::{prelude::*, types::PyString};

use crate::python::errors::invalid_utf8;

/// The payload of a message or control frame.
pub(super) enum Payload<'py> {
    Bytes(Vec<u8>),
    /// The object for the handler, and the number of bytes from which it was made.
    Made(Bound<'py, PyAny>, usize),
}

impl Payload<'_> {
    /// The size in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Made(_, size) => *size,
        }
    }
}

pub(super) fn to_text<'py>(py: Python<'py>, payload: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    match PyString::from_bytes(py, payload) {
        Ok(text) => Ok(text.into_any()),
        Err(_) => Err(invalid_utf8(py, payload)),
    }
}
