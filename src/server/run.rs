//! Where handlers run, as far as it has to do with no interpreter: threads, and the watch over a
//! thread that handlers share.

pub(super) mod threads;
pub(super) mod watchdog;
