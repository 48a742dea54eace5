//! A connection before its handler runs, and the guard that ends the connection after it.

use std::{hint::black_box, io, mem, ptr, sync::Arc, thread, time::Duration};

use pyo3::{
    ffi,
    prelude::*,
    sync::PyOnceLock,
    types::{PyTuple, PyWeakrefReference},
};

use super::{
    connection::{Connection, Settings},
    topics::Topics,
};
use crate::{
    connection::Transport,
    server::{
        AnswerSlot, Event, EventSink, Executor, Level, PendingConnection, Registry, Server as Core,
        Threads, SERVER_LOG,
    },
    system::{Native, System as _},
};

/// The common state of the handlers of one server.
pub(super) struct Handlers {
    pub(super) threads: Threads,
    pub(super) settings: Arc<Settings>,
    /// The function of Python that serves a connection.
    pub(super) run: Py<PyAny>,
    pub(super) owner: Py<PyWeakrefReference>,
    pub(super) events: Arc<EventSink>,
    /// Made for the first connection.
    pub(super) topics: PyOnceLock<Py<Topics>>,
}

impl Handlers {
    /// Makes the job that runs the handler of a connection.
    pub(super) fn job(self: &Arc<Self>, core: Arc<Core>, pending: PendingConnection) -> HandlerJob {
        let guard = ConnectionGuard {
            registry: core.registry().clone(),
            core,
            transport: pending.transport.clone(),
            id: pending.id,
            resource: pending.resource.clone(),
            answer_slot: pending.answer_slot.clone(),
            events: self.events.clone(),
        };
        HandlerJob { handlers: self.clone(), pending, guard }
    }

    fn connect<'py>(
        &self,
        py: Python<'py>,
        pending: PendingConnection,
        core: &Core,
    ) -> Option<Bound<'py, Connection>> {
        let owner = self.owner.bind(py).call0().ok().filter(|owner| !owner.is_none())?.unbind();
        let make_topics = || Py::new(py, Topics(core.broker().clone()));
        let topics = self.topics.get_or_try_init(py, make_topics).ok()?.clone_ref(py);
        let connection =
            Connection::new(pending, self.settings.clone(), core, topics.into_any(), owner);
        Bound::new(py, connection).ok()
    }

    /// Reports an exception that no code catches, and returns the default value instead of a
    /// result.
    pub(super) fn report<T: Default>(&self, py: Python<'_>, error: &PyErr) -> T {
        error.clone_ref(py).write_unraisable(py, Some(self.owner.bind(py).as_any()));
        T::default()
    }

    fn no_thread(&self, error: &io::Error) {
        self.events.line(Level::Error, SERVER_LOG, || {
            format!("No thread for a connection: {error}; raise the limit of processes")
        });
    }
}

/// A connection before its handler begins.
pub(super) struct HandlerJob {
    handlers: Arc<Handlers>,
    pending: PendingConnection,
    guard: ConnectionGuard,
}

impl std::fmt::Debug for HandlerJob {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("HandlerJob").field("pending", &self.pending).finish_non_exhaustive()
    }
}

impl HandlerJob {
    /// Returns the connection object, the function to call with it, and the guard to drop when the
    /// handler has ended. Returns `None` if the server is gone.
    pub(super) fn begin(
        self,
        py: Python<'_>,
    ) -> Option<(Bound<'_, Connection>, Bound<'_, PyAny>, ConnectionGuard)> {
        let Self { handlers, pending, guard } = self;
        let connection = handlers.connect(py, pending, &guard.core)?;
        Some((connection, handlers.run.bind(py).clone(), guard))
    }

    /// Runs the handler in a thread of its own.
    pub(super) fn run_in_a_thread(self) {
        let handlers = self.handlers.clone();
        let work = Box::new(move || {
            // its handler may use greenlets
            Native::stay_when_ended();
            // an interpreter that is ending can run nothing
            Python::try_attach(|py| {
                let Some((connection, run, guard)) = self.begin(py) else { return };
                if let Err(error) = call_or_stay(&run, &connection) {
                    error.write_unraisable(py, Some(connection.as_any()));
                }
                drop(connection);
                py.detach(|| drop(guard));
            });
        });
        if let Err(error) = handlers.threads.spawn(work) {
            handlers.no_thread(&error);
        }
    }
}

/// Keeps a thread that never comes back from Python code.
struct StaysAtExit;

/// Calls a function of Python, from which a thread may never come back.
///
/// Before Python 3.14, a thread that wants the interpreter while that is ending is ended in C: it
/// leaves its calls as if by an exception, and drops what Rust has on the stack. One drop would
/// release the interpreter, which the thread does not have, and that ends the process by a fatal
/// error. The thread waits here instead, as in Python 3.14, until the process has ended.
fn call_or_stay<'py>(
    function: &Bound<'py, PyAny>,
    argument: &Bound<'py, Connection>,
) -> PyResult<Bound<'py, PyAny>> {
    type Object = *mut ffi::PyObject;
    type Call = unsafe extern "C" fn(Object, Object, Object) -> Object;
    type UnwoundCall = unsafe extern "C-unwind" fn(Object, Object, Object) -> Object;

    let py = function.py();
    let arguments = PyTuple::new(py, [argument])?;
    // SAFETY: the two types differ only in what the compiler assumes of a call. Of those of pyo3 it
    // assumes that no call is unwound, and then drops nothing: so it must not know this one.
    #[allow(unsafe_code)]
    let call = unsafe { mem::transmute::<Call, UnwoundCall>(black_box(ffi::PyObject_Call)) };
    let staying = StaysAtExit;
    // SAFETY: function and arguments live until the call returns, which is a new reference or null.
    #[allow(unsafe_code)]
    unsafe {
        let result = call(function.as_ptr(), arguments.as_ptr(), ptr::null_mut());
        staying.has_returned();
        Bound::from_owned_ptr_or_err(py, result)
    }
}

impl StaysAtExit {
    fn has_returned(self) {
        mem::forget(self);
    }
}

impl Drop for StaysAtExit {
    fn drop(&mut self) {
        while !thread::panicking() {
            thread::park();
        }
    }
}

/// When dropped, removes the connection from the registry and closes the socket, however the
/// handler ended.
pub(super) struct ConnectionGuard {
    core: Arc<Core>,
    registry: Arc<Registry>,
    transport: Arc<Transport>,
    id: u64,
    resource: String,
    answer_slot: Option<Arc<AnswerSlot>>,
    events: Arc<EventSink>,
}

impl std::fmt::Debug for ConnectionGuard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ConnectionGuard").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ConnectionGuard {
    /// Logs that the handler keeps others waiting.
    pub(super) fn report_stall(&self, taken: Duration) {
        self.events.send(Event::Stall { resource: self.resource.clone(), taken });
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.transport.note_end();
        self.core.finish(&self.transport, self.transport.outcome());
        if let Some(slot) = &self.answer_slot {
            slot.end();
        }
        self.registry.remove(self.id, &self.resource);
    }
}
