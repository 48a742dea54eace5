//! Arguments as Python takes them: truth instead of `bool`, and numbers of any size. pywebsocket is
//! Python, where a handler may pass whatever a condition or a comparison understands.

use pyo3::{exceptions::PyTypeError, prelude::*, types::PyInt};

/// What counts is whether it is true (Python reference 6.11).
#[derive(Debug, Clone, Copy)]
pub(super) struct Truth(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.is_truthy().map(Self)
    }
}

/// A number that is compared with bounds: one beyond the range of `i128` is beyond them all.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) i128);

impl Number {
    /// For bounds within the range of `i64`.
    pub(super) fn clamped(self) -> i64 {
        i64::try_from(self.0).unwrap_or(if self.0 < 0 { i64::MIN } else { i64::MAX })
    }
}

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(number) = object.extract() {
            // an object that has an index, but cannot be compared, is no number
            object.lt(0)?;
            return Ok(Self(number));
        }
        if !object.is_instance_of::<PyInt>() {
            let kind = object.get_type().name()?;
            return Err(PyTypeError::new_err(format!("a number is needed, not {kind}")));
        }
        Ok(Self(if object.lt(0)? { i128::MIN } else { i128::MAX }))
    }
}
