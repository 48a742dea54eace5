//! `RawDeflater` and `RawInflater`: DEFLATE without messages.

use std::sync::Mutex;

use pyo3::{prelude::*, types::PyBytes};

use crate::{
    locks::lock,
    protocol::deflate::{Flush, RawDeflater as Deflater, RawInflater as Inflater, WindowBits},
    python::errors::value_error,
};

#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct RawDeflater(Mutex<Deflater>);

#[pymethods]
impl RawDeflater {
    #[new]
    fn new(window_bits: i64) -> PyResult<Self> {
        let window = WindowBits::new(window_bits).map_err(value_error)?;
        Ok(Self(Mutex::new(Deflater::new(window))))
    }

    fn compress<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.0).compress(data, Flush::None))
    }

    fn compress_and_flush<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.0).compress(data, Flush::Sync))
    }

    fn compress_and_finish<'py>(&self, py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &lock(&self.0).compress(data, Flush::Finish))
    }
}

#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct RawInflater(Mutex<InflaterState>);

#[derive(Default)]
struct InflaterState {
    stream: Inflater,
    input: Vec<u8>,
    /// Decompressed bytes that the caller has not taken yet.
    output: Vec<u8>,
}

#[pymethods]
impl RawInflater {
    #[new]
    fn new(window_bits: i64) -> PyResult<Self> {
        // inflating always uses the largest window, which works for all streams
        WindowBits::new(window_bits).map_err(value_error)?;
        Ok(Self(Mutex::default()))
    }

    fn append(&self, data: &[u8]) {
        lock(&self.0).input.extend_from_slice(data);
    }

    fn decompress<'py>(&self, py: Python<'py>, size: i64) -> PyResult<Bound<'py, PyBytes>> {
        let limit = match size {
            -1 => usize::MAX,
            1.. => usize::try_from(size).unwrap_or(usize::MAX),
            _ => return Err(value_error("size must be -1 or positive")),
        };
        let mut state = lock(&self.0);
        let InflaterState { stream, input, output } = &mut *state;
        if output.len() < limit {
            let missing = limit - output.len();
            let left = stream.inflate(input, output, missing).map_err(value_error)?.len();
            input.drain(..input.len() - left);
        }
        let later = output.split_off(output.len().min(limit));
        let now = PyBytes::new(py, output);
        *output = later;
        Ok(now)
    }

    fn reset(&self) {
        lock(&self.0).stream.reset();
    }
}
