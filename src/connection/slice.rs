//! Measures how long a caller has used the thread that it shares, with a clock that is cheap enough
//! to be read for each message.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{clock_gettime, ClockId};

/// The time for which a caller may use the thread before it must let others run. Switching costs
/// microseconds, so this is long compared with the cost and short compared with what a peer
/// notices.
const SLICE_NS: u64 = 3_000_000;

/// The time when the slice of a caller began.
#[derive(Debug)]
pub struct Slice(AtomicU64);

impl Slice {
    /// Begins a slice.
    pub fn begin() -> Self {
        Self(AtomicU64::new(now()))
    }

    /// Begins the next slice.
    pub fn begin_again(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        now().saturating_sub(self.0.load(Ordering::Relaxed)) >= SLICE_NS
    }
}

/// The time of the last timer interrupt in nanoseconds. It is at most some milliseconds old, and
/// costs a fifth of the exact time.
fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicCoarse);
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_after_its_time() {
        let slice = Slice::begin();
        assert!(!slice.is_over());
        std::thread::sleep(std::time::Duration::from_nanos(SLICE_NS * 10));
        assert!(slice.is_over());
    }
}
