//! `Operation`: the awaitable of a call of a stream. It acts as a coroutine that tries its work
//! again each time it is resumed. While it waits, it also acts as the future that asyncio's task
//! waits for, so that waking it resumes the task without a trip through the event loop's queue.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    Mutex,
};

use pyo3::{
    exceptions::{
        PyBaseException, PyRuntimeError, PyRuntimeWarning, PyStopAsyncIteration, PyStopIteration,
    },
    intern,
    prelude::*,
    types::PyDict,
    PyTraverseError, PyVisit,
};

use super::{
    poller::{AsyncConnection, Tried},
    work::Work,
};
use crate::locks::{lock, try_lock};

/// An awaitable call of a stream. It does nothing before it is awaited.
///
/// A garbage collection may traverse zeroed memory, see `Stream`. Zeroes here are an unlocked lock
/// around nothing.
#[pyclass(frozen, weakref, module = "fastwsh._core")]
pub(in crate::python) struct Operation {
    state: Mutex<State>,
    /// `_asyncio_future_blocking`, by which asyncio recognises a future that a coroutine has
    /// yielded.
    blocking: AtomicBool,
}

#[derive(Default)]
struct State {
    poller: Option<Py<AsyncConnection>>,
    phase: Phase,
    work: Work,
    /// The functions to call when the work should be tried again, each with its context.
    callbacks: Vec<(Py<PyAny>, Option<Py<PyAny>>)>,
}

#[derive(Default)]
enum Phase {
    /// Not awaited yet.
    #[default]
    New,
    Waiting,
    /// The operation lets others have their turn.
    Aside,
    /// The work should be tried again.
    Woken,
    Done,
    Cancelled(Option<Py<PyAny>>),
}

impl Operation {
    pub(super) fn new(poller: Py<AsyncConnection>, work: Work) -> Self {
        let state = State { poller: Some(poller), work, ..State::default() };
        Self { state: Mutex::new(state), blocking: AtomicBool::new(false) }
    }

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
            state.phase = Phase::Woken;
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

    /// Takes the work out for a try.
    fn begin(&self, py: Python<'_>) -> PyResult<(Py<AsyncConnection>, Work)> {
        let mut state = lock(&self.state);
        match &state.phase {
            Phase::New | Phase::Woken | Phase::Waiting | Phase::Aside => {}
            Phase::Cancelled(message) => {
                let message = message.as_ref().map(|message| message.clone_ref(py));
                drop(state);
                return Err(cancelled(py, message.as_ref()));
            }
            Phase::Done => {
                drop(state);
                return Err(PyRuntimeError::new_err("this has been awaited before"));
            }
        }
        let Some(poller) = state.poller.as_ref().map(|poller| poller.clone_ref(py)) else {
            drop(state);
            return Err(PyRuntimeError::new_err("this has been closed"));
        };
        let phase = std::mem::replace(&mut state.phase, Phase::Waiting);
        let work = std::mem::take(&mut state.work);
        drop(state);
        if matches!(phase, Phase::Aside) {
            poller.get().end_turn();
        }
        Ok((poller, work))
    }

    /// Ends the operation in whatever state it is.
    fn end(&self, py: Python<'_>) {
        let mut kept = {
            let mut state = lock(&self.state);
            std::mem::replace(&mut *state, State { phase: Phase::Done, ..State::default() })
        };
        if let Some(poller) = &kept.poller {
            let poller = poller.bind(py).get();
            poller.abandon(py, &mut kept.work);
            if matches!(kept.phase, Phase::Aside) {
                poller.end_turn();
            }
        }
    }

    fn event_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.state).poller.as_ref().map(|poller| poller.get().event_loop(py))
    }

    fn call_soon(
        slf: &Bound<'_, Self>,
        callback: &Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let py = slf.py();
        let Some(event_loop) = slf.get().event_loop(py) else { return Ok(()) };
        let arguments = PyDict::new(py);
        arguments.set_item(intern!(py, "context"), context)?;
        let call = intern!(py, "call_soon");
        event_loop.bind(py).call_method(call, (callback, slf), Some(&arguments)).map(drop)
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
        let py = slf.py();
        let own = slf.get();
        let (poller, mut work) = own.begin(py)?;
        let is_iteration = work.is_iteration();
        let tried = match poller.get().attempt(py, &mut work) {
            Ok(tried) => tried,
            Err(error) => {
                poller.get().abandon(py, &mut work);
                own.end(py);
                return Err(error);
            }
        };
        match tried {
            Tried::Later => {
                lock(&own.state).work = work;
                if poller.get().wake_later(slf) {
                    // yield ourselves as a future: the task will call `add_done_callback` and sleep
                    own.blocking.store(true, Ordering::Relaxed);
                    return Ok(Some(slf.clone().into_any().unbind()));
                }
                // the connection has ended, as the next try will find out
                Ok(Some(py.None()))
            }
            // a bare yield makes the task run again after all others that are ready
            Tried::OthersFirst => {
                let mut state = lock(&own.state);
                state.work = work;
                state.phase = Phase::Aside;
                drop(state);
                poller.get().begin_turn();
                Ok(Some(py.None()))
            }
            Tried::Done(result) => {
                own.end(py);
                if result.is_none() {
                    // a coroutine that ends without a result needs no exception object
                    return if is_iteration {
                        Err(PyStopAsyncIteration::new_err(()))
                    } else {
                        Ok(None)
                    };
                }
                Err(PyStopIteration::new_err(result.unbind()))
            }
        }
    }

    fn send(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let _ = value;
        Self::__next__(slf)?.ok_or_else(|| PyStopIteration::new_err(()))
    }

    #[pyo3(signature = (kind, value=None, traceback=None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        let _ = traceback;
        self.end(kind.py());
        let raised = match value {
            Some(value) if value.is_instance_of::<PyBaseException>() => value.clone(),
            Some(value) => kind.call1((value,))?,
            None if kind.is_instance_of::<PyBaseException>() => kind.clone(),
            None => kind.call0()?,
        };
        Err(PyErr::from_value(raised))
    }

    fn close(&self, py: Python<'_>) {
        self.end(py);
    }

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

    fn get_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.event_loop(py)
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
        visit.call(&state.poller)?;
        state.work.traverse(&visit)?;
        for (callback, context) in &state.callbacks {
            visit.call(callback)?;
            visit.call(context)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        let Some(mut state) = try_lock(&self.state) else { return };
        let done = State { phase: Phase::Done, ..State::default() };
        let kept = std::mem::replace(&mut *state, done);
        drop(state);
        drop(kept);
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        let Some(name) = state.work.name().filter(|_| matches!(state.phase, Phase::New)) else {
            return;
        };
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
