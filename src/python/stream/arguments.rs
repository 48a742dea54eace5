//! The arguments of `send_message` and `close_connection`.

use pyo3::{intern, prelude::*};

use super::send::bad_operation;
use crate::{protocol::frame::Opcode, python::argument::Number};

/// Whether a frame ends its message, by any object's truth. pywebsocket asks for it while it builds
/// the frame.
#[derive(Clone, Copy)]
pub(in crate::python) struct EndArgument(pub(in crate::python) bool);

impl<'py> FromPyObject<'_, 'py> for EndArgument {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.is_truthy().map(Self).map_err(|error| bad_operation(object.py(), error))
    }
}

/// The type of a message for the argument `binary`.
#[inline]
pub(in crate::python) fn kind_of(binary: bool) -> Opcode {
    if binary {
        Opcode::BINARY
    } else {
        Opcode::TEXT
    }
}

/// A close code, which may be `None` explicitly.
pub(in crate::python) struct CloseArgument(pub(in crate::python) Option<Number>);

impl From<i64> for CloseArgument {
    fn from(code: i64) -> Self {
        Self(Some(code.into()))
    }
}

impl<'py> FromPyObject<'_, 'py> for CloseArgument {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.extract().map(Self)
    }
}

/// A close reason that may be left out; `None` is no reason, but what a handler has said.
pub(in crate::python) struct ReasonArgument(pub(in crate::python) Option<Py<PyAny>>);

impl ReasonArgument {
    pub(in crate::python) fn or_empty(self, py: Python<'_>) -> Py<PyAny> {
        self.0.unwrap_or_else(|| intern!(py, "").clone().into_any().unbind())
    }
}

impl<'py> FromPyObject<'_, 'py> for ReasonArgument {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Ok(Self(Some(object.to_owned().unbind())))
    }
}
