//! Clocks that tests cannot replace. Tests of clients often replace Python's clocks, and the server
//! that waits for those clients must not be affected.

use std::{
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use pyo3::prelude::*;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

#[pyfunction]
pub(super) fn real_monotonic() -> f64 {
    START.elapsed().as_secs_f64()
}

#[pyfunction]
pub(super) fn real_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
