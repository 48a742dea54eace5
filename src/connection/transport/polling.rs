//! Waiting for a connection's socket with a deadline, in the caller's own thread.

use std::{io, time::Duration};

use rustix::{
    event::{poll, PollFd, PollFlags, Timespec},
    io::Errno,
};

use super::Transport;
use crate::locks::lock;

/// What a caller waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Bytes, or the end.
    Readable,
    /// Room for bytes, or the end.
    Writable,
}

impl Transport {
    /// Waits with poll(2); `false` when the time is over first. What TLS has decrypted already is
    /// not seen: read before. A connection closed on this side is ready: the read or write that
    /// follows tells.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] when a signal came, and others of poll(2).
    pub fn poll(&self, readiness: Readiness, timeout: Duration) -> io::Result<bool> {
        // kept meanwhile, so that its number is not another socket's
        let Some(socket) = lock(&self.socket).clone() else { return Ok(true) };
        let flags = match readiness {
            Readiness::Readable => PollFlags::IN,
            Readiness::Writable => PollFlags::OUT,
        };
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match poll(&mut [PollFd::new(&*socket, flags)], Some(&timeout)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
            Err(error) => Err(error.into()),
        }
    }
}
