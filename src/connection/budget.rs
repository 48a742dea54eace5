//! How much a coroutine may do before others have their turn.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::slice::TimeSlice;

/// The most messages that a coroutine receives or sends without waiting before others have their
/// turn, unless its slice ends earlier.
const BUDGET: usize = 64;

/// How much a coroutine may do before others have their turn. Only one thread uses it.
#[derive(Debug)]
pub struct Budget {
    left: AtomicUsize,
    slice: TimeSlice,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: AtomicUsize::new(BUDGET), slice: TimeSlice::begin() }
    }
}

impl Budget {
    /// Restores the full budget, after others have had their turn.
    pub fn renew(&self) {
        self.left.store(BUDGET, Ordering::Relaxed);
    }

    /// Uses a part of the budget, and returns whether something was left. Most coroutines wait
    /// after a message or two, so the clock is read only from the third message on, and then for
    /// every second one.
    pub fn charge(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match BUDGET - left {
            0 | 1 => true,
            2 => {
                self.slice.begin_again();
                true
            }
            used => left > 0 && (used % 2 == 1 || !self.slice.is_over()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_spent_after_some_messages_and_renewed() {
        let budget = Budget::default();
        for _ in 0..3 {
            // the slice may end earlier, but is not looked at for the first messages
            let spent = (0..1000).take_while(|_| budget.charge()).count();
            assert!((3..=BUDGET).contains(&spent), "{spent}");
            assert!(!budget.charge());
            budget.renew();
        }
    }
}
