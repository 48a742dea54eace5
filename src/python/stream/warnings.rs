//! Warnings of a stream, with the logger of pywebsocket's class.

use pyo3::prelude::*;

use crate::protocol::frame::FrameHeader;

pub(super) fn warn_non_minimal(py: Python<'_>, header: &FrameHeader) -> PyResult<()> {
    let FrameHeader { length, length_octets, .. } = header;
    warn(
        py,
        &format!(
            "Payload length is not encoded using the minimal number of bytes ({length} is encoded \
             using {length_octets} bytes)"
        ),
    )
}

/// Logs a warning with the logger of pywebsocket's class.
pub(super) fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let logging = py.import("logging")?;
    let logger = logging.call_method1("getLogger", ("pywebsocket3.stream.Stream",))?;
    logger.call_method1("warning", ("%s", text)).map(|_| ())
}
