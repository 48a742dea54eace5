//! Types that threads share, from the standard library. Model tests compile the files that import
//! them from here with loom's types instead.

pub(crate) use std::sync::{
    atomic::{AtomicBool, AtomicUsize, Ordering},
    Condvar, Mutex,
};
