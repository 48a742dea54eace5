//! Measures how long a caller has used the thread that it shares, with a clock that is cheap enough
//! to be read for each message.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::system::{Native, System};

/// The time for which a caller may use the thread before it must let others run. Switching costs
/// microseconds, so this is long compared with the cost and short compared with what a peer
/// notices.
const SLICE_NS: u64 = 3_000_000;

/// The time when the slice of a caller began.
#[derive(Debug)]
pub struct TimeSlice(AtomicU64);

impl TimeSlice {
    /// Begins a slice.
    pub fn begin() -> Self {
        Self(AtomicU64::new(Native::cheap_clock()))
    }

    /// Begins the next slice.
    pub fn begin_again(&self) {
        self.0.store(Native::cheap_clock(), Ordering::Relaxed);
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        Native::cheap_clock().saturating_sub(self.0.load(Ordering::Relaxed)) >= SLICE_NS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_after_its_time() {
        let slice = TimeSlice::begin();
        assert!(!slice.is_over());
        std::thread::sleep(std::time::Duration::from_nanos(SLICE_NS * 10));
        assert!(slice.is_over());
    }
}
