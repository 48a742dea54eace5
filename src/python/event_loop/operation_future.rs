//! `OperationFuture`: the part of an `Operation` that asyncio's task takes for a future. Waking it
//! resumes the task without a trip through the event loop's queue.
//!
//! This relies on how tasks of asyncio treat what their coroutine yields, which no documentation
//! promises. `tests/test_async_contract.py` checks it for the version of Python that runs the tests:
//!
//! - A task takes any object for a future whose `_asyncio_future_blocking` is not `None`. It checks
//!   `get_loop()`, sets the attribute to `False`, and calls `add_done_callback(wakeup, context=...)`.
//! - `wakeup(future)` calls `future.result()`, and resumes the coroutine before it returns. Any
//!   future will do that has a result, and one of asyncio's own has it at less cost.
//! - `task.cancel(msg)` calls `future.cancel(msg=...)`. If that returns `True`, the task goes on
//!   waiting; the exception comes from `result()`.
//! - After a bare `yield`, the task runs again behind all others that are ready.

use std::sync::{
    atomic::{AtomicBool, AtomicU8, Ordering},
    Mutex,
};

use pyo3::{
    exceptions::PyRuntimeError, intern, prelude::*, types::PyDict, PyTraverseError, PyVisit,
};

use crate::locks::{lock, try_lock};

/// The part of an `Operation` that a task waits for.
///
/// Most operations never wait, so the phase can be read and changed without the lock. Whoever takes
/// or adds callbacks looks at the phase while it has the lock, so that no callback is forgotten.
///
/// A garbage collection may traverse zeroed memory, see `Made`. Zeroes here are an unlocked lock
/// around nothing.
#[pyclass(frozen, subclass, weakref, module = "fastwsh._core")]
#[derive(Default)]
pub(in crate::python) struct OperationFuture {
    /// One of the numbers in `phase`.
    phase: AtomicU8,
    waiting: Mutex<Waiting>,
    /// Whether `waiting` has had callbacks.
    is_waited_for: AtomicBool,
    /// `_asyncio_future_blocking`, by which asyncio recognises a future that a coroutine has
    /// yielded.
    blocking: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    /// The functions to call when the work should be tried again, each with its context.
    callbacks: Callbacks,
    /// The message of a cancellation.
    message: Option<Py<PyAny>>,
}

type Callbacks = Vec<(Py<PyAny>, Option<Py<PyAny>>)>;

mod phase {
    /// The work should be tried, for the first time or again.
    pub(super) const READY: u8 = 0;
    /// The work is being tried, or the operation waits to be woken.
    pub(super) const WAITING: u8 = 1;
    /// The operation yields to other tasks.
    pub(super) const YIELDED: u8 = 2;
    pub(super) const DONE: u8 = 3;
    pub(super) const CANCELLED: u8 = 4;
}

impl OperationFuture {
    /// Marks the work to be tried again. The coroutine that awaits it goes on before this returns.
    /// `done` is a future of asyncio with the result `None`.
    ///
    /// # Errors
    /// Exceptions that asyncio passes on, such as `KeyboardInterrupt`.
    pub(super) fn wake(slf: &Bound<'_, Self>, done: Option<&Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        let callbacks = {
            let mut waiting = lock(&slf.get().waiting);
            if !slf.get().leave_waiting(phase::READY) {
                return Ok(());
            }
            std::mem::take(&mut waiting.callbacks)
        };
        let mut outcome = Ok(());
        for (callback, context) in callbacks {
            let called = match context {
                // a task; others compare the argument with what they have
                Some(context) => {
                    let future = done.unwrap_or(slf.as_any().as_unbound());
                    context.call_method1(py, intern!(py, "run"), (callback, future)).map(drop)
                }
                None => callback.call1(py, (slf,)).map(drop),
            };
            outcome = outcome.and(called);
        }
        outcome
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.phase.load(Ordering::SeqCst) == phase::WAITING
    }

    /// Begins a try of the work. Returns whether the operation has let others have their turn.
    ///
    /// # Errors
    /// The operation was cancelled, or is done.
    pub(super) fn begin(&self, py: Python<'_>) -> PyResult<bool> {
        let begun = self.phase.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |before| {
            (before <= phase::YIELDED).then_some(phase::WAITING)
        });
        match begun {
            Ok(before) => Ok(before == phase::YIELDED),
            Err(phase::CANCELLED) => Err(self.cancellation(py)),
            Err(_) => Err(PyRuntimeError::new_err("this has been awaited before")),
        }
    }

    /// Ends waiting. Returns `false` if the operation does not wait. The caller has locked `waiting`.
    fn leave_waiting(&self, next: u8) -> bool {
        self.phase
            .compare_exchange(phase::WAITING, next, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }

    /// The exception for a task that is cancelled.
    #[cold]
    fn cancellation(&self, py: Python<'_>) -> PyErr {
        let message = lock(&self.waiting).message.as_ref().map(|message| message.clone_ref(py));
        cancelled(py, message.as_ref())
    }

    /// Makes the task that gets this object wait for it, as for a future.
    pub(super) fn block(&self) {
        self.blocking.store(true, Ordering::Relaxed);
    }

    /// Notes that the operation yields to other tasks.
    pub(super) fn set_yielded(&self) {
        self.phase.store(phase::YIELDED, Ordering::SeqCst);
    }

    /// Ends the operation in whatever phase it is. Returns whether it was letting others have their
    /// turn.
    pub(super) fn end(&self) -> bool {
        let before = self.phase.swap(phase::DONE, Ordering::SeqCst);
        if before == phase::CANCELLED || self.is_waited_for.load(Ordering::SeqCst) {
            self.forget();
        }
        before == phase::YIELDED
    }

    #[cold]
    fn forget(&self) {
        let kept = std::mem::take(&mut *lock(&self.waiting));
        // not locked: freeing a Python object may run other code
        drop(kept);
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
        match self.phase.load(Ordering::SeqCst) {
            phase::CANCELLED => Err(self.cancellation(py)),
            _ => Ok(()),
        }
    }

    #[pyo3(signature = (msg=None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let callbacks = {
            let mut waiting = lock(&slf.get().waiting);
            if !slf.get().leave_waiting(phase::CANCELLED) {
                return Ok(false);
            }
            waiting.message = msg;
            std::mem::take(&mut waiting.callbacks)
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
        let own = slf.get();
        let mut waiting = lock(&own.waiting);
        if own.is_waiting() {
            own.is_waited_for.store(true, Ordering::SeqCst);
            waiting.callbacks.push((callback, context));
            return Ok(());
        }
        drop(waiting);
        Self::call_soon(slf, &callback, context)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // if it is locked, the holder does nothing that starts a collection, so there is nothing to
        // visit
        let Some(waiting) = try_lock(&self.waiting) else { return Ok(()) };
        for (callback, context) in &waiting.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        visit.call(&waiting.message)
    }

    fn __clear__(&self) {
        let Some(mut waiting) = try_lock(&self.waiting) else { return };
        self.phase.store(phase::DONE, Ordering::SeqCst);
        let kept = std::mem::take(&mut *waiting);
        drop(waiting);
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
