//! Sends together what the callers of one thread send over one carrier, such as a connection of
//! HTTP/2: in one system call for all of them, before the thread looks for more work.
//!
//! A caller that computes or sleeps after it has sent keeps the others' bytes waiting. So a batch is
//! watched by the [`Flusher`] of its server, which sends what waits longer. It watches a batch, not
//! each carrier: a look at each of a hundred connections would cost as much as some of their messages.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex, Weak},
};

use super::flusher::{Flusher, HoldsFrames, NextLook};
use crate::locks::lock;

/// A flusher stops watching a batch that was empty at this many looks.
const FORGET_AFTER: u8 = 20;

/// What carries the bytes of several streams.
pub trait Carrier: Send + Sync {
    /// Sends what the streams have handed over.
    fn flush(self: Arc<Self>);
}

/// A thread in which several callers take turns.
pub trait HasNext {
    /// Whether another caller runs when the current one waits.
    fn has_next(&self) -> bool;
}

/// When carriers wait for the other callers of this thread.
#[derive(Clone, Copy)]
pub enum Gathering {
    /// Each caller's bytes leave at once.
    Never,
    /// Whenever a caller sends.
    Always,
    /// While another caller is to run.
    While(&'static dyn HasNext),
}

thread_local! {
    static GATHERING: Cell<Gathering> = const { Cell::new(Gathering::Never) };
    /// Carriers that wait and that nobody else flushes.
    static CARRIERS: RefCell<Vec<Arc<dyn Carrier>>> = const { RefCell::new(Vec::new()) };
    /// The batch of each flusher.
    static WATCHED: RefCell<Vec<(Weak<Flusher>, Arc<Batch>)>> = const { RefCell::new(Vec::new()) };
}

/// What has joined in a thread, and its flusher sends if the thread does not.
#[derive(Default)]
struct Batch {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    carriers: Vec<Arc<dyn Carrier>>,
    /// Whether the flusher has seen them.
    are_old: bool,
    is_watched: bool,
    /// Looks of the flusher since a carrier has joined.
    age: u8,
}

/// Sets when carriers wait in this thread. It must call [`flush`] before it waits for anything.
pub fn gather(gathering: Gathering) {
    GATHERING.set(gathering);
}

/// Whether a carrier should join the batch of this thread.
pub fn gathers() -> bool {
    match GATHERING.get() {
        Gathering::Never => false,
        Gathering::Always => true,
        Gathering::While(callers) => callers.has_next(),
    }
}

/// Whether callers take turns in this thread, so that it flushes its batch before it waits, even if
/// no other caller is to run now.
pub fn takes_turns() -> bool {
    matches!(GATHERING.get(), Gathering::While(_))
}

/// Adds a carrier to the batch of this thread, which alone flushes it. The carrier must remember that
/// it has joined, and join only once.
pub fn join(carrier: Arc<dyn Carrier>) {
    CARRIERS.with_borrow_mut(|carriers| carriers.push(carrier));
}

/// As [`join`], for a carrier that the flusher flushes if this thread does not do so soon.
pub(crate) fn join_watched(carrier: Arc<dyn Carrier>, flusher: &Arc<Flusher>) {
    let is_its = |known: &Weak<Flusher>| std::ptr::eq(known.as_ptr(), Arc::as_ptr(flusher));
    let batch = WATCHED.with_borrow_mut(|batches| {
        if let Some((_, batch)) = batches.iter().find(|(known, _)| is_its(known)) {
            return batch.clone();
        }
        // flushers end with their servers
        batches.retain(|(known, _)| known.strong_count() > 0);
        let batch = Arc::<Batch>::default();
        batches.push((Arc::downgrade(flusher), batch.clone()));
        batch
    });
    batch.join(carrier, flusher);
}

/// Flushes the carriers that have joined.
pub fn flush() {
    let mut carriers = CARRIERS.take();
    WATCHED.with_borrow(|batches| {
        for (_, batch) in batches {
            carriers.append(&mut batch.take());
        }
    });
    // others may join meanwhile
    for carrier in carriers {
        carrier.flush();
    }
}

impl Batch {
    fn join(self: &Arc<Self>, carrier: Arc<dyn Carrier>, flusher: &Flusher) {
        let mut state = lock(&self.state);
        state.carriers.push(carrier);
        state.age = 0;
        let is_watched = std::mem::replace(&mut state.is_watched, true);
        drop(state);
        if !is_watched {
            let holder: Weak<Self> = Arc::downgrade(self);
            flusher.watch(holder);
        }
    }

    fn take(&self) -> Vec<Arc<dyn Carrier>> {
        let mut state = lock(&self.state);
        state.are_old = false;
        std::mem::take(&mut state.carriers)
    }
}

impl HoldsFrames for Batch {
    fn tick(self: Arc<Self>) -> NextLook {
        let mut state = lock(&self.state);
        state.age = state.age.saturating_add(1);
        if state.carriers.is_empty() && state.age > FORGET_AFTER {
            state.is_watched = false;
            return NextLook::Never;
        }
        let is_due = !state.carriers.is_empty() && std::mem::replace(&mut state.are_old, true);
        drop(state);
        if is_due {
            for carrier in self.take() {
                carrier.flush();
            }
        }
        NextLook::Soon
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Carrier for Counted {
        fn flush(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Others(Cell<bool>);

    impl HasNext for Others {
        fn has_next(&self) -> bool {
            self.0.get()
        }
    }

    #[test]
    fn what_has_joined_is_flushed_once() {
        let carrier = Arc::new(Counted::default());
        assert!(!gathers(), "a thread with one caller");
        gather(Gathering::Always);
        assert!(gathers());
        join(carrier.clone());
        flush();
        flush();
        assert_eq!(carrier.0.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn what_waits_for_long_is_flushed_by_the_flusher() {
        let (carrier, flusher) = (Arc::new(Counted::default()), Arc::new(Flusher::default()));
        let count = || carrier.0.load(Ordering::SeqCst);
        join_watched(carrier.clone(), &flusher);
        let batch = WATCHED.with_borrow(|batches| batches[0].1.clone());
        assert_eq!((batch.clone().tick(), count()), (NextLook::Soon, 0), "it has just come");
        assert_eq!((batch.clone().tick(), count()), (NextLook::Soon, 1));
        // what this thread flushes begins anew
        join_watched(carrier.clone(), &flusher);
        batch.clone().tick();
        flush();
        join_watched(carrier.clone(), &flusher);
        batch.clone().tick();
        assert_eq!(count(), 2);
        flush();
        let looks = std::iter::repeat_with(|| batch.clone().tick());
        assert!(looks.take(FORGET_AFTER.into()).any(|next| next == NextLook::Never));
        assert_eq!(count(), 3);
    }

    #[test]
    fn each_flusher_has_a_batch_until_it_ends() {
        let carrier = Arc::new(Counted::default());
        let batches = || WATCHED.with_borrow(Vec::len);
        let (one, other) = (Arc::new(Flusher::default()), Arc::new(Flusher::default()));
        for flusher in [&one, &other, &one] {
            join_watched(carrier.clone(), flusher);
        }
        assert_eq!(batches(), 2);
        drop(other);
        join_watched(carrier.clone(), &Arc::new(Flusher::default()));
        assert_eq!(batches(), 2, "the one that has ended is forgotten");
        flush();
        assert_eq!(carrier.0.load(Ordering::SeqCst), 3);
    }

    #[test]
    fn the_last_caller_does_not_wait() {
        let others: &Others = Box::leak(Box::new(Others(Cell::new(true))));
        gather(Gathering::While(others));
        assert!(gathers());
        others.0.set(false);
        assert!(!gathers());
    }
}
