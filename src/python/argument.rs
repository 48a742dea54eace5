//! Arguments as Python functions accept them: any object as a truth value, numbers of any size, and
//! bytes-like objects.
//! pywebsocket is written in Python, so handlers may pass any object that a condition or a
//! comparison accepts.

use pyo3::{
    exceptions::PyTypeError,
    intern,
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
pub(super) struct Number {
    value: i128,
    /// Whether it is an integer. A `float` or a `Decimal` can be compared as well, but not packed.
    is_integer: bool,
}

impl Number {
    /// The number without its fraction.
    pub(super) fn value(self) -> i128 {
        self.value
    }

    /// The number, limited to the range of `i64`, for bounds within that range.
    pub(super) fn clamped(self) -> i64 {
        i64::try_from(self.value).unwrap_or(if self.value < 0 { i64::MIN } else { i64::MAX })
    }

    /// # Errors
    /// `struct.error` if it is no integer, as Python's `struct.pack` raises.
    pub(super) fn check_packable(self, py: Python<'_>) -> PyResult<()> {
        if self.is_integer {
            return Ok(());
        }
        let error = py.import("struct")?.getattr("error")?;
        Err(PyErr::from_value(error.call1(("required argument is not an integer",))?))
    }

    /// # Errors
    /// `TypeError` if it is no integer, as operators for bits raise.
    pub(super) fn check_integer(self) -> PyResult<()> {
        if self.is_integer {
            return Ok(());
        }
        Err(PyTypeError::new_err("an integer is needed, not a number with a fraction"))
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self { value: value.into(), is_integer: true }
    }
}

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        // an object with `__index__` that cannot be compared is not a number
        let is_negative = object.lt(0).map_err(|error| {
            let kind = object.get_type().name();
            kind.map_or(error, |kind| {
                PyTypeError::new_err(format!("a number is needed, not {kind}"))
            })
        })?;
        // with `__index__`, which numpy's integers have
        if let Ok(value) = object.extract::<i64>() {
            return Ok(value.into());
        }
        let beyond = if is_negative { i128::MIN } else { i128::MAX };
        if object.is_instance_of::<PyInt>() {
            return Ok(Self { value: beyond, is_integer: true });
        }
        let whole = object.call_method0(intern!(object.py(), "__int__"));
        let value = whole.and_then(|whole| whole.extract()).unwrap_or(beyond);
        Ok(Self { value, is_integer: false })
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
