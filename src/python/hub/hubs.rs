//! The part of the hub that all threads use: they submit connections here, and the watchdog
//! watches.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
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
    server::{Heartbeat, JobQueue},
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
    pub(super) heartbeat: Arc<Heartbeat>,
    /// The handler that has the current slice.
    pub(super) running: AtomicU32,
    /// The guards of connections, by caller, through which a long slice is reported.
    pub(super) owners: Mutex<Vec<Option<ConnectionGuard>>>,
    /// The interpreter ends, so that it must not be used any more.
    ending: AtomicBool,
}

/// The function of the hub's thread.
type Run = fn(Arc<Hub>, Reactor);

/// The hubs of the process. Each has a thread and state of its own; servers share them.
static HUBS: Mutex<Vec<Arc<Hub>>> = Mutex::new(Vec::new());

/// The hubs among which a server shares out its connections.
#[derive(Debug)]
pub(in crate::python) struct Hubs {
    hubs: Vec<Arc<Hub>>,
    /// Counts connections, which take turns.
    next: AtomicUsize,
}

impl Hubs {
    /// The first hubs of the process, which are started at their first use; after a fork, the child
    /// starts its own.
    pub(super) fn of_process(py: Python<'_>, count: usize, run: Run) -> PyResult<Self> {
        // import before the lock is taken, since an import may run any code
        py.import("greenlet")?;
        py.import("fastwsh.running.session")?;
        let process = std::process::id();
        let mut all = lock(&HUBS);
        all.retain(|hub| hub.process == process && !hub.jobs.is_closed());
        while all.len() < count {
            all.push(Hub::start(process, run).map_err(|error| os_error(&error))?);
        }
        let hubs = all.iter().take(count).cloned().collect();
        Ok(Self { hubs, next: AtomicUsize::new(0) })
    }

    /// Runs a connection's handler in the hub whose turn it is, or in the next one in which no handler
    /// blocks the others. Returns the job if there is none.
    pub(in crate::python) fn submit(&self, mut job: HandlerJob) -> Option<HandlerJob> {
        let first = self.next.fetch_add(1, Ordering::Relaxed) % self.hubs.len().max(1);
        let (before, from_first) = self.hubs.split_at(first);
        for hub in from_first.iter().chain(before) {
            job = hub.submit(job)?;
        }
        Some(job)
    }

    /// Turns of handlers, and slices that took too long.
    pub(in crate::python) fn counts(&self) -> (u64, u64) {
        let counts = self.hubs.iter().map(|hub| hub.heartbeat.counts());
        counts.fold((0, 0), |(turns, stalls), (more, others)| (turns + more, stalls + others))
    }
}

impl Hub {
    fn start(process: u32, run: Run) -> io::Result<Arc<Self>> {
        let reactor = Reactor::new()?;
        let hub = Arc::new(Self {
            process,
            jobs: JobQueue::default(),
            remote: reactor.remote().clone(),
            heartbeat: Arc::default(),
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

    /// Keeps the hubs' threads out of an interpreter that is ending. `atexit` calls this. It is
    /// registered when the module is imported, so that functions that were registered later run
    /// before.
    pub(in crate::python) fn end_all() {
        for hub in lock(&HUBS).iter() {
            hub.ending.store(true, Ordering::SeqCst);
        }
    }

    /// Runs a connection's handler in the hub. Returns the job if a handler is blocking the hub.
    fn submit(&self, job: HandlerJob) -> Option<HandlerJob> {
        if self.heartbeat.is_stalled() {
            return Some(job);
        }
        if let Err(job) = self.jobs.push(job) {
            return Some(job);
        }
        if self.heartbeat.is_stalled() {
            // the watchdog may have moved the jobs to threads just before this one was added
            return self.jobs.pop();
        }
        self.remote.wake();
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
