//! `OperationFuture`: the part of an `Operation` that asyncio's task takes for a future. Waking it
//! resumes the task without a trip through the event loop's queue.
//!
//! This relies on how tasks of asyncio treat what their coroutine yields, which no documentation
//! promises. `tests/test_async_contract.py` checks it for the version of Python that runs the tests:
//!
//! - A task takes any object for a future whose `_asyncio_future_blocking` is not `None`. It checks
//!   `get_loop()`, sets the attribute to `False`, and calls `add_done_callback(wakeup, context=...)`.
//! - `wakeup(future)` calls `future.result()`, and resumes the coroutine before it returns.
//! - `task.cancel(msg)` calls `future.cancel(msg=...)`. If that returns `True`, the task goes on
//!   waiting; the exception comes from `result()`.
//! - After a bare `yield`, the task runs again behind all others that are ready.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    Mutex,
};

use pyo3::{
    exceptions::PyRuntimeError, intern, prelude::*, types::PyDict, PyTraverseError, PyVisit,
};

use crate::locks::{lock, try_lock};

/// The part of an `Operation` that a task waits for.
///
/// A garbage collection may traverse zeroed memory, see `Stream`. Zeroes here are an unlocked lock
/// around nothing.
#[pyclass(frozen, subclass, weakref, module = "fastwsh._core")]
#[derive(Default)]
pub(in crate::python) struct OperationFuture {
    state: Mutex<State>,
    /// `_asyncio_future_blocking`, by which asyncio recognises a future that a coroutine has
    /// yielded.
    blocking: AtomicBool,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// The functions to call when the work should be tried again, each with its context.
    callbacks: Vec<(Py<PyAny>, Option<Py<PyAny>>)>,
}

#[derive(Default)]
enum Phase {
    /// The work should be tried, for the first time or again.
    #[default]
    Ready,
    Waiting,
    /// The operation lets others have their turn.
    Aside,
    Done,
    Cancelled(Option<Py<PyAny>>),
}

impl OperationFuture {
    /// Marks the work to be tried again. The coroutine that awaits it goes on before this returns.
    ///
    /// # Errors
    /// Exceptions that asyncio passes on, such as `KeyboardInterrupt`.
    pub(super) fn wake(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        let callbacks = {
            let mut state = lock(&slf.get().state);
            if !matches!(state.phase, Phase::Waiting) {
                return Ok(());
            }
            state.phase = Phase::Ready;
            std::mem::take(&mut state.callbacks)
        };
        let mut outcome = Ok(());
        for (callback, context) in callbacks {
            let called = match context {
                Some(context) => {
                    context.call_method1(py, intern!(py, "run"), (callback, slf)).map(drop)
                }
                None => callback.call1(py, (slf,)).map(drop),
            };
            outcome = outcome.and(called);
        }
        outcome
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(lock(&self.state).phase, Phase::Waiting)
    }

    /// Begins a try of the work. Returns whether the operation has let others have their turn.
    ///
    /// # Errors
    /// The operation was cancelled, or is done.
    pub(super) fn begin(&self, py: Python<'_>) -> PyResult<bool> {
        let mut state = lock(&self.state);
        let was_aside = match &state.phase {
            Phase::Ready | Phase::Waiting => false,
            Phase::Aside => true,
            Phase::Cancelled(message) => {
                let message = message.as_ref().map(|message| message.clone_ref(py));
                drop(state);
                return Err(cancelled(py, message.as_ref()));
            }
            Phase::Done => {
                drop(state);
                return Err(PyRuntimeError::new_err("this has been awaited before"));
            }
        };
        state.phase = Phase::Waiting;
        Ok(was_aside)
    }

    /// Makes the task that gets this object wait for it, as for a future.
    pub(super) fn block(&self) {
        self.blocking.store(true, Ordering::Relaxed);
    }

    /// Notes that the operation lets others have their turn.
    pub(super) fn set_aside(&self) {
        lock(&self.state).phase = Phase::Aside;
    }

    /// Ends the operation in whatever phase it is. Returns whether it was letting others have their
    /// turn.
    pub(super) fn end(&self) -> bool {
        let done = State { phase: Phase::Done, callbacks: Vec::new() };
        let before = std::mem::replace(&mut *lock(&self.state), done);
        matches!(before.phase, Phase::Aside)
    }

    fn call_soon(
        slf: &Bound<'_, Self>,
        callback: &Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let event_loop = slf.call_method0(intern!(py, "get_loop"))?;
        if event_loop.is_none() {
            return Ok(());
        }
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "context"), context)?;
        let call = intern!(py, "call_soon");
        event_loop.call_method(call, (callback, slf), Some(&arguments)).map(drop)
    }
}

#[pymethods]
impl OperationFuture {
    /// `None` unless a task has to see this as a future. A future never has `None` here, so all
    /// other code takes this for a coroutine.
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> Option<bool> {
        self.blocking.load(Ordering::Relaxed).then_some(true)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        let state = lock(&self.state);
        match &state.phase {
            Phase::Cancelled(message) => {
                let message = message.as_ref().map(|message| message.clone_ref(py));
                drop(state);
                Err(cancelled(py, message.as_ref()))
            }
            _ => Ok(()),
        }
    }

    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let callbacks = {
            let mut state = lock(&slf.get().state);
            if !matches!(state.phase, Phase::Waiting) {
                return Ok(false);
            }
            state.phase = Phase::Cancelled(msg);
            std::mem::take(&mut state.callbacks)
        };
        for (callback, context) in callbacks {
            Self::call_soon(slf, &callback, context)?;
        }
        Ok(true)
    }

    #[pyo3(signature = (callback, /, *, context=None))]
    fn add_done_callback(
        slf: &Bound<'_, Self>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let mut state = lock(&slf.get().state);
        if matches!(state.phase, Phase::Waiting) {
            state.callbacks.push((callback, context));
            return Ok(());
        }
        drop(state);
        Self::call_soon(slf, &callback, context)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // if it is locked, the holder does nothing that starts a collection, so there is nothing to
        // visit
        let Some(state) = try_lock(&self.state) else { return Ok(()) };
        for (callback, context) in &state.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let Some(mut state) = try_lock(&self.state) else { return };
        let done = State { phase: Phase::Done, callbacks: Vec::new() };
        let kept = std::mem::replace(&mut *state, done);
        drop(state);
        drop(kept);
    }
}

/// asyncio's exception for a task that is cancelled.
fn cancelled(py: Python<'_>, message: Option<&Py<PyAny>>) -> PyErr {
    let raised = py.import("asyncio").and_then(|asyncio| {
        let class = asyncio.getattr("CancelledError")?;
        match message {
            Some(message) => class.call1((message,)),
            None => class.call0(),
        }
    });
    raised.map_or_else(|error| error, PyErr::from_value)
}
