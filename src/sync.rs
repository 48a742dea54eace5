//! Threads and the types that they share, from the standard library. `tests/models` compiles the files that
//! import them from here with types of its own, and so decides which thread runs next.

pub(crate) use std::{
    sync::{
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
        Condvar, Mutex, MutexGuard, PoisonError, TryLockError,
    },
    thread,
};
