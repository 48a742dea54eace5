//! The hub as every thread sees it: where connections are handed in, and its watchdog's view.

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

/// Stack of the hub's thread: handlers that wait are copied away, so that it is as deep as the
/// deepest of them. Memory is taken as it is used.
const STACK_BYTES: usize = 16 << 20;

/// The hub as every thread sees it.
#[derive(Debug)]
pub(in crate::python) struct Hub {
    process: u32,
    jobs: Mutex<VecDeque<HandlerJob>>,
    /// How many there are, to be seen without the lock.
    waiting_jobs: AtomicUsize,
    pub(super) remote: Arc<Remote>,
    pub(in crate::python) slices: Arc<Slices>,
    /// Whose slice it is.
    pub(super) running: AtomicU32,
    /// Who is told of a long slice, by caller.
    pub(super) owners: Mutex<Vec<Option<ConnectionGuard>>>,
    /// The interpreter ends: nothing of it may be touched any more.
    ending: AtomicBool,
    /// Nobody takes jobs any more.
    dead: AtomicBool,
}

static SHARED: Mutex<Option<Arc<Hub>>> = Mutex::new(None);

impl Hub {
    /// The process's only one, started when it is first wanted; also after a fork.
    pub(in crate::python) fn shared(py: Python<'_>) -> PyResult<Arc<Self>> {
        // what it needs of Python is there before a lock is held
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

    /// Keeps the hub's thread out of an interpreter that is ending. Called by `atexit`, and
    /// registered when the module is imported, so that whatever else is called there comes first.
    pub(in crate::python) fn end() {
        if let Some(hub) = &*lock(&SHARED) {
            hub.ending.store(true, Ordering::SeqCst);
        }
    }

    /// Runs a connection's handler here; gives the job back while somebody keeps the thread.
    pub(in crate::python) fn submit(&self, job: HandlerJob) -> Option<HandlerJob> {
        if self.slices.is_stalled() {
            return Some(job);
        }
        lock(&self.jobs).push_back(job);
        self.waiting_jobs.fetch_add(1, Ordering::SeqCst);
        if self.slices.is_stalled() || self.dead.load(Ordering::SeqCst) {
            // whoever moved the jobs to threads may not have seen this one
            return self.take_job();
        }
        self.remote.call();
        None
    }

    /// Runs what waits, and what will come, in threads.
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

    /// The slice under way is a long one: the operator is told, and who has not begun yet gets a
    /// thread.
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
