//! Arguments as Python functions accept them: any object as a truth value, numbers of any size, and
//! bytes-like objects.
//! pywebsocket is written in Python, so handlers may pass any object that a condition or a
//! comparison accepts.

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyBytes, PyInt, PyMemoryView, PyString},
    PyTraverseError, PyVisit,
};

/// An argument of which only the truth value counts (Python reference 6.11).
#[derive(Debug, Clone, Copy)]
pub(super) struct Truthy(pub(super) bool);

impl<'py> FromPyObject<'_, 'py> for Truthy {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        object.is_truthy().map(Self)
    }
}

/// A number, which may be any object that can be compared.
///
/// A plain `int` is read at once. Any other object is asked where pywebsocket asks it, and with the
/// same operators: an exception of its own methods reaches the handler, and what cannot be compared,
/// such as `nan`, is within all bounds.
#[derive(Debug)]
pub(super) enum Number {
    Int(i64),
    Object(Py<PyAny>),
}

impl Number {
    pub(super) fn is_below(&self, py: Python<'_>, bound: u64) -> PyResult<bool> {
        match self {
            Self::Int(value) => Ok(i128::from(*value) < i128::from(bound)),
            Self::Object(object) => object.bind(py).lt(bound),
        }
    }

    pub(super) fn is_above(&self, py: Python<'_>, bound: u64) -> PyResult<bool> {
        match self {
            Self::Int(value) => Ok(i128::from(*value) > i128::from(bound)),
            Self::Object(object) => object.bind(py).gt(bound),
        }
    }

    pub(super) fn equals(&self, py: Python<'_>, other: u16) -> PyResult<bool> {
        match self {
            Self::Int(value) => Ok(*value == i64::from(other)),
            Self::Object(object) => object.bind(py).eq(other),
        }
    }

    /// The number as an operand of bitwise operators.
    ///
    /// # Errors
    /// `TypeError` if it is no integer.
    pub(super) fn bits<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Int(value) => Ok(value.into_pyobject(py)?.into_any()),
            Self::Object(object) => object.bind(py).bitor(0),
        }
    }

    /// The number as `struct.pack` packs it.
    ///
    /// # Errors
    /// `struct.error` if it is no integer, or too large.
    pub(super) fn packed(&self, py: Python<'_>) -> PyResult<u64> {
        if let Self::Int(value) = self {
            if let Ok(value) = u64::try_from(*value) {
                return Ok(value);
            }
        }
        let number = match self {
            Self::Int(value) => value.into_pyobject(py)?.into_any(),
            Self::Object(object) => object.bind(py).clone(),
        };
        let packed = py.import("struct")?.call_method1("pack", ("=Q", number))?;
        Ok(u64::from_ne_bytes(packed.extract()?))
    }

    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        match self {
            Self::Int(_) => Ok(()),
            Self::Object(object) => visit.call(object),
        }
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl<'py> FromPyObject<'_, 'py> for Number {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if object.is_exact_instance_of::<PyInt>() {
            if let Ok(value) = object.extract() {
                return Ok(Self::Int(value));
            }
        }
        Ok(Self::Object(object.to_owned().unbind()))
    }
}

/// The bytes of a message, which is `bytes` or anything that is bytes-like and has a length.
pub(super) fn bytes_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    object.len()?;
    // text of numpy has a buffer
    if object.is_instance_of::<PyString>() {
        return Err(not_bytes_like(object));
    }
    memory_of(object)
}

/// The memory of `bytes`, or of anything that is bytes-like, as a socket would send it.
///
/// `bytes()` would make zeros of an integer, also of one of numpy, and bytes of a list of numbers.
pub(super) fn memory_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let memory = PyMemoryView::from(object).map_err(|_| not_bytes_like(object))?;
    // the addresses of objects are nobody's business
    let format = memory.getattr(intern!(object.py(), "format"))?;
    if format.contains(intern!(object.py(), "O"))? {
        return Err(not_bytes_like(object));
    }
    let bytes = memory.call_method0(intern!(object.py(), "tobytes"))?;
    bytes.cast_into::<PyBytes>().map_err(Into::into)
}

/// Raises a `TypeError` for an object without a buffer, as concatenating it to bytes would.
pub(super) fn refuse_unless_bytes_like(object: &Bound<'_, PyAny>) -> PyResult<()> {
    if object.is_instance_of::<PyBytes>() || PyMemoryView::from(object).is_ok() {
        return Ok(());
    }
    Err(not_bytes_like(object))
}

fn not_bytes_like(object: &Bound<'_, PyAny>) -> PyErr {
    let kind = object.get_type().name();
    kind.map_or_else(std::convert::identity, |kind| {
        PyTypeError::new_err(format!("a bytes-like object is required, not '{kind}'"))
    })
}
