//! Gives each connection to the thread, hub or event loop that its handler runs in.

use std::{
    collections::HashSet,
    net::SocketAddr,
    os::fd::{BorrowedFd, IntoRawFd},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, OnceLock, Weak,
    },
};

use pyo3::prelude::*;

use super::{
    connection::to_python, event_loop::LoopState as EventLoop, handler_job::Handlers, hub::Hubs,
};
use crate::{
    locks::lock,
    server::{Acceptor, Concurrency, HandlerCounts, PendingConnection, Server as Core},
};

/// Takes the connections of one server.
pub(super) struct Dispatch {
    /// Set once, before the first listener.
    pub(super) core: OnceLock<Weak<Core>>,
    pub(super) handlers: Arc<Handlers>,
    /// `None` where handlers cannot share a thread.
    hubs: Option<Hubs>,
    /// Set when the first handler needs it.
    pub(super) event_loop: OnceLock<Arc<EventLoop>>,
    /// Whether to ask Python which connections to serve.
    pub(super) asks_admission: AtomicBool,
    /// Whether to ask Python about handlers for every request, not only for upgrades.
    pub(super) asks_always: AtomicBool,
    /// Paths with handlers that accept requests with a body.
    pub(super) body_paths: Mutex<HashSet<String>>,
}

impl Dispatch {
    /// Without an event loop and without questions to Python, which are set later.
    pub(super) fn new(handlers: Handlers, hubs: Option<Hubs>) -> Self {
        Self {
            core: OnceLock::new(),
            handlers: Arc::new(handlers),
            hubs,
            event_loop: OnceLock::new(),
            asks_admission: AtomicBool::new(false),
            asks_always: AtomicBool::new(false),
            body_paths: Mutex::default(),
        }
    }
}

impl Acceptor for Dispatch {
    fn accept(self: Arc<Self>, pending: PendingConnection) {
        let Some(core) = self.core.get().and_then(Weak::upgrade) else { return };
        let concurrency = pending.concurrency;
        let job = self.handlers.job(core, pending);
        let job = match (&self.hubs, concurrency) {
            (Some(hubs), Concurrency::Hub) => hubs.submit(job),
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

    fn handler_counts(&self) -> HandlerCounts {
        let (busy_threads, idle_threads) = self.handlers.threads.counts();
        let (turns, stalls) = self.hubs.as_ref().map_or((0, 0), Hubs::counts);
        HandlerCounts { busy_threads, idle_threads, turns, stalls }
    }

    fn asks_admission(&self) -> bool {
        self.asks_admission.load(Ordering::Relaxed)
    }

    fn admits(&self, socket: BorrowedFd<'_>, peer: Option<SocketAddr>) -> bool {
        let admits = |py: Python<'_>| {
            let admits = self.handlers.owner.bind(py).call0()?.getattr("_admits")?;
            let peer = to_python(py, peer)?;
            // the callee owns the descriptor and closes it
            let descriptor = socket.try_clone_to_owned()?.into_raw_fd();
            admits.call1((descriptor, peer))?.is_truthy()
        };
        Python::try_attach(|py| admits(py).unwrap_or_else(|error| self.handlers.report(py, &error)))
            .unwrap_or_default()
    }

    fn find(&self, resource: &str, may_have_handler: bool) -> Option<Concurrency> {
        if !(may_have_handler || self.asks_always.load(Ordering::SeqCst)) {
            return None;
        }
        Python::try_attach(|py| {
            let owner = self.handlers.owner.bind(py).call0().ok()?;
            let name = owner.call_method1("_find_concurrency", (resource,));
            let name = name.and_then(|name| name.extract::<Option<String>>());
            name.unwrap_or_else(|error| self.handlers.report(py, &error))
                .map(|name| to_concurrency(&name))
        })
        .flatten()
    }

    fn takes_body(&self, path: &str) -> bool {
        lock(&self.body_paths).contains(path)
    }
}

/// Converts the name of a `Concurrency`. An unknown name means a thread, where any handler can run.
fn to_concurrency(name: &str) -> Concurrency {
    match name {
        "hub" => Concurrency::Hub,
        "loop" => Concurrency::Loop,
        _ => Concurrency::Threads,
    }
}
