//! What the watched connections of a server share: the clock, and limits for all of them together.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{
        atomic::{AtomicU64, AtomicUsize, Ordering},
        Arc, Mutex,
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{latency::Latency, timeline::Timeline};
use crate::locks::{lock, try_lock};

/// Connections that have ended and are still shown.
const MAX_ENDED: usize = 1000;

/// The most decompressors; each takes about 50 KiB.
const MAX_DECOMPRESSORS: usize = 512;

/// What connections share.
#[derive(Debug)]
pub(super) struct InspectorState {
    /// A moment on the monotonic clock, and the same moment in seconds since 1970.
    origin: (Instant, f64),
    timelines: Mutex<Timelines>,
    /// Bytes of all timelines, and the most of them.
    used: AtomicUsize,
    limit: usize,
    /// Records that were dropped when timelines were shrunk.
    dropped: AtomicU64,
    /// Held by the thread that shrinks timelines.
    shrinking: Mutex<()>,
    decompressors: AtomicUsize,
    pub(super) latency: Latency,
}

/// The timelines of the connections that are known.
#[derive(Debug, Default)]
struct Timelines {
    by_id: BTreeMap<u64, Arc<Mutex<Timeline>>>,
    /// The connections that have ended, the one that ended first at the front.
    ended: VecDeque<u64>,
    /// Those that are not known any more, until [`InspectorState::take_forgotten`].
    forgotten: Vec<u64>,
}

impl InspectorState {
    /// `limit`: the most bytes of all timelines.
    pub(super) fn new(limit: usize) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            origin: (Instant::now(), now.as_secs_f64()),
            timelines: Mutex::default(),
            used: AtomicUsize::new(0),
            limit,
            dropped: AtomicU64::new(0),
            shrinking: Mutex::new(()),
            decompressors: AtomicUsize::new(0),
            latency: Latency::default(),
        }
    }

    /// A moment in seconds since 1970.
    pub(super) fn time(&self, moment: Instant) -> f64 {
        self.origin.1 + moment.saturating_duration_since(self.origin.0).as_secs_f64()
    }

    /// A timeline for a new connection.
    pub(super) fn add_timeline(&self, id: u64) -> Arc<Mutex<Timeline>> {
        lock(&self.timelines).by_id.entry(id).or_default().clone()
    }

    /// Notes that a timeline has grown, and shrinks all of them if they are too large together.
    pub(super) fn note_growth(&self, bytes: usize) {
        let used = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if used <= self.limit {
            return;
        }
        let Some(_guard) = try_lock(&self.shrinking) else { return };
        let timelines: Vec<_> = lock(&self.timelines).by_id.values().cloned().collect();
        let filled = timelines.iter().filter(|timeline| lock(timeline).bytes() > 0).count();
        // a quarter is free afterwards, so that this is seldom done
        let share = self.limit / 4 * 3 / filled.max(1);
        for timeline in timelines {
            let (bytes, records) = lock(&timeline).shrink(share);
            self.used.fetch_sub(bytes, Ordering::Relaxed);
            self.dropped.fetch_add(records, Ordering::Relaxed);
        }
    }

    /// Notes that a connection has ended, and forgets the one that has ended first if there are too
    /// many.
    pub(super) fn note_ended(&self, id: u64) {
        let mut timelines = lock(&self.timelines);
        timelines.ended.push_back(id);
        if timelines.ended.len() <= MAX_ENDED {
            return;
        }
        let Some(oldest) = timelines.ended.pop_front() else { return };
        timelines.forgotten.push(oldest);
        let timeline = timelines.by_id.remove(&oldest);
        drop(timelines);
        if let Some(timeline) = timeline {
            let (bytes, _) = lock(&timeline).shrink(0);
            self.used.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    /// The connections that were forgotten since the last call.
    pub(super) fn take_forgotten(&self) -> Vec<u64> {
        std::mem::take(&mut lock(&self.timelines).forgotten)
    }

    /// How many connections have ended and are still known.
    pub(super) fn ended(&self) -> usize {
        lock(&self.timelines).ended.len()
    }

    /// Bytes of all timelines, the most of them, and how many records were dropped.
    pub(super) fn memory(&self) -> (usize, usize, u64) {
        let (used, dropped) = (&self.used, &self.dropped);
        (used.load(Ordering::Relaxed), self.limit, dropped.load(Ordering::Relaxed))
    }

    pub(super) fn take_decompressor(&self) -> bool {
        let more = |count| (count < MAX_DECOMPRESSORS).then_some(count + 1);
        let (order, count) = (Ordering::Relaxed, &self.decompressors);
        count.fetch_update(order, order, more).is_ok()
    }

    pub(super) fn release_decompressors(&self, count: usize) {
        self.decompressors.fetch_sub(count, Ordering::Relaxed);
    }
}
