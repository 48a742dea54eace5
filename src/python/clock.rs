//! Clocks that nobody can stop: tests of clients replace Python's, and what waits for those clients
//! must go on.

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
