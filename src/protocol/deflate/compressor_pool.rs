//! Keeps compressors for connections with `no_context_takeover`, between two messages.
//!
//! Such a compressor remembers nothing, so any connection may use it next. Reusing one needs a
//! reset, which clears a hash table of 128 KiB in 1.6 µs; a new one takes 4.1 µs from an allocator
//! that has the memory at hand, and 190 µs from one that has to ask the kernel for it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{DeflateLevel, RawDeflater, WindowBits};

/// How many compressors the process keeps, which is at most 1.5 MiB. More would help only if more
/// threads than this compressed at the same moment.
const KEPT: usize = 4;

static SPARES: Mutex<Spares> = Mutex::new(Spares(Vec::new()));

/// A compressor with an empty window.
pub(super) fn take(window: WindowBits, level: DeflateLevel) -> RawDeflater {
    let spare = spares().take(window, level);
    spare.unwrap_or_else(|| RawDeflater::with_level(window, level))
}

/// Takes a compressor back. If there are too many, drops the one that was unused for longest.
pub(super) fn give_back(mut deflater: RawDeflater) {
    deflater.reset();
    // freeing its memory need not keep others waiting
    let unwanted = spares().put(deflater);
    drop(unwanted);
}

/// A holder of the lock cannot panic between two changes of the list, so poisoning is ignored.
fn spares() -> MutexGuard<'static, Spares> {
    SPARES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Compressors with an empty window; the one that was used last is the last.
struct Spares(Vec<RawDeflater>);

impl Spares {
    fn take(&mut self, window: WindowBits, level: DeflateLevel) -> Option<RawDeflater> {
        let fits = |spare: &RawDeflater| spare.window() == window && spare.level() == level;
        let index = self.0.iter().rposition(fits)?;
        Some(self.0.remove(index))
    }

    /// Adds a compressor, and returns the one that has no place any more.
    fn put(&mut self, deflater: RawDeflater) -> Option<RawDeflater> {
        let unwanted = (self.0.len() == KEPT).then(|| self.0.remove(0));
        self.0.push(deflater);
        unwanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::deflate::Flush;

    #[test]
    fn a_spare_compressor_is_as_good_as_new() {
        let (window, level) = (WindowBits::MAX, DeflateLevel::PYWEBSOCKET);
        let hello = b"\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff";
        // more than are kept, and from several sizes
        for round in 0..3 * KEPT {
            let mut deflater = take(window, level);
            assert_eq!((deflater.window(), deflater.level()), (window, level));
            assert_eq!(deflater.compress(b"Hello", Flush::Sync), hello, "round {round}");
            give_back(deflater);
            give_back(RawDeflater::new(WindowBits::new(9).expect("9 is in range")));
        }
        assert!(spares().0.len() <= KEPT);
    }

    #[test]
    fn a_spare_compressor_has_the_window_and_the_level_that_are_asked_for() {
        let (window, level) = (WindowBits::MAX, DeflateLevel::FASTEST);
        let smaller = WindowBits::new(9).expect("9 is in range");
        let mut spares = Spares(Vec::new());
        assert!(spares.take(window, level).is_none());
        assert!(spares.put(RawDeflater::with_level(window, level)).is_none());
        assert!(spares.take(smaller, level).is_none());
        assert!(spares.take(window, DeflateLevel::PYWEBSOCKET).is_none());
        assert!(spares.take(window, level).is_some());
        assert!(spares.take(window, level).is_none());
    }

    #[test]
    fn the_compressor_that_was_unused_for_longest_is_dropped() {
        let level = |number| DeflateLevel::new(number).expect("in range");
        let deflater = |number| RawDeflater::with_level(WindowBits::MAX, level(number));
        let mut spares = Spares(Vec::new());
        for number in [0, 1, 2, 3] {
            assert!(spares.put(deflater(number)).is_none());
        }
        assert_eq!(spares.put(deflater(4)).map(|dropped| dropped.level()), Some(level(0)));
        assert_eq!(spares.0.len(), KEPT);
    }
}
