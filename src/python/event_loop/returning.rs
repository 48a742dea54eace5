//! The result of an awaitable that is an iterator, as `return` of a generator passes it on.

use pyo3::{
    exceptions::{PyBaseException, PyStopIteration},
    ffi,
    prelude::*,
    types::PyTuple,
};

/// Ends `__next__` with a result.
///
/// Python takes the result from a `StopIteration` that is raised. Before 3.12 that exception need not
/// be an object yet: its class and the result are enough. `PyErr` makes the object in any case, which
/// takes 1,000 instructions for each message.
pub(super) fn return_value(py: Python<'_>, result: Py<PyAny>) -> PyResult<Option<Py<PyAny>>> {
    let value = result.bind(py);
    // these two would be the arguments of the exception, or the exception itself
    if value.is_instance_of::<PyTuple>() || value.is_instance_of::<PyBaseException>() {
        return Err(PyStopIteration::new_err((result,)));
    }
    // SAFETY: both are live objects, and the interpreter is attached.
    #[allow(unsafe_code)]
    unsafe {
        ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value.as_ptr());
    }
    // null for Python, and the exception is raised
    Ok(None)
}
