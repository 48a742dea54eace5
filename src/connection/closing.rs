//! The closing state of a connection for threads that close it at the same time.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::protocol::closing::Closing;

/// A [`Closing`] that threads share. All accesses are sequentially consistent. So of two threads,
/// one of which releases a lock and then reads this state while the other writes the state and then
/// tries the lock, at least one notices the other.
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::protocol::{close::CloseCode, closing::Side};

    #[test]
    fn transitions_of_threads_at_the_same_time_are_all_made() {
        for _ in 0..200 {
            let closing = AtomicClosing::default();
            let (mut away, mut closed) = (Closing::default(), Closing::default());
            thread::scope(|scope| {
                scope.spawn(|| away = closing.update(|closing| closing.go_away(CloseCode(1001))));
                scope.spawn(|| {
                    closed = closing.update(|closing| closing.handler_closes(CloseCode(1000)));
                });
                scope.spawn(|| closing.update(Closing::cut));
            });
            let now = closing.get();
            assert!(now.is_going_away() && now.is_sending_ended() && now.is_cut());
            assert_eq!(now.code_sent(), Some(CloseCode(1000)));
            // one came first, and both agree which
            let first = if away.is_sending_ended() { 1000 } else { 1001 };
            assert_eq!(closed.is_going_away(), first == 1001);
            assert_eq!(now.first_close(), Some((CloseCode(first), Side::Server)));
        }
    }
}
