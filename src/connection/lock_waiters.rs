//! Wakes callers that wait for a half of a connection but must not block on its lock, because they
//! share their thread.

use std::task::Waker;

use crate::{
    locks::lock,
    sync::{AtomicBool, Mutex, Ordering},
};

/// The callers that wait for a lock of one connection.
#[derive(Debug, Default)]
pub struct LockWaiters {
    contended: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl LockWaiters {
    /// Registers a caller to be woken when a lock is released. The caller must try the lock once
    /// more before it waits, as the lock may have been released in between.
    pub fn register(&self, waker: Waker) {
        lock(&self.waiting).push(waker);
        self.contended.store(true, Ordering::SeqCst);
    }

    /// Wakes the waiters; to be called after releasing a lock.
    #[inline]
    pub fn released(&self) {
        // Either this load sees the waiter, or the waiter's second try comes after the unlocking
        // and succeeds. Unlocking is a release operation, and the abstract memory model lets a
        // sequentially consistent load pass it. x86-64 does not, as the operation is an exchange,
        // nor does AArch64, where such a load waits for earlier releases. For other processors two
        // fences would be needed, which each message would pay for here.
        if self.contended.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    #[cold]
    fn wake(&self) {
        if self.contended.swap(false, Ordering::SeqCst) {
            for waker in std::mem::take(&mut *lock(&self.waiting)) {
                waker.wake();
            }
        }
    }
}
