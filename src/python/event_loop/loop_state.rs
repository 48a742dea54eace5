//! The state of one event loop, which its coroutines and the threads that submit jobs share.

use std::{
    collections::VecDeque,
    io,
    sync::{
        atomic::{AtomicBool, AtomicU64},
        Arc, Mutex, MutexGuard,
    },
    time::Duration,
};

use pyo3::{
    exceptions::PyRuntimeError, intern, prelude::*, types::PyDict, PyTraverseError, PyVisit,
};

use super::{agenda::Agenda, operation_future::OperationFuture};
use crate::{
    connection::{CallerId, Reactor, ReactorToken, Remote, Transport},
    locks::{lock, try_lock},
    python::handler_job::HandlerJob,
    server::{Heartbeat, JobQueue},
};

/// The state of one event loop: what its coroutines wait for.
pub(in crate::python) struct LoopState {
    reactor: Mutex<Reactor>,
    pub(super) remote: Arc<Remote>,
    /// Connections, by the number of their place in the reactor.
    watched: Mutex<Vec<Option<WatchedConnection>>>,
    /// Connections that can go on, and have not yet had their turn.
    woken: Mutex<VecDeque<CallerId>>,
    /// Closed when no job will run any more.
    pub(super) jobs: JobQueue<HandlerJob>,
    /// How often the event loop has begun to wait for its connections.
    waits: AtomicU64,
    /// What the watchdog reads of its thread.
    pub(super) heartbeat: Arc<Heartbeat>,
    /// Whether this code must report when the thread waits, because nothing else does.
    pub(super) says_when_it_waits: AtomicBool,
    /// Cleared at the end, because these objects refer back to the owner of this one.
    python: Mutex<Option<PythonObjects>>,
}

/// The Python objects of the event loop.
struct PythonObjects {
    event_loop: Py<PyAny>,
    /// Called with each connection from a server, and with the function to call at the connection's
    /// end.
    start: Option<Py<PyAny>>,
    /// A future with the result `None`.
    done: Py<PyAny>,
    /// `sys.modules`.
    modules: Py<PyDict>,
}

/// A connection that coroutines use, and the operations that wait for it.
pub(super) struct WatchedConnection {
    token: ReactorToken,
    transport: Arc<Transport>,
    waiters: Vec<Py<OperationFuture>>,
    /// Operations that have yielded to other tasks. They will notice by themselves if the peer has
    /// gone.
    pub(super) turns: usize,
    /// The peer went meanwhile, and `on_end` was not called.
    pub(super) has_missed: bool,
    /// Called when the peer goes away while no operation waits for it.
    pub(super) on_end: Option<Py<PyAny>>,
    /// `on_end` is called even if the peer has left something to be read.
    pub(super) ignores_unread: bool,
}

impl WatchedConnection {
    /// Whether operations wait that are not cancelled.
    pub(super) fn has_waiters(&self) -> bool {
        self.waiters.iter().any(|waiter| waiter.get().is_waiting())
    }
}

/// The operations that waited for a connection.
pub(super) struct Waiters {
    pub(super) token: ReactorToken,
    pub(super) transport: Arc<Transport>,
    pub(super) first: Option<Py<OperationFuture>>,
    pub(super) others: Vec<Py<OperationFuture>>,
}

impl LoopState {
    pub(super) fn new(
        event_loop: Py<PyAny>,
        start: Option<Py<PyAny>>,
        done: Py<PyAny>,
        modules: Py<PyDict>,
    ) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let remote = reactor.remote().clone();
        reactor.prepare_to_sleep();
        Ok(Self {
            reactor: Mutex::new(reactor),
            remote,
            watched: Mutex::default(),
            woken: Mutex::default(),
            jobs: JobQueue::default(),
            waits: AtomicU64::new(0),
            heartbeat: Arc::default(),
            says_when_it_waits: AtomicBool::new(false),
            python: Mutex::new(Some(PythonObjects { event_loop, start, done, modules })),
        })
    }

    /// Visits the Python objects for the garbage collector, if no other owner than the caller may
    /// still use them. An event loop that nobody closes refers to its native half, and so to itself.
    pub(super) fn traverse(
        &self,
        is_owned: bool,
        visit: &PyVisit<'_>,
    ) -> Result<(), PyTraverseError> {
        // whoever has the lock does nothing that starts a collection
        let python = if is_owned { try_lock(&self.python) } else { None };
        let Some(python) = python.as_ref().and_then(|python| python.as_ref()) else {
            return Ok(());
        };
        visit.call(&python.event_loop)?;
        visit.call(&python.start)?;
        visit.call(&python.done)
    }

    /// Lets go of the Python objects.
    pub(super) fn clear(&self) {
        let python = lock(&self.python).take();
        drop(python);
    }

    /// Accepts a connection for a coroutine function. Returns the job if the event loop has ended.
    pub(in crate::python) fn submit(&self, job: HandlerJob) -> Option<HandlerJob> {
        if let Err(job) = self.jobs.push(job) {
            return Some(job);
        }
        self.remote.wake();
        None
    }

    #[inline]
    pub(super) fn reactor(&self) -> MutexGuard<'_, Reactor> {
        try_lock(&self.reactor).unwrap_or_else(|| self.reactor_of_waiting_loop())
    }

    /// The thread of the event loop waits with the lock; it has to let go of it for another thread,
    /// which may have the GIL that it needs to go on.
    #[cold]
    fn reactor_of_waiting_loop(&self) -> MutexGuard<'_, Reactor> {
        self.remote.wake();
        lock(&self.reactor)
    }

    /// Adds to `woken` the connections that can go on, after a wait of at most `timeout` if there are
    /// none. Returns whether the outside descriptor has become readable as well.
    pub(super) fn poll(
        &self,
        timeout: Option<Duration>,
        woken: &mut Vec<CallerId>,
    ) -> (io::Result<()>, bool) {
        let mut reactor = self.reactor();
        (reactor.poll(timeout, woken), reactor.take_extra_readable())
    }

    /// Moves connections to the end of those that have not yet had their turn.
    pub(super) fn add_woken(&self, woken: &mut Vec<CallerId>) {
        lock(&self.woken).extend(woken.drain(..));
    }

    pub(super) fn next_woken(&self) -> Option<CallerId> {
        lock(&self.woken).pop_front()
    }

    pub(super) fn has_woken(&self) -> bool {
        !lock(&self.woken).is_empty()
    }

    /// What the event loop has to do at this moment.
    ///
    /// # Errors
    /// The event loop has ended, or is not one of asyncio's.
    pub(super) fn agenda<'py>(&self, py: Python<'py>) -> PyResult<Agenda<'_, 'py>> {
        let event_loop = self.event_loop(py).ok_or_else(has_ended)?;
        Agenda::new(event_loop.into_bound(py), &self.waits)
    }

    pub(super) fn token(&self, transport: &Transport) -> io::Result<ReactorToken> {
        transport.token(&self.remote, |socket| self.reactor().register(socket))
    }

    /// Starts to watch a connection.
    pub(super) fn watch(&self, transport: &Arc<Transport>) -> io::Result<ReactorToken> {
        let token = self.token(transport)?;
        let number = token.number() as usize;
        let mut watched = lock(&self.watched);
        if watched.len() <= number {
            watched.resize_with(number + 1, || None);
        }
        let entry = WatchedConnection {
            token,
            transport: transport.clone(),
            waiters: Vec::new(),
            turns: 0,
            has_missed: false,
            on_end: None,
            ignores_unread: false,
        };
        let before = watched[number].replace(entry);
        drop(watched);
        drop(before);
        Ok(token)
    }

    /// Whether callbacks of the event loop may run it in turn.
    pub(super) fn may_nest(&self, py: Python<'_>) -> PyResult<bool> {
        let python = lock(&self.python);
        let Some(modules) = python.as_ref().map(|python| python.modules.bind(py)) else {
            return Ok(false);
        };
        modules.contains(intern!(py, "nest_asyncio"))
    }

    pub(super) fn event_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.python).as_ref().map(|python| python.event_loop.clone_ref(py))
    }

    pub(super) fn done(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.python).as_ref().map(|python| python.done.clone_ref(py))
    }

    pub(super) fn start(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.python).as_ref()?.start.as_ref().map(|start| start.clone_ref(py))
    }

    /// Registers an operation to be woken when it should try again. Returns `false` if the
    /// connection is not watched any more.
    pub(super) fn add_waiter(&self, token: ReactorToken, waiter: Py<OperationFuture>) -> bool {
        let mut given_up = Vec::new();
        let is_added = self.with(token, |entry| {
            if entry.waiters.iter().any(|waiter| !waiter.get().is_waiting()) {
                // cancelled
                let waiters = std::mem::take(&mut entry.waiters);
                (entry.waiters, given_up) =
                    waiters.into_iter().partition(|waiter| waiter.get().is_waiting());
            }
            entry.waiters.push(waiter);
        });
        drop(given_up);
        is_added.is_some()
    }

    /// Takes the operations that wait for a connection: nearly always there is one.
    pub(super) fn take_waiters(&self, caller: CallerId) -> Option<Waiters> {
        let mut watched = lock(&self.watched);
        let entry = watched.get_mut(caller as usize)?.as_mut()?;
        // keep the memory of the list for the next
        let first = entry.waiters.pop();
        let others =
            if entry.waiters.is_empty() { Vec::new() } else { std::mem::take(&mut entry.waiters) };
        Some(Waiters { token: entry.token, transport: entry.transport.clone(), first, others })
    }

    pub(super) fn forget(&self, token: ReactorToken) {
        let mut watched = lock(&self.watched);
        let entry = watched.get_mut(token.number() as usize);
        let entry = entry.and_then(|entry| entry.take_if(|entry| entry.token == token));
        drop(watched);
        drop(entry);
    }

    pub(super) fn with<T>(
        &self,
        token: ReactorToken,
        change: impl FnOnce(&mut WatchedConnection) -> T,
    ) -> Option<T> {
        let mut watched = lock(&self.watched);
        let entry = watched.get_mut(token.number() as usize)?.as_mut();
        entry.filter(|entry| entry.token == token).map(change)
    }

    /// Wakes the operations that wait for the connection, so that they try again.
    pub(super) fn wake_soon(&self, transport: &Transport) {
        if let Ok(token) = self.token(transport) {
            self.remote.waker(token.number()).wake();
        }
    }

    /// Notes that an operation yields to other tasks.
    pub(super) fn note_yielded(&self, token: ReactorToken) {
        self.with(token, |entry| entry.turns += 1);
    }

    /// Notes that it goes on, or is given up.
    pub(super) fn note_resumed(&self, token: ReactorToken) {
        let must_look = self.with(token, |entry| {
            entry.turns = entry.turns.saturating_sub(1);
            entry.turns == 0 && std::mem::take(&mut entry.has_missed)
        });
        if must_look == Some(true) {
            self.remote.waker(token.number()).wake();
        }
    }
}

/// The exception for calls after the end of the event loop.
pub(super) fn has_ended() -> PyErr {
    PyRuntimeError::new_err("the event loop has ended")
}
