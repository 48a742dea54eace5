//! A queue of jobs that can be closed. Workers may wait in it, or be woken in another way.

use std::{collections::VecDeque, time::Duration};

use crate::{
    locks::lock,
    sync::{AtomicUsize, Condvar, Mutex, Ordering, PoisonError},
};

/// Jobs in the order of arrival.
#[derive(Debug)]
pub struct JobQueue<J> {
    state: Mutex<State<J>>,
    /// For workers that wait in [`Self::pop_within`].
    ready: Condvar,
    /// The number of waiting jobs, which can be read without the lock.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct State<J> {
    jobs: VecDeque<J>,
    /// Workers in [`JobQueue::pop_within`].
    idle: usize,
    is_closed: bool,
}

impl<J> Default for JobQueue<J> {
    fn default() -> Self {
        let state = State { jobs: VecDeque::new(), idle: 0, is_closed: false };
        Self { state: Mutex::new(state), ready: Condvar::new(), waiting: AtomicUsize::new(0) }
    }
}

impl<J> JobQueue<J> {
    /// Appends a job.
    ///
    /// # Errors
    /// The job, if the queue is closed.
    pub fn push(&self, job: J) -> Result<(), J> {
        self.push_if(job, |state| !state.is_closed)
    }

    /// Appends a job if more workers wait than jobs.
    ///
    /// # Errors
    /// The job, if there is no such worker or the queue is closed.
    pub fn push_to_idle(&self, job: J) -> Result<(), J> {
        self.push_if(job, |state| !state.is_closed && state.idle > state.jobs.len())
    }

    fn push_if(&self, job: J, accepts: impl FnOnce(&State<J>) -> bool) -> Result<(), J> {
        let mut state = lock(&self.state);
        if !accepts(&state) {
            return Err(job);
        }
        state.jobs.push_back(job);
        self.waiting.store(state.jobs.len(), Ordering::SeqCst);
        if state.idle > 0 {
            self.ready.notify_one();
        }
        Ok(())
    }

    /// Takes the first job.
    pub fn pop(&self) -> Option<J> {
        self.pop_from(&mut lock(&self.state))
    }

    fn pop_from(&self, state: &mut State<J>) -> Option<J> {
        let job = state.jobs.pop_front()?;
        self.waiting.store(state.jobs.len(), Ordering::SeqCst);
        Some(job)
    }

    /// Takes the first job, or waits for one. Returns `None` if there is none within `limit`, or if
    /// the queue is closed.
    pub fn pop_within(&self, limit: Duration) -> Option<J> {
        let mut state = lock(&self.state);
        state.idle += 1;
        let job = loop {
            if let Some(job) = self.pop_from(&mut state) {
                break Some(job);
            }
            if state.is_closed {
                break None;
            }
            let waited = self.ready.wait_timeout(state, limit);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            if timeout.timed_out() && state.jobs.is_empty() {
                break None;
            }
        };
        state.idle -= 1;
        job
    }

    /// Whether no job waits. Reads without the lock, so this may change at any time.
    pub fn is_empty(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) == 0
    }

    /// The number of waiting workers that are not needed for waiting jobs.
    pub fn idle(&self) -> usize {
        let state = lock(&self.state);
        state.idle.saturating_sub(state.jobs.len())
    }

    /// Closes the queue and returns the jobs that no worker has taken.
    pub fn close(&self) -> VecDeque<J> {
        let mut state = lock(&self.state);
        state.is_closed = true;
        self.waiting.store(0, Ordering::SeqCst);
        self.ready.notify_all();
        std::mem::take(&mut state.jobs)
    }

    /// Closes the queue; workers take the jobs that are in it.
    pub fn end(&self) {
        lock(&self.state).is_closed = true;
        self.ready.notify_all();
    }

    /// Whether the queue is closed.
    pub fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }
}
