//! Counts connections when they are accepted, for the metrics.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        Mutex,
    },
};

use crate::locks::lock;

/// Counts connections when they are accepted.
#[derive(Debug, Default)]
pub(in crate::server) struct Arrivals {
    accepted: AtomicU64,
    /// Refused connections, by the option that sets the limit.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Arrivals {
    pub(in crate::server) fn note_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::server) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many connections were refused because of a limit.
    pub(in crate::server) fn refused(&self, option: &str) -> u64 {
        lock(&self.refused).get(option).copied().unwrap_or_default()
    }

    pub(in crate::server) fn note_refused(&self, option: &'static str) {
        *lock(&self.refused).entry(option).or_default() += 1;
    }
}
