//! Wraps the calls of a `Stream`, to note when one of them tells the handler that its connection
//! ends.

use pyo3::prelude::*;

use super::{Inner, Link, ReceiveGoal, Stream};
use crate::python::{argument::Number, errors::tells_of_the_end};

impl Stream {
    pub(in crate::python) fn receive<'py>(
        slf: &Bound<'py, Self>,
        awaited: ReceiveGoal,
    ) -> PyResult<Bound<'py, PyAny>> {
        let inner = slf.get().inner()?;
        inner.telling(slf.py(), inner.receive_message(slf, awaited))
    }

    pub(in crate::python) fn receive_close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let inner = slf.get().inner()?;
        inner.telling(slf.py(), inner.receive_close(slf))
    }

    pub(in crate::python) fn begin_close(
        slf: &Bound<'_, Self>,
        code: Option<Number>,
        reason: &Bound<'_, PyAny>,
        wait_response: bool,
    ) -> PyResult<bool> {
        let inner = slf.get().inner()?;
        inner.telling(slf.py(), inner.begin_close(slf.py(), code, reason, wait_response))
    }
}

impl Inner {
    /// Returns the result of a call, and notes if it tells the handler that the connection ends.
    pub(super) fn telling<T>(&self, py: Python<'_>, outcome: PyResult<T>) -> PyResult<T> {
        outcome.inspect_err(|error| self.note_told(py, error))
    }

    #[cold]
    fn note_told(&self, py: Python<'_>, error: &PyErr) {
        if tells_of_the_end(py, error) {
            if let Ok(Link::Native(connection)) = self.link(py) {
                connection.get().transport.note_end_told();
            }
        }
    }
}
