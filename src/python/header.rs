//! `HeaderDecoder`: a frame header that is read piece by piece, for `stream.parse_frame`.

use std::sync::Mutex;

use pyo3::{prelude::*, sync::MutexExt, types::PyBytes};

use super::errors::{protocol_error, value_error};
use crate::protocol::frame::{Decoded, FrameHeader};

#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct HeaderDecoder {
    expect_masked: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    bytes: Vec<u8>,
    header: Option<FrameHeader>,
}

#[pymethods]
impl HeaderDecoder {
    #[new]
    #[pyo3(signature = (unmask_receive=true))]
    fn new(unmask_receive: bool) -> Self {
        Self { expect_masked: unmask_receive, state: Mutex::default() }
    }

    fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<usize> {
        let mut state = self.lock(py)?;
        state.bytes.extend_from_slice(data);
        match FrameHeader::decode(&state.bytes, self.expect_masked) {
            Ok(Decoded::Short(count)) => Ok(count),
            Ok(Decoded::Header(header, _)) => {
                state.header = Some(header);
                Ok(0)
            }
            Err((error, _)) => Err(protocol_error(py, &error, false)),
        }
    }

    #[getter]
    fn opcode(&self, py: Python<'_>) -> PyResult<u8> {
        Ok(self.lock(py)?.bytes.first().map_or(0, |byte| byte & 0xf))
    }

    #[getter]
    fn fin(&self, py: Python<'_>) -> PyResult<u8> {
        self.bit(py, 7)
    }

    #[getter]
    fn rsv1(&self, py: Python<'_>) -> PyResult<u8> {
        self.bit(py, 6)
    }

    #[getter]
    fn rsv2(&self, py: Python<'_>) -> PyResult<u8> {
        self.bit(py, 5)
    }

    #[getter]
    fn rsv3(&self, py: Python<'_>) -> PyResult<u8> {
        self.bit(py, 4)
    }

    #[getter]
    fn length_octets(&self, py: Python<'_>) -> PyResult<u8> {
        Ok(match self.lock(py)?.bytes.get(1).map(|byte| byte & 0x7f) {
            Some(127) => 8,
            Some(126) => 2,
            _ => 1,
        })
    }

    #[getter]
    fn payload_length(&self, py: Python<'_>) -> PyResult<u64> {
        self.header(py).map(|header| header.length)
    }

    #[getter]
    fn masking_key<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.header(py).map(|header| header.masking_key.map(|key| PyBytes::new(py, &key)))
    }

    #[getter]
    fn minimal(&self, py: Python<'_>) -> PyResult<bool> {
        self.header(py).map(|header| header.is_minimal())
    }
}

impl HeaderDecoder {
    fn lock(&self, py: Python<'_>) -> PyResult<std::sync::MutexGuard<'_, State>> {
        self.state.lock_py_attached(py).map_err(value_error)
    }

    fn bit(&self, py: Python<'_>, number: u8) -> PyResult<u8> {
        Ok(self.lock(py)?.bytes.first().map_or(0, |byte| (byte >> number) & 1))
    }

    fn header(&self, py: Python<'_>) -> PyResult<FrameHeader> {
        self.lock(py)?.header.ok_or_else(|| value_error("the header is not complete"))
    }
}
