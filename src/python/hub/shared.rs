//! The part of the hub that all threads use: they submit connections here, and the watchdog
//! watches.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        Arc, Mutex,
    },
    thread,
    time::Duration,
};

use pyo3::prelude::*;

use crate::{
    connection::{CallerId, Reactor, Remote},
    locks::lock,
    python::{
        errors::os_error,
        handler_job::{ConnectionGuard, HandlerJob},
    },
    server::{JobQueue, Slices},
};

/// The stack size of the hub's thread. Stacks of handlers that wait are copied elsewhere, so it
/// need only be as deep as the deepest of them. The system allocates memory only as it is used.
const STACK_BYTES: usize = 16 << 20;

/// The part of the hub that all threads use.
#[derive(Debug)]
pub(in crate::python) struct Hub {
    process: u32,
    /// Closed when the hub accepts no more jobs.
    pub(super) jobs: JobQueue<HandlerJob>,
    pub(super) remote: Arc<Remote>,
    pub(in crate::python) slices: Arc<Slices>,
    /// The handler that has the current slice.
    pub(super) running: AtomicU32,
    /// The guards of connections, by caller, through which a long slice is reported.
    pub(super) owners: Mutex<Vec<Option<ConnectionGuard>>>,
    /// The interpreter ends, so that it must not be used any more.
    ending: AtomicBool,
}

/// The function of the hub's thread.
type Run = fn(Arc<Hub>, Reactor);

static SHARED: Mutex<Option<Arc<Hub>>> = Mutex::new(None);

impl Hub {
    /// The only hub of the process, started at its first use; after a fork, the child starts its
    /// own.
    pub(super) fn shared(py: Python<'_>, run: Run) -> PyResult<Arc<Self>> {
        // import before the lock is taken, since an import may run any code
        py.import("greenlet")?;
        py.import("fastwsh.session")?;
        let process = std::process::id();
        let mut shared = lock(&SHARED);
        let usable = |hub: &&Arc<Self>| hub.process == process && !hub.jobs.is_closed();
        if let Some(hub) = shared.as_ref().filter(usable) {
            return Ok(hub.clone());
        }
        let started = Self::start(process, run).map_err(|error| os_error(&error))?;
        Ok(shared.insert(started).clone())
    }

    fn start(process: u32, run: Run) -> io::Result<Arc<Self>> {
        let reactor = Reactor::new()?;
        let hub = Arc::new(Self {
            process,
            jobs: JobQueue::default(),
            remote: reactor.remote().clone(),
            slices: Arc::default(),
            running: AtomicU32::new(CallerId::MAX),
            owners: Mutex::default(),
            ending: AtomicBool::new(false),
        });
        let own = hub.clone();
        thread::Builder::new()
            .name("fastwsh-hub".to_owned())
            .stack_size(STACK_BYTES)
            .spawn(move || run(own, reactor))?;
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
        if let Err(job) = self.jobs.push(job) {
            return Some(job);
        }
        if self.slices.is_stalled() {
            // the watchdog may have moved the jobs to threads just before this one was added
            return self.jobs.pop();
        }
        self.remote.call();
        None
    }

    /// Runs all waiting jobs, and all future ones, in threads.
    pub(super) fn give_up(&self) {
        for job in self.jobs.close() {
            job.run_in_a_thread();
        }
    }

    /// Handles a slice that takes too long: logs it, and moves the jobs that have not begun to
    /// threads.
    pub(super) fn stalled(&self, taken: Duration) {
        let running = self.running.load(Ordering::Relaxed) as usize;
        if let Some(Some(owner)) = lock(&self.owners).get(running) {
            owner.report_stall(taken);
        }
        while let Some(job) = self.jobs.pop() {
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
