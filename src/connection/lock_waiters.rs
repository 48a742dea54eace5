//! Waking those who wait for their turn with a part of a connection and must not block on its lock.

use std::{
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex,
    },
    task::Waker,
};

use crate::locks::lock;

/// Who waits for a lock of one connection.
#[derive(Debug, Default)]
pub struct LockWaiters {
    contended: AtomicBool,
    waiting: Mutex<Vec<Waker>>,
}

impl LockWaiters {
    /// Asks to be woken when a lock is let go of. The caller tries the lock once more before it
    /// waits.
    pub fn register(&self, waker: Waker) {
        lock(&self.waiting).push(waker);
        self.contended.store(true, Ordering::SeqCst);
    }

    /// A lock has been let go of.
    pub fn released(&self) {
        // behind the unlocking, which is sequentially consistent with the waiter's second try
        if self.contended.load(Ordering::SeqCst) && self.contended.swap(false, Ordering::SeqCst) {
            for waker in std::mem::take(&mut *lock(&self.waiting)) {
                waker.wake();
            }
        }
    }
}
