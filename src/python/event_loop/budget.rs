//! How much a coroutine may do before others have their turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::connection::Slice;

/// The most messages that a coroutine receives or sends without waiting before others have their
/// turn, unless its slice ends earlier.
const BUDGET: usize = 64;

/// How much a coroutine may do before others have their turn. Only one thread uses it.
pub(super) struct Budget {
    left: AtomicUsize,
    slice: Slice,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self { left: AtomicUsize::new(BUDGET), slice: Slice::begin() }
    }

    pub(super) fn renew(&self) {
        self.left.store(BUDGET, Ordering::Relaxed);
    }

    /// Uses a part of the budget, and returns whether something was left. Most coroutines wait
    /// after a message or two, so the clock is read only from the third message on.
    pub(super) fn spend(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match BUDGET - left {
            0 | 1 => true,
            2 => {
                self.slice.begin_again();
                true
            }
            _ => left > 0 && !self.slice.is_over(),
        }
    }
}
