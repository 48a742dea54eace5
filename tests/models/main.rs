//! Model checks of the places where threads meet. They compile the files below with shuttle's locks
//! and atomic numbers. Shuttle decides at each use of them which thread runs next, and so tries
//! schedules that a real machine takes once in a year. A lost wake-up is a deadlock, which it
//! reports together with the schedule.
//!
//! Everything is as if all atomic operations were sequentially consistent, whatever the code says.
#![allow(
    dead_code,
    clippy::redundant_pub_crate,
    unreachable_pub,
    missing_docs,
    reason = "the files are parts of the library"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::{
    sync::Arc,
    task::{Wake, Waker},
    time::Duration,
};

use fastwsh::protocol;
use shuttle::{
    scheduler::PctScheduler,
    thread::{self, Thread},
    Config, Runner,
};

use self::{
    job_queue::JobQueue,
    lock_waiters::LockWaiters,
    locks::{lock, try_lock},
    send_queue::SendQueue,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    wake_up::WakeUp,
};

mod sync {
    pub(crate) use std::sync::{PoisonError, TryLockError};

    pub(crate) use shuttle::sync::{
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        Condvar, Mutex, MutexGuard,
    };

    pub(crate) mod thread {
        pub(crate) use shuttle::thread::{spawn, Builder};

        /// Lets all others run first.
        pub(crate) fn sleep(_: std::time::Duration) {
            shuttle::thread::yield_now();
        }
    }
}

mod awaiting_input;
mod connection;
mod flushing;
mod leaving;
mod registrations;

#[path = "../../src/connection/awaited_input.rs"]
mod awaited_input;
#[path = "../../src/connection/closing.rs"]
mod closing;
#[path = "../../src/connection/flusher.rs"]
mod flusher;
#[path = "../../src/server/run/job_queue.rs"]
mod job_queue;
#[path = "../../src/connection/lock_waiters.rs"]
mod lock_waiters;
#[path = "../../src/locks.rs"]
mod locks;
#[path = "../../src/connection/send_queue.rs"]
mod send_queue;
#[path = "../../src/connection/reactor/wake_up.rs"]
mod wake_up;

/// How many schedules are tried one after the other, beginning with the last decision.
const IN_ORDER: usize = 1_000;

/// How many are tried at random, and how many in which some thread is kept waiting for long.
const AT_RANDOM: usize = 2_000;

/// The same each time, so that a failure comes again.
const SEED: u64 = 6455;

fn check(model: impl Fn() + Copy + Send + Sync + 'static) {
    shuttle::check_dfs(model, Some(IN_ORDER));
    check_fair(model);
}

/// Without the schedules that are tried in order: a thread that looks again and again may run for
/// ever in them.
fn check_fair(model: impl Fn() + Copy + Send + Sync + 'static) {
    shuttle::check_random_with_seed(model, SEED, AT_RANDOM);
    let starving = PctScheduler::new_from_seed(SEED, 3, AT_RANDOM);
    Runner::new(starving, Config::default()).run(model);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn waker() -> Waker {
    Waker::from(Arc::new(Unpark(thread::current())))
}

/// Waits for a lock as a caller that shares its thread: see `Transport::lock_half`.
fn lock_shared<'a, T>(half: &'a Mutex<T>, lock_waiters: &LockWaiters) -> MutexGuard<'a, T> {
    loop {
        if let Some(guard) = try_lock(half) {
            return guard;
        }
        lock_waiters.register(waker());
        if try_lock(half).is_none() {
            thread::park();
        }
    }
}

#[test]
fn a_caller_that_waits_for_a_lock_is_woken() {
    check(|| {
        let shared = Arc::new((Mutex::new(0), LockWaiters::default()));
        let threads: Vec<_> = [false, true, true]
            .into_iter()
            .map(|waits| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (half, lock_waiters) = &*shared;
                    for _ in 0..2 {
                        let mut guard =
                            if waits { lock_shared(half, lock_waiters) } else { lock(half) };
                        *guard += 1;
                        drop(guard);
                        lock_waiters.released();
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(*lock(&shared.0), 6);
    });
}

/// The sending half, with bytes in place of a socket.
#[derive(Default)]
struct Sending {
    wire: Mutex<Vec<u8>>,
    queue: SendQueue,
    lock_waiters: LockWaiters,
}

impl Sending {
    fn send(&self, mut wire: MutexGuard<'_, Vec<u8>>, frame: &[u8]) {
        if let Some(queued) = self.queue.take() {
            wire.extend(queued.frames);
        }
        wire.extend(frame);
        drop(wire);
        self.lock_waiters.released();
    }

    /// As a coroutine: what it cannot send now, it queues, and then sees to it that it is sent.
    fn send_or_queue(&self, frame: &[u8]) {
        match try_lock(&self.wire) {
            Some(wire) => self.send(wire, frame),
            None => self.queue.push(&[&frame[..1], &frame[1..]], None),
        }
    }

    fn drain(&self) {
        while !self.queue.is_empty() {
            self.send(lock_shared(&self.wire, &self.lock_waiters), &[]);
        }
    }
}

#[test]
fn frames_that_were_queued_are_sent_in_order_by_whoever_comes_next() {
    check(|| {
        let sending = Arc::new(Sending::default());
        let other = thread::spawn({
            let sending = sending.clone();
            move || {
                for frame in [b"xx", b"yy"] {
                    sending.send(lock(&sending.wire), frame);
                }
            }
        });
        let coroutine = thread::spawn({
            let sending = sending.clone();
            move || {
                for frame in [b"11", b"22", b"33"] {
                    sending.send_or_queue(frame);
                }
                sending.drain();
            }
        });
        other.join().unwrap();
        coroutine.join().unwrap();
        let wire = std::mem::take(&mut *lock(&sending.wire));
        assert!(wire.chunks(2).all(|frame| frame[0] == frame[1]), "a frame is in pieces");
        for own in [&b"112233"[..], b"xxyy"] {
            let seen: Vec<u8> = wire.iter().copied().filter(|byte| own.contains(byte)).collect();
            assert_eq!(seen, own);
        }
    });
}

#[test]
fn a_job_is_done_once_or_given_back() {
    check(|| {
        let queue = Arc::new(JobQueue::default());
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || {
                    let mut done = Vec::new();
                    while let Some(job) = queue.pop_within(Duration::MAX) {
                        done.push(job);
                    }
                    done
                })
            })
            .collect();
        let sender = thread::spawn({
            let queue = queue.clone();
            move || {
                let results = [queue.push(1), queue.push_to_idle(2), queue.push(3)];
                results.into_iter().filter_map(Result::err).collect::<Vec<_>>()
            }
        });
        let mut jobs: Vec<i32> = queue.close().into();
        jobs.extend(sender.join().unwrap());
        for worker in workers {
            jobs.extend(worker.join().unwrap());
        }
        jobs.sort_unstable();
        assert_eq!(jobs, [1, 2, 3]);
        assert!(queue.is_empty() && queue.idle() == 0);
    });
}

#[test]
fn a_job_for_an_idle_worker_does_not_wait_for_the_next_one() {
    check(|| {
        let queue = Arc::new(JobQueue::default());
        let workers: Vec<_> = (0..2)
            .map(|_| {
                let queue = queue.clone();
                thread::spawn(move || queue.pop_within(Duration::MAX))
            })
            .collect();
        // as many jobs as there are workers: each gets one, if it came to wait in time
        let taken = (0..3).filter(|_| queue.push_to_idle(()).is_ok()).count();
        assert!(taken <= 2);
        for _ in taken..2 {
            queue.push(()).unwrap();
        }
        for worker in workers {
            assert_eq!(worker.join().unwrap(), Some(()));
        }
    });
}

#[test]
fn a_reactor_that_falls_asleep_is_woken_for_what_others_leave() {
    #[derive(Default)]
    struct Remote {
        wake_up: WakeUp,
        told: Mutex<Vec<u8>>,
        /// In place of the system's event descriptor.
        bell: Mutex<bool>,
        rings: Condvar,
    }
    check(|| {
        let remote = Arc::new(Remote::default());
        let threads: Vec<_> = [1, 2]
            .into_iter()
            .map(|number| {
                let remote = remote.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        lock(&remote.told).push(number);
                        if remote.wake_up.announce() {
                            *lock(&remote.bell) = true;
                            remote.rings.notify_one();
                        }
                    }
                })
            })
            .collect();
        let mut told = Vec::new();
        while told.len() < 4 {
            if remote.wake_up.may_sleep() {
                let mut bell = lock(&remote.bell);
                while !std::mem::take(&mut *bell) {
                    bell = remote.rings.wait(bell).unwrap_or_else(PoisonError::into_inner);
                }
            }
            remote.wake_up.stay_awake();
            if remote.wake_up.take() {
                told.append(&mut lock(&remote.told));
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
