//! Connections before anything is known of them, counted for the metrics.

use std::{
    collections::BTreeMap,
    sync::{
        atomic::{AtomicU64, Ordering},
        Mutex,
    },
};

use crate::locks::lock;

/// Counts connections before anything is known of them.
#[derive(Debug, Default)]
pub(in crate::server) struct Arrivals {
    accepted: AtomicU64,
    /// By the option that sets the limit.
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Arrivals {
    pub(in crate::server) fn note_accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    pub(in crate::server) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were too many for a limit.
    pub(in crate::server) fn refused(&self, option: &str) -> u64 {
        lock(&self.refused).get(option).copied().unwrap_or_default()
    }

    pub(in crate::server) fn note_refused(&self, option: &'static str) {
        *lock(&self.refused).entry(option).or_default() += 1;
    }
}
