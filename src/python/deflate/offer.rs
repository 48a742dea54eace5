//! `DeflateOffer`: the parameters of permessage-deflate that a client offers.

use pyo3::prelude::*;

use crate::{
    protocol::deflate::{Offer, WindowBits},
    python::errors::value_error,
};

#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct DeflateOffer(Offer);

#[pymethods]
impl DeflateOffer {
    #[staticmethod]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 extracts it")]
    fn parse(parameters: Vec<(String, Option<String>)>) -> PyResult<Self> {
        let parameters = parameters.iter().map(|(name, value)| (name.as_str(), value.as_deref()));
        Offer::parse(parameters).map(Self).map_err(value_error)
    }

    #[getter]
    fn server_max_window_bits(&self) -> Option<u8> {
        self.0.server_max_window_bits.map(WindowBits::bits)
    }

    #[getter]
    fn server_no_context_takeover(&self) -> bool {
        self.0.server_no_context_takeover
    }

    #[getter]
    fn client_max_window_bits(&self) -> Option<u8> {
        self.0.client_max_window_bits.map(WindowBits::bits)
    }

    #[getter]
    fn client_no_context_takeover(&self) -> bool {
        self.0.client_no_context_takeover
    }
}
