//! Whether a handler waits for input. The keepalive thread, which reads ahead to answer pings, must
//! not take that input then. The kernel reports input to a reactor once, and not at all if another
//! thread has read it before, so the handler would go on sleeping although its message has arrived.
//!
//! `tests/models` runs this file under many schedules, so it has no tests of its own.

use crate::sync::{AtomicBool, Ordering};

/// Whether a handler of a connection waits for input.
#[derive(Debug, Default)]
pub struct AwaitedInput(AtomicBool);

impl AwaitedInput {
    /// Notes that the caller is going to wait, if there is nothing to receive. `half` is the locked
    /// receiving half, which this releases; without it, the caller does not wait.
    ///
    /// The note is made while the half is locked, so that no other thread takes the half before it
    /// can see the note.
    pub fn begin<H>(&self, half: Option<H>, is_drained: impl FnOnce(&mut H) -> bool) -> bool {
        let Some(mut half) = half else { return false };
        let waits = is_drained(&mut half);
        if waits {
            self.0.store(true, Ordering::SeqCst);
        }
        waits
    }

    /// Notes that the caller does not wait, or no longer waits.
    pub fn end(&self) {
        self.0.store(false, Ordering::SeqCst);
    }

    /// Makes an attempt of a caller that repeats it when it is woken, and does not wait in it.
    /// `waits` tells whether the outcome is to wait.
    ///
    /// The note comes before anything looks whether there is input: the keepalive thread could
    /// otherwise take it in between.
    pub fn attempt<T>(&self, attempt: impl FnOnce() -> T, waits: impl FnOnce(&T) -> bool) -> T {
        self.0.store(true, Ordering::SeqCst);
        let outcome = attempt();
        if !waits(&outcome) {
            self.end();
        }
        outcome
    }

    /// The locked receiving half for a caller that reads ahead, unless a handler waits.
    pub fn for_reading_ahead<H>(&self, half: Option<H>) -> Option<H> {
        // looked at while the half is locked, see `begin`
        half.filter(|_| !self.0.load(Ordering::SeqCst))
    }
}
