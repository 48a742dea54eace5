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

static SPARES: Mutex<Vec<RawDeflater>> = Mutex::new(Vec::new());

/// A compressor with an empty window.
pub(super) fn take(window: WindowBits, level: DeflateLevel) -> RawDeflater {
    let mut spares = spares();
    let fits = |spare: &RawDeflater| spare.window() == window && spare.level() == level;
    let spare = spares.iter().rposition(fits).map(|index| spares.remove(index));
    drop(spares);
    spare.unwrap_or_else(|| RawDeflater::with_level(window, level))
}

/// Takes a compressor back. If there are too many, drops the one that was unused for longest.
pub(super) fn give_back(mut deflater: RawDeflater) {
    deflater.reset();
    let mut spares = spares();
    let unwanted = (spares.len() == KEPT).then(|| spares.remove(0));
    spares.push(deflater);
    drop(spares);
    drop(unwanted);
}

/// A holder of the lock cannot panic between two changes of the list, so poisoning is ignored.
fn spares() -> MutexGuard<'static, Vec<RawDeflater>> {
    SPARES.lock().unwrap_or_else(PoisonError::into_inner)
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
        assert!(spares().len() <= KEPT);
    }
}
