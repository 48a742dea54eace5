//! Gives each connection to the place where its handler runs.

use std::{
    collections::HashSet,
    io,
    net::SocketAddr,
    os::fd::{BorrowedFd, IntoRawFd},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, OnceLock, Weak,
    },
    time::Duration,
};

use pyo3::{prelude::*, types::PyWeakrefReference};

use super::{
    connection::{to_python, Connection, Settings},
    event_loop::LoopState as EventLoop,
    hub::Hub,
};
use crate::{
    connection::{Outcome, Transport},
    locks::lock,
    server::{
        Acceptor, Candidate, Concurrency, Event, EventSink, Executor, Level, Registry,
        Server as Core, Threads, Workers, SERVER_LOG,
    },
};

/// Takes the candidates of one server.
pub(super) struct Dispatch {
    /// Set once, before the first listener.
    pub(super) core: OnceLock<Weak<Core>>,
    pub(super) threads: Threads,
    /// `None` where handlers cannot share a thread.
    pub(super) hub: Option<Arc<Hub>>,
    /// Set when the first handler needs it.
    pub(super) event_loop: OnceLock<Arc<EventLoop>>,
    pub(super) settings: Arc<Settings>,
    /// The function of Python that serves a connection.
    pub(super) run: Py<PyAny>,
    pub(super) owner: Py<PyWeakrefReference>,
    pub(super) events: Arc<EventSink>,
    /// Whether to ask Python which connections to serve.
    pub(super) asks_admission: AtomicBool,
    /// Whether to ask Python about handlers for every request, not only for upgrades.
    pub(super) asks_always: AtomicBool,
    /// Paths whose handlers take requests with a body.
    pub(super) body_paths: Mutex<HashSet<String>>,
}

impl Acceptor for Dispatch {
    fn accept(self: Arc<Self>, candidate: Candidate) {
        let Some(core) = self.core.get().and_then(Weak::upgrade) else { return };
        let guard = ConnectionGuard {
            registry: core.registry().clone(),
            core,
            transport: candidate.transport.clone(),
            id: candidate.id,
            outcome: Outcome::Abrupt,
            resource: candidate.resource.clone(),
            events: self.events.clone(),
        };
        let concurrency = candidate.concurrency;
        let job = HandlerJob { dispatch: self.clone(), candidate, guard };
        let job = match (&self.hub, concurrency) {
            (Some(hub), Concurrency::Hub) => hub.submit(job),
            (_, Concurrency::Loop) => {
                // without an event loop the connection ends here
                let _ = self.event_loop.get().and_then(|event_loop| event_loop.submit(job));
                return;
            }
            _ => Some(job),
        };
        if let Some(job) = job {
            job.run_in_a_thread();
        }
    }

    fn workers(&self) -> Workers {
        let (busy_threads, idle_threads) = self.threads.counts();
        let (slices, stalls) = self.hub.as_ref().map_or((0, 0), |hub| hub.slices.counts());
        Workers { busy_threads, idle_threads, slices, stalls }
    }

    fn asks_admission(&self) -> bool {
        self.asks_admission.load(Ordering::Relaxed)
    }

    fn admits(&self, socket: BorrowedFd<'_>, peer: Option<SocketAddr>) -> bool {
        let admits = |py: Python<'_>| {
            let admits = self.owner.bind(py).call0()?.getattr("_admits")?;
            let peer = to_python(py, peer)?;
            // the callee owns the descriptor and closes it
            let descriptor = socket.try_clone_to_owned()?.into_raw_fd();
            admits.call1((descriptor, peer))?.is_truthy()
        };
        Python::try_attach(|py| admits(py).unwrap_or_else(|error| self.report(py, &error)))
            .unwrap_or_default()
    }

    fn find(&self, resource: &str, is_upgrade: bool) -> Option<Concurrency> {
        if !(is_upgrade || self.asks_always.load(Ordering::SeqCst)) {
            return None;
        }
        Python::try_attach(|py| {
            let owner = self.owner.bind(py).call0().ok()?;
            let place = owner.call_method1("_find_place", (resource,));
            let place = place.and_then(|place| place.extract::<Option<String>>());
            place.unwrap_or_else(|error| self.report(py, &error)).map(|name| to_concurrency(&name))
        })
        .flatten()
    }

    fn takes_body(&self, path: &str) -> bool {
        lock(&self.body_paths).contains(path)
    }
}

impl Dispatch {
    fn connect<'py>(
        &self,
        py: Python<'py>,
        candidate: Candidate,
        registry: Arc<Registry>,
    ) -> Option<Bound<'py, Connection>> {
        let owner = self.owner.bind(py).call0().ok().filter(|owner| !owner.is_none())?.unbind();
        let connection = Connection::new(candidate, self.settings.clone(), registry, owner);
        Bound::new(py, connection).ok()
    }
}

/// A connection before its handler begins.
pub(super) struct HandlerJob {
    dispatch: Arc<Dispatch>,
    candidate: Candidate,
    guard: ConnectionGuard,
}

impl std::fmt::Debug for HandlerJob {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("HandlerJob")
            .field("candidate", &self.candidate)
            .finish_non_exhaustive()
    }
}

impl HandlerJob {
    /// Returns the connection object, the function to call with it, and the guard to drop when the
    /// handler has ended. Returns `None` if the server is gone.
    pub(super) fn begin(
        self,
        py: Python<'_>,
    ) -> Option<(Bound<'_, Connection>, Bound<'_, PyAny>, ConnectionGuard)> {
        let Self { dispatch, candidate, guard } = self;
        let connection = dispatch.connect(py, candidate, guard.registry.clone())?;
        Some((connection, dispatch.run.bind(py).clone(), guard))
    }

    /// Runs the handler in a thread of its own.
    pub(super) fn run_in_a_thread(self) {
        let dispatch = self.dispatch.clone();
        let work = Box::new(move || {
            // an interpreter that is ending can run nothing
            Python::try_attach(|py| {
                let Some((connection, run, mut guard)) = self.begin(py) else { return };
                if let Err(error) = run.call1((&connection,)) {
                    error.write_unraisable(py, Some(connection.as_any()));
                }
                guard.set_outcome(connection.get().outcome());
                drop(connection);
                py.detach(|| drop(guard));
            });
        });
        if let Err(error) = dispatch.threads.spawn(work) {
            dispatch.no_thread(&error);
        }
    }
}

/// Converts the name of a place. An unknown name means a thread, where any handler can run.
fn to_concurrency(name: &str) -> Concurrency {
    match name {
        "hub" => Concurrency::Hub,
        "loop" => Concurrency::Loop,
        _ => Concurrency::Threads,
    }
}

impl Dispatch {
    /// Reports an exception that nobody catches, and returns the default value instead of a result.
    fn report<T: Default>(&self, py: Python<'_>, error: &PyErr) -> T {
        error.clone_ref(py).write_unraisable(py, Some(self.owner.bind(py).as_any()));
        T::default()
    }

    fn no_thread(&self, error: &io::Error) {
        self.events.line(Level::Error, SERVER_LOG, || {
            format!("No thread for a connection: {error}; raise the limit of processes")
        });
    }
}

/// When dropped, removes the connection from the registry and closes the socket, however the
/// handler ended.
pub(super) struct ConnectionGuard {
    core: Arc<Core>,
    registry: Arc<Registry>,
    transport: Arc<Transport>,
    id: u64,
    outcome: Outcome,
    resource: String,
    events: Arc<EventSink>,
}

impl std::fmt::Debug for ConnectionGuard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ConnectionGuard").field("id", &self.id).finish_non_exhaustive()
    }
}

impl ConnectionGuard {
    /// Sets how to close the connection.
    pub(super) fn set_outcome(&mut self, outcome: Outcome) {
        self.outcome = outcome;
    }

    /// Logs that the handler keeps others waiting.
    pub(super) fn report_stall(&self, taken: Duration) {
        self.events.send(Event::Stall { resource: self.resource.clone(), taken });
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.transport.note_end();
        self.core.finish(&self.transport, self.outcome);
        self.registry.remove(self.id, &self.resource);
    }
}
