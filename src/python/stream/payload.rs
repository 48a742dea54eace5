//! Payloads of received messages, in the form for the handler.

use std::{ffi::c_char, mem::MaybeUninit, ptr, slice};

use pyo3::{
    ffi,
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::{protocol::receive::WholePayload, python::errors::invalid_utf8};

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

/// Makes the object for a binary message. A payload that is masked still is unmasked into the memory of
/// the object; filling that with zeros first, which the safe way would do, is one more pass over it.
pub(super) fn to_bytes<'py>(
    py: Python<'py>,
    payload: WholePayload<'_>,
) -> PyResult<Bound<'py, PyAny>> {
    if let Some(bytes) = payload.plain() {
        return Ok(PyBytes::new(py, bytes).into_any());
    }
    let size = ffi::Py_ssize_t::try_from(payload.size())?;
    // SAFETY: the object has room for so many bytes, which nothing else refers to yet, and
    // `copy_to` writes all of them, or panics.
    #[allow(unsafe_code)]
    unsafe {
        let object = ffi::PyBytes_FromStringAndSize(ptr::null::<c_char>(), size);
        let object = Bound::from_owned_ptr_or_err(py, object)?;
        let memory = ffi::PyBytes_AsString(object.as_ptr()).cast::<MaybeUninit<u8>>();
        let memory = slice::from_raw_parts_mut(memory, payload.size());
        payload.copy_to(memory, |target, byte| {
            target.write(byte);
        });
        Ok(object)
    }
}
