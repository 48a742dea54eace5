//! The closing state of a connection for threads that close it at the same time.

use crate::{
    protocol::closing::Closing,
    sync::{AtomicU64, Ordering},
};

/// A [`Closing`] that threads share. All accesses are sequentially consistent. So if one thread
/// releases a lock and then reads this state, while another writes the state and then tries the
/// lock, at least one of them notices the other.
#[derive(Debug, Default)]
pub(super) struct AtomicClosing(AtomicU64);

impl AtomicClosing {
    pub(super) fn get(&self) -> Closing {
        Closing::from_bits(self.0.load(Ordering::SeqCst))
    }

    /// Makes a transition and returns the state before it.
    pub(super) fn update(&self, transition: impl Fn(Closing) -> Closing) -> Closing {
        let mut before = self.get();
        loop {
            let after = transition(before).to_bits();
            let swapped = self.0.compare_exchange_weak(
                before.to_bits(),
                after,
                Ordering::SeqCst,
                Ordering::SeqCst,
            );
            match swapped {
                Ok(_) => return before,
                Err(bits) => before = Closing::from_bits(bits),
            }
        }
    }
}
