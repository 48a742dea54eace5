//! Runs handlers in threads, one per connection. Their number is not limited, since handlers may
//! wait for each other.
//!
//! When a connection has ended, its thread waits a while for the next one. This saves starting a
//! thread for each of many short connections.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

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
    shared: Arc<Pool>,
    stack_size: usize,
}

struct Pool {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<ThreadJob>,
    alive: usize,
    idle: usize,
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
    /// Threads with stacks of `stack_size` bytes of address space. The system allocates memory only
    /// as it is used.
    pub fn new(stack_size: usize) -> Self {
        let shared = Pool { queue: Mutex::default(), ready: Condvar::new() };
        Self { shared: Arc::new(shared), stack_size }
    }

    /// How many threads have a job, and how many wait for one.
    pub fn counts(&self) -> (usize, usize) {
        let queue = self.shared.lock();
        let idle = queue.idle.saturating_sub(queue.jobs.len());
        (queue.alive - idle, idle)
    }
}

impl Executor for Threads {
    fn spawn(&self, job: ThreadJob) -> io::Result<()> {
        let mut queue = self.shared.lock();
        if queue.idle > queue.jobs.len() {
            queue.jobs.push_back(job);
            self.shared.ready.notify_one();
            return Ok(());
        }
        queue.alive += 1;
        drop(queue);
        let shared = self.shared.clone();
        let started = thread::Builder::new()
            .name("fastwsh-handler".to_owned())
            .stack_size(self.stack_size)
            .spawn(move || {
                job();
                while let Some(job) = shared.next() {
                    job();
                }
            });
        if started.is_err() {
            self.shared.lock().alive -= 1;
        }
        started.map(drop)
    }
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Option<ThreadJob> {
        let mut queue = self.lock();
        queue.idle += 1;
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                queue.idle -= 1;
                return Some(job);
            }
            let (guard, timeout) =
                self.ready.wait_timeout(queue, IDLE).unwrap_or_else(PoisonError::into_inner);
            queue = guard;
            if timeout.timed_out() && queue.jobs.is_empty() {
                queue.idle -= 1;
                queue.alive -= 1;
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

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
}
