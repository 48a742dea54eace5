//! How other threads wake a reactor that waits in the system.

use crate::sync::{AtomicBool, Ordering};

/// Whether the reactor waits, and whether other threads have something for it.
///
/// The reactor says that it sleeps, then looks whether there is something. Another thread leaves
/// something and says so, then looks whether the reactor sleeps. So either that thread wakes the
/// reactor, or the reactor sees that there is something.
#[derive(Debug, Default)]
pub(crate) struct WakeUp {
    asleep: AtomicBool,
    pending: AtomicBool,
}

impl WakeUp {
    /// Called by another thread that has left something. Returns whether it must wake the reactor.
    pub(crate) fn announce(&self) -> bool {
        self.pending.store(true, Ordering::SeqCst);
        self.asleep.swap(false, Ordering::SeqCst)
    }

    /// Called by the reactor before it waits. Returns `false` if there is something, so that it must
    /// not wait.
    pub(crate) fn may_sleep(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        !self.pending.load(Ordering::SeqCst)
    }

    /// Called by the reactor after it has waited.
    pub(crate) fn stay_awake(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Called by the reactor before it takes what others have left. Returns whether there is
    /// something.
    pub(crate) fn take(&self) -> bool {
        self.pending.load(Ordering::Relaxed) && self.pending.swap(false, Ordering::SeqCst)
    }
}
