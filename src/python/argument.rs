//! Arguments as Python functions accept them: any object as a truth value, numbers of any size, and
//! bytes-like objects.
//! pywebsocket is written in Python, so handlers may pass any object that a condition or a
//! comparison accepts.

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBytes, PyInt, PyMemoryView},
};

/// An argument of which only the truth value counts (Python reference 6.11).
#[derive(Debug, Clone, Copy)]
pub(super) struct Truth(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for Truth {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.is_truthy().map(Self)
    }
}

/// A number that is compared with bounds. A number outside of the range of `i128` is outside of all
/// bounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Number(pub(super) i128);

impl Number {
    /// The number, limited to the range of `i64`, for bounds within that range.
    pub(super) fn clamped(self) -> i64 {
        i64::try_from(self.0).unwrap_or(if self.0 < 0 { i64::MIN } else { i64::MAX })
    }
}

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(number) = object.extract() {
            // an object with `__index__` that cannot be compared is not a number
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

/// The bytes of `bytes`, or of anything that is bytes-like.
///
/// `bytes()` alone would make zeros of an integer, and bytes of a list of numbers.
pub(super) fn bytes_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    object.len()?;
    let py = object.py();
    refuse_unless_bytes_like(object)?;
    py.get_type::<PyBytes>().call1((object,))?.cast_into::<PyBytes>().map_err(Into::into)
}

/// Raises a `TypeError` for an object without a buffer, as concatenating it to bytes would.
pub(super) fn refuse_unless_bytes_like(object: &Bound<'_, PyAny>) -> PyResult<()> {
    if object.is_instance_of::<PyBytes>() || PyMemoryView::from(object).is_ok() {
        return Ok(());
    }
    let kind = object.get_type().name()?;
    Err(PyTypeError::new_err(format!("a bytes-like object is required, not '{kind}'")))
}
