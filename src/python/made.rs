//! Whether an object with a dict has been made, for the garbage collector.

use std::sync::atomic::{AtomicBool, Ordering};

/// A field of a class with a dict, which its `__traverse__` asks first.
///
/// Python 3.11 and 3.12 make the dict of an object before the native part is written. This may start
/// a garbage collection, which then traverses zeroed memory: there, this is not set.
#[derive(Debug)]
pub(super) struct Made(AtomicBool);

impl Made {
    // an atomic, so that the compiler cannot take it for always true
    #[expect(clippy::declare_interior_mutable_const, reason = "each use makes a new one")]
    pub(super) const YES: Self = Self(AtomicBool::new(true));

    /// For an object whose native part is made later.
    #[expect(clippy::declare_interior_mutable_const, reason = "each use makes a new one")]
    pub(super) const NOT_YET: Self = Self(AtomicBool::new(false));

    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
