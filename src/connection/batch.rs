//! Sends together what the callers of one thread send over one carrier, such as a connection of
//! HTTP/2: in one system call for all of them, before the thread looks for more work.
//!
//! A caller that computes or sleeps after it has sent keeps the others' bytes waiting, so a carrier
//! that has joined a batch must also be flushed soon in another way, see [`super::Flusher`].

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
};

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
    static CARRIERS: RefCell<Vec<Arc<dyn Carrier>>> = const { RefCell::new(Vec::new()) };
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

/// Adds a carrier to the batch of this thread. The carrier must remember that it has joined, and
/// join only once.
pub fn join(carrier: Arc<dyn Carrier>) {
    CARRIERS.with_borrow_mut(|carriers| carriers.push(carrier));
}

/// Flushes the carriers that have joined.
pub fn flush() {
    if CARRIERS.with_borrow(Vec::is_empty) {
        return;
    }
    let carriers = CARRIERS.take();
    for carrier in carriers {
        carrier.flush();
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
    fn the_last_caller_does_not_wait() {
        let others: &Others = Box::leak(Box::new(Others(Cell::new(true))));
        gather(Gathering::While(others));
        assert!(gathers());
        others.0.set(false);
        assert!(!gathers());
    }
}
