//! Addresses as Python's `socket` module writes them.

use std::net::SocketAddr;

use pyo3::{prelude::*, types::PyString};

/// An address as Python's `socket` has it; an empty string for the peer of a Unix socket.
pub(in crate::python) fn to_python(
    py: Python<'_>,
    address: Option<SocketAddr>,
) -> PyResult<Bound<'_, PyAny>> {
    let Some(address) = address else { return Ok(PyString::new(py, "").into_any()) };
    let host = address.ip().to_string();
    let address = match address {
        SocketAddr::V4(address) => (host, address.port()).into_pyobject(py)?,
        SocketAddr::V6(address) => {
            (host, address.port(), address.flowinfo(), address.scope_id()).into_pyobject(py)?
        }
    };
    Ok(address.into_any())
}
