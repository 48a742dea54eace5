//! Runs handlers in threads, one per connection. Their number is not limited, since handlers may
//! wait for each other.
//!
//! When a connection has ended, its thread waits a while for the next one. This saves starting a
//! thread for each of many short connections.

use std::{
    io,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Arc,
    },
    thread,
    time::Duration,
};

use super::job_queue::JobQueue;
use crate::system::{Native, System};

/// How long a thread waits for work before it ends.
const IDLE: Duration = Duration::from_secs(5);

/// Work for one connection, from the opening handshake to the end.
pub type ThreadJob = Box<dyn FnOnce() + Send>;

/// Where handlers run.
pub trait Executor: Send + Sync {
    /// Takes a job and returns at once.
    ///
    /// # Errors
    /// If the job cannot be run; it is dropped then.
    fn spawn(&self, job: ThreadJob) -> io::Result<()>;
}

/// One thread per job.
#[derive(Clone)]
pub struct Threads {
    pool: Arc<Pool>,
    stack_size: usize,
    idle: Duration,
}

#[derive(Default)]
struct Pool {
    queue: JobQueue<ThreadJob>,
    alive: AtomicUsize,
}

impl std::fmt::Debug for Threads {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Threads")
            .field("stack_size", &self.stack_size)
            .finish_non_exhaustive()
    }
}

impl Threads {
    /// Threads with stacks of `stack_size` bytes of address space. The system allocates memory
    /// only as it is used.
    pub fn new(stack_size: usize) -> Self {
        Self { pool: Arc::default(), stack_size, idle: IDLE }
    }

    /// Lets the threads end that wait for a job, and the others after theirs.
    pub fn end(&self) {
        self.pool.queue.end();
    }

    /// How many threads have a job, and how many wait for one.
    pub fn counts(&self) -> (usize, usize) {
        let idle = self.pool.queue.idle();
        (self.pool.alive.load(Ordering::SeqCst).saturating_sub(idle), idle)
    }
}

impl Executor for Threads {
    fn spawn(&self, job: ThreadJob) -> io::Result<()> {
        let Err(job) = self.pool.queue.push_to_idle(job) else { return Ok(()) };
        self.pool.alive.fetch_add(1, Ordering::SeqCst);
        let (pool, limit) = (self.pool.clone(), self.idle);
        let started = thread::Builder::new()
            .name("fastwsh-handler".to_owned())
            .stack_size(self.stack_size)
            .spawn(move || {
                // the thread that starts this one may be one that interrupts none
                Native::interrupt_again();
                job();
                while let Some(job) = pool.queue.pop_within(limit) {
                    job();
                }
                pool.alive.fetch_sub(1, Ordering::SeqCst);
            });
        if started.is_err() {
            self.pool.alive.fetch_sub(1, Ordering::SeqCst);
        }
        started.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{mpsc, Barrier};

    use super::*;

    #[test]
    fn jobs_that_wait_for_each_other_all_run() {
        let threads = Threads::new(64 * 1024);
        let barrier = Arc::new(Barrier::new(51));
        for _ in 0..50 {
            let barrier = barrier.clone();
            let job = Box::new(move || {
                barrier.wait();
            });
            threads.spawn(job).expect("a thread");
        }
        barrier.wait();
    }

    #[test]
    fn threads_without_a_job_end_when_they_are_told() {
        let threads = Threads { idle: Duration::from_secs(3600), ..Threads::new(64 * 1024) };
        let is_over = || threads.pool.alive.load(Ordering::SeqCst) == 0;
        threads.spawn(Box::new(|| ())).expect("a thread");
        while threads.counts() != (0, 1) {
            thread::yield_now();
        }
        let (sender, receiver) = mpsc::channel();
        for is_late in [false, true] {
            let sender = sender.clone();
            let job = Box::new(move || sender.send(is_late).expect("a receiver"));
            threads.spawn(job).expect("a thread");
            threads.end();
            assert_eq!(receiver.recv(), Ok(is_late));
            while !is_over() {
                thread::yield_now();
            }
        }
    }
}
