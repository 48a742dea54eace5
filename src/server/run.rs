//! The part of running handlers that needs no interpreter: threads, and a watchdog for a thread
//! that handlers share.

pub(super) mod job_queue;
#[cfg(test)]
mod tests;
pub(super) mod threads;
pub(super) mod watchdog;
