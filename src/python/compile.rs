//! Compiling the source of a handler.

use std::ffi::{CString, OsString};

use pyo3::{
    prelude::*,
    types::{code::PyCodeInput, PyCode},
};

#[pyfunction]
pub(super) fn compile_source(
    py: Python<'_>,
    source: &str,
    file_name: OsString,
) -> PyResult<Py<PyCode>> {
    let source = CString::new(source)?;
    let file_name = CString::new(file_name.into_encoded_bytes())?;
    PyCode::compile(py, &source, &file_name, PyCodeInput::File).map(Bound::unbind)
}
