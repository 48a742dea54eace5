//! Waits for a connection's socket with a deadline, in the caller's own thread.

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
    /// Until there are bytes to read, or the end.
    Readable,
    /// Until there is room for bytes, or the end.
    Writable,
}

impl Transport {
    /// Waits with poll(2); returns `false` if the time is over first. It does not see bytes that
    /// TLS has decrypted already, so read those before. A connection that is closed on this side
    /// counts as ready: the read or write that follows fails.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] when a signal came, and others of poll(2).
    pub fn poll(&self, readiness: Readiness, timeout: Duration) -> io::Result<bool> {
        // keep the socket while waiting, so that its number is not given to another socket
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
