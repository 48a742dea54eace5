//! Attributes that a handler sets on its connection, among them functions in place of `read` and
//! `write`.

use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::{
    ffi, intern,
    prelude::*,
    types::{PyBytes, PyString},
};

use super::{raw::write_all, Connection};

/// Whether a handler has put a function of its own in place of one through which pywebsocket's stream
/// reads and writes. The native stream goes through it then.
#[derive(Debug, Default)]
pub(super) struct OwnMethods(AtomicBool);

impl OwnMethods {
    pub(super) fn has_some(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Notes that an attribute of this name is set.
    pub(super) fn note(&self, name: &Bound<'_, PyString>) -> PyResult<()> {
        // `__dict__` may be replaced as a whole
        if matches!(name.to_str()?, "read" | "write" | "__dict__") {
            self.0.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}

impl Connection {
    /// Whether the stream has to call this from Python.
    pub(in crate::python) fn has_own_methods(&self) -> bool {
        self.own_methods.has_some()
    }

    /// Writes the server's answer: through `request.connection`, as pywebsocket does, if the handler
    /// has put something of its own there.
    pub(super) fn write_answer(&self, through: &Bound<'_, PyAny>, answer: &[u8]) -> PyResult<()> {
        let py = through.py();
        if through.cast_exact::<Self>().is_ok_and(|own| !own.get().has_own_methods()) {
            return write_all(py, &self.transport, answer);
        }
        through.call_method1(intern!(py, "write"), (PyBytes::new(py, answer),)).map(drop)
    }
}

/// Sets an attribute, or deletes it, as `object` does; its own method refuses objects whose class has
/// another one, and there is no safe way to it.
pub(super) fn set_plainly(
    object: &Bound<'_, PyAny>,
    name: &Bound<'_, PyString>,
    value: Option<&Bound<'_, PyAny>>,
) -> PyResult<()> {
    let value = value.map_or(std::ptr::null_mut(), Bound::as_ptr);
    // SAFETY: the objects live as long as their references; a value that is null deletes
    #[allow(unsafe_code)]
    let done = unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value) };
    if done < 0 {
        return Err(PyErr::fetch(object.py()));
    }
    Ok(())
}
