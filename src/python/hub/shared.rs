//! The part of the hub that all threads use: they submit connections here, and the watchdog
//! watches.

use std::{
    collections::VecDeque,
    io,
    sync::{
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
        Arc, Mutex,
    },
    thread,
    time::Duration,
};

use pyo3::prelude::*;

use super::HubThread;
use crate::{
    connection::{CallerId, Reactor, Remote},
    locks::lock,
    python::{
        dispatch::{ConnectionGuard, HandlerJob},
        errors::os_error,
    },
    server::Slices,
};

/// The stack size of the hub's thread. Stacks of handlers that wait are copied elsewhere, so it
/// need only be as deep as the deepest of them. The system allocates memory only as it is used.
const STACK_BYTES: usize = 16 << 20;

/// The part of the hub that all threads use.
#[derive(Debug)]
pub(in crate::python) struct Hub {
    process: u32,
    jobs: Mutex<VecDeque<HandlerJob>>,
    /// The number of waiting jobs, which can be read without the lock.
    waiting_jobs: AtomicUsize,
    pub(super) remote: Arc<Remote>,
    pub(in crate::python) slices: Arc<Slices>,
    /// The handler that has the current slice.
    pub(super) running: AtomicU32,
    /// The guards of connections, by caller, through which a long slice is reported.
    pub(super) owners: Mutex<Vec<Option<ConnectionGuard>>>,
    /// The interpreter ends, so that it must not be used any more.
    ending: AtomicBool,
    /// The hub accepts no more jobs.
    dead: AtomicBool,
}

static SHARED: Mutex<Option<Arc<Hub>>> = Mutex::new(None);

impl Hub {
    /// The only hub of the process, started at its first use; after a fork, the child starts its
    /// own.
    pub(in crate::python) fn shared(py: Python<'_>) -> PyResult<Arc<Self>> {
        // import before the lock is taken, since an import may run any code
        py.import("greenlet")?;
        py.import("fastwsh.session")?;
        let process = std::process::id();
        let mut shared = lock(&SHARED);
        let usable = |hub: &&Arc<Self>| hub.process == process && !hub.dead.load(Ordering::SeqCst);
        if let Some(hub) = shared.as_ref().filter(usable) {
            return Ok(hub.clone());
        }
        let started = Self::start(process).map_err(|error| os_error(&error))?;
        Ok(shared.insert(started).clone())
    }

    fn start(process: u32) -> io::Result<Arc<Self>> {
        let reactor = Reactor::new()?;
        let hub = Arc::new(Self {
            process,
            jobs: Mutex::default(),
            waiting_jobs: AtomicUsize::new(0),
            remote: reactor.remote().clone(),
            slices: Arc::default(),
            running: AtomicU32::new(CallerId::MAX),
            owners: Mutex::default(),
            ending: AtomicBool::new(false),
            dead: AtomicBool::new(false),
        });
        let own = hub.clone();
        thread::Builder::new()
            .name("fastwsh-hub".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || HubThread::run(own, reactor))?;
        Ok(hub)
    }

    /// Keeps the hub's thread out of an interpreter that is ending. `atexit` calls this. It is
    /// registered when the module is imported, so that functions that were registered later run
    /// before.
    pub(in crate::python) fn end() {
        if let Some(hub) = &*lock(&SHARED) {
            hub.ending.store(true, Ordering::SeqCst);
        }
    }

    /// Runs a connection's handler in the hub. Returns the job if a handler is blocking the hub.
    pub(in crate::python) fn submit(&self, job: HandlerJob) -> Option<HandlerJob> {
        if self.slices.is_stalled() {
            return Some(job);
        }
        lock(&self.jobs).push_back(job);
        self.waiting_jobs.fetch_add(1, Ordering::SeqCst);
        if self.slices.is_stalled() || self.dead.load(Ordering::SeqCst) {
            // the watchdog may have moved the jobs to threads just before this one was added
            return self.take_job();
        }
        self.remote.call();
        None
    }

    /// Runs all waiting jobs, and all future ones, in threads.
    pub(super) fn give_up(&self) {
        self.dead.store(true, Ordering::SeqCst);
        while let Some(job) = self.take_job() {
            job.run_in_a_thread();
        }
    }

    pub(super) fn has_jobs(&self) -> bool {
        self.waiting_jobs.load(Ordering::Relaxed) > 0
    }

    pub(super) fn take_job(&self) -> Option<HandlerJob> {
        let job = lock(&self.jobs).pop_front()?;
        self.waiting_jobs.fetch_sub(1, Ordering::SeqCst);
        Some(job)
    }

    /// Handles a slice that takes too long: logs it, and moves the jobs that have not begun to
    /// threads.
    pub(super) fn stalled(&self, taken: Duration) {
        let running = self.running.load(Ordering::Relaxed) as usize;
        if let Some(Some(owner)) = lock(&self.owners).get(running) {
            owner.report_stall(taken);
        }
        while let Some(job) = self.take_job() {
            job.run_in_a_thread();
        }
    }

    /// Keeps a thread away from an interpreter that is ending, for good.
    pub(super) fn stop_if_ending(&self) {
        while self.ending.load(Ordering::SeqCst) {
            thread::park();
        }
    }
}
