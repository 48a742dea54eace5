//! `Operation`: the awaitable of a call of a stream. It acts as a coroutine that tries its work
//! again each time it is resumed.

use std::sync::Mutex;

use pyo3::{
    exceptions::{
        PyBaseException, PyRuntimeError, PyRuntimeWarning, PyStopAsyncIteration, PyStopIteration,
    },
    prelude::*,
    PyTraverseError, PyVisit,
};

use super::{
    async_connection::AsyncConnection, operation_future::OperationFuture, returning::return_value,
    work::Work,
};
use crate::{
    locks::{lock, try_lock},
    python::waiting::{Retry, WaitError},
};

/// An awaitable call of a stream. It does nothing before it is awaited.
///
/// A garbage collection may traverse zeroed memory, see `Made`. Zeroes here are an unlocked lock
/// around nothing.
#[pyclass(frozen, extends = OperationFuture, module = "fastwsh._core")]
pub(in crate::python) struct Operation(Mutex<State>);

#[derive(Default)]
struct State {
    connection: Option<Py<AsyncConnection>>,
    work: Work,
    is_awaited: bool,
}

/// What an operation does when it is resumed.
enum Step {
    /// It waits, and yields this to the task.
    Yields(Py<PyAny>),
    /// It ends with this result.
    Returns(Py<PyAny>),
    /// It ends without a result.
    Ends,
}

impl Operation {
    pub(super) fn new(
        py: Python<'_>,
        connection: Py<AsyncConnection>,
        work: Work,
    ) -> PyResult<Py<Self>> {
        let state = State { connection: Some(connection), work, is_awaited: false };
        Py::new(py, (Self(Mutex::new(state)), OperationFuture::default()))
    }

    /// Takes the work out for a try.
    fn begin(slf: &Bound<'_, Self>) -> PyResult<(Py<AsyncConnection>, Work)> {
        let py = slf.py();
        let was_aside = slf.as_super().get().begin(py)?;
        let (connection, work) = {
            let mut state = lock(&slf.get().0);
            state.is_awaited = true;
            let connection = state.connection.as_ref().map(|connection| connection.clone_ref(py));
            (connection, std::mem::take(&mut state.work))
        };
        let connection =
            connection.ok_or_else(|| PyRuntimeError::new_err("this has been closed"))?;
        if was_aside {
            connection.get().note_resumed();
        }
        Ok((connection, work))
    }

    /// Tries the work, for the first time or again.
    #[inline]
    fn step(slf: &Bound<'_, Self>) -> PyResult<Step> {
        let py = slf.py();
        let (connection, mut work) = Self::begin(slf)?;
        let connection = connection.get();
        let is_iteration = work.is_iteration();
        let future = slf.as_super();
        match connection.attempt(py, &mut work) {
            Ok(result) => {
                Self::end(slf);
                if !result.is_none() {
                    return Ok(Step::Returns(result.unbind()));
                }
                if is_iteration {
                    return Err(PyStopAsyncIteration::new_err(()));
                }
                Ok(Step::Ends)
            }
            Err(WaitError::Retry(Retry::WhenWoken)) => {
                lock(&slf.get().0).work = work;
                if connection.wake_later(future) {
                    // yield ourselves as a future: the task will call `add_done_callback` and sleep
                    future.get().block();
                    return Ok(Step::Yields(slf.clone().into_any().unbind()));
                }
                // the connection has ended, as the next try will find out
                Ok(Step::Yields(py.None()))
            }
            // a bare yield makes the task run again after all others that are ready
            Err(WaitError::Retry(Retry::AfterOthers)) => {
                lock(&slf.get().0).work = work;
                future.get().set_yielded();
                connection.note_yielded();
                Ok(Step::Yields(py.None()))
            }
            Err(WaitError::Raised(error)) => {
                connection.abandon(py, &mut work);
                Self::end(slf);
                Err(*error)
            }
        }
    }

    /// Ends the operation in whatever state it is.
    fn end(slf: &Bound<'_, Self>) {
        let was_aside = slf.as_super().get().end();
        let mut kept = std::mem::take(&mut *lock(&slf.get().0));
        if let Some(connection) = &kept.connection {
            let connection = connection.get();
            connection.abandon(slf.py(), &mut kept.work);
            if was_aside {
                connection.note_resumed();
            }
        }
    }
}

#[pymethods]
impl Operation {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        match Self::step(slf)? {
            Step::Yields(object) => Ok(Some(object)),
            Step::Returns(result) => return_value(slf.py(), result),
            // a coroutine that ends without a result needs no exception object
            Step::Ends => Ok(None),
        }
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let _ = value;
        match Self::step(slf)? {
            Step::Yields(object) => Ok(object),
            Step::Returns(result) => Err(PyStopIteration::new_err((result,))),
            Step::Ends => Err(PyStopIteration::new_err(())),
        }
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        slf: &Bound<'_, Self>,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        Self::end(slf);
        let raised = match value {
            Some(value) if value.is_instance_of::<PyBaseException>() => value.clone(),
            Some(value) => kind.call1((value,))?,
            None if kind.is_instance_of::<PyBaseException>() => kind.clone(),
            None => kind.call0()?,
        };
        Err(PyErr::from_value(raised))
    }

    fn close(slf: &Bound<'_, Self>) {
        Self::end(slf);
    }

    fn get_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.0).connection.as_ref().map(|connection| connection.get().event_loop(py))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // if it is locked, the holder does nothing that starts a collection, so there is nothing to
        // visit
        let Some(state) = try_lock(&self.0) else { return Ok(()) };
        visit.call(&state.connection)?;
        state.work.traverse(&visit)
    }

    fn __clear__(&self) {
        let Some(mut state) = try_lock(&self.0) else { return };
        let kept = std::mem::take(&mut *state);
        drop(state);
        drop(kept);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let state = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(name) = state.work.name().filter(|_| !state.is_awaited) else { return };
        Python::try_attach(|py| {
            // this may be called while an exception is being raised, which must not be lost
            let raised = PyErr::take(py);
            let text = format!("{name}() was never awaited, so that it has done nothing\0");
            let text = std::ffi::CString::from_vec_with_nul(text.into_bytes()).unwrap_or_default();
            let warned = PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &text, 1);
            if let Err(error) = warned {
                error.write_unraisable(py, None);
            }
            if let Some(raised) = raised {
                raised.restore(py);
            }
        });
    }
}

/// Waits until the kernel has taken all that was sent.
#[pyfunction]
pub(in crate::python) fn drain_sends(
    connection: &Bound<'_, AsyncConnection>,
) -> PyResult<Py<Operation>> {
    Operation::new(connection.py(), connection.clone().unbind(), Work::Drain)
}
