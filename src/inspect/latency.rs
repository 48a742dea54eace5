//! How long handlers take to answer: from the arrival of a message to the next one that is sent.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The number of buckets. Bucket `n` counts times below `2^n` microseconds; the last one all others.
pub const BUCKETS: usize = 26;

/// Times by their power of two.
#[derive(Debug, Default)]
pub(super) struct Latency([AtomicU64; BUCKETS]);

impl Latency {
    pub(super) fn note(&self, time: Duration) {
        let bits = 128 - time.as_micros().leading_zeros() as usize;
        self.0[bits.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn counts(&self) -> [u64; BUCKETS] {
        std::array::from_fn(|bucket| self.0[bucket].load(Ordering::Relaxed))
    }
}
