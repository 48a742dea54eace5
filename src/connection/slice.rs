//! How long a caller that shares its thread has gone on: a clock that is cheap enough to be asked for
//! each message.

use std::sync::atomic::{AtomicU64, Ordering};

use rustix::time::{clock_gettime, ClockId};

/// A share of the thread: others wait that long, and a tick of the clock more, for each caller before
/// them. Switching costs microseconds.
const SLICE_NS: u64 = 3_000_000;

/// When a share of a thread began.
#[derive(Debug)]
pub struct Slice(AtomicU64);

impl Slice {
    /// Begins one.
    pub fn begin() -> Self {
        Self(AtomicU64::new(now()))
    }

    /// Begins the next one.
    pub fn begin_again(&self) {
        self.0.store(now(), Ordering::Relaxed);
    }

    /// Whether it is over.
    pub fn is_over(&self) -> bool {
        now().saturating_sub(self.0.load(Ordering::Relaxed)) >= SLICE_NS
    }
}

/// The time of the last timer interrupt, some milliseconds ago at most, in nanoseconds: a fifth of the
/// price of the exact time.
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
