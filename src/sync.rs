//! What threads share, from the standard library. The model tests compile the files that import it from
//! here with loom's types in its place.

pub(crate) use std::sync::{
    atomic::{AtomicBool, AtomicUsize, Ordering},
    Condvar, Mutex,
};
