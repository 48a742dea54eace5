//! Wraps the calls of a `Stream`, to note when one of them tells the handler that its connection
//! ends.

use pyo3::prelude::*;

use super::{Inner, ReceiveGoal, Stream, Underlying};
use crate::python::{
    argument::Number,
    errors::ends_connection,
    waiting::{Scheduler, WaitError},
};

impl Stream {
    pub(in crate::python) fn receive<'py>(
        slf: &Bound<'py, Self>,
        awaited: ReceiveGoal,
        scheduler: &dyn Scheduler,
    ) -> Result<Bound<'py, PyAny>, WaitError> {
        let inner = slf.get().inner()?;
        inner.note_end_of_wait(slf.py(), inner.receive_message(slf, awaited, scheduler))
    }

    pub(in crate::python) fn receive_close(
        slf: &Bound<'_, Self>,
        scheduler: &dyn Scheduler,
    ) -> Result<(), WaitError> {
        let inner = slf.get().inner()?;
        inner.note_end_of_wait(slf.py(), inner.receive_close(slf, scheduler))
    }

    pub(in crate::python) fn begin_close(
        slf: &Bound<'_, Self>,
        code: Option<&Number>,
        reason: &Bound<'_, PyAny>,
        wait_response: bool,
    ) -> PyResult<bool> {
        let inner = slf.get().inner()?;
        inner.note_end_of(slf.py(), inner.begin_close(slf.py(), code, reason, wait_response))
    }
}

impl Inner {
    /// Returns the result of a call, and notes if it tells the handler that the connection ends.
    pub(super) fn note_end_of<T>(&self, py: Python<'_>, outcome: PyResult<T>) -> PyResult<T> {
        outcome.inspect_err(|error| self.note_if_end(py, error))
    }

    /// The same for a call that a coroutine may have to make again.
    pub(super) fn note_end_of_wait<T>(
        &self,
        py: Python<'_>,
        outcome: Result<T, WaitError>,
    ) -> Result<T, WaitError> {
        outcome.inspect_err(|outcome| {
            if let WaitError::Raised(error) = outcome {
                self.note_if_end(py, error);
            }
        })
    }

    #[cold]
    fn note_if_end(&self, py: Python<'_>, error: &PyErr) {
        if ends_connection(py, error) {
            if let Ok(Underlying::Native(connection)) = self.underlying(py) {
                connection.get().transport.note_end_reported();
            }
        }
    }
}
