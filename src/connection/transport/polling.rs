//! Waits for a connection's stream with a deadline, in the caller's own thread.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    time::Duration,
};

use rustix::{
    event::{poll, PollFd, PollFlags, Timespec},
    io::Errno,
};

use super::Transport;
use crate::{
    connection::{Readiness, ReadinessSource},
    locks::lock,
};

impl Transport {
    /// Waits until the stream is ready; returns `false` if the time is over first. It does not see
    /// bytes that the stream has buffered, so read those before. A connection that is closed on this
    /// side counts as ready: the read or write that follows fails.
    ///
    /// # Errors
    /// [`io::ErrorKind::Interrupted`] when a signal came, and others of poll(2).
    pub fn poll(&self, readiness: Readiness, timeout: Duration) -> io::Result<bool> {
        // keep the socket while waiting, so that its number is not given to another socket
        let Some(socket) = lock(&self.socket).clone() else { return Ok(true) };
        if readiness == Readiness::Readable && socket.withholds(timeout) {
            return Ok(false);
        }
        match socket.readiness() {
            ReadinessSource::Descriptor(descriptor) => {
                poll_descriptor(descriptor, readiness, timeout)
            }
            ReadinessSource::Stream(stream) => Ok(stream.wait(readiness, timeout)),
        }
    }

    /// A duplicate of the stream's descriptor.
    ///
    /// # Errors
    /// The connection is closed, its stream has no descriptor, or the system has none left.
    pub fn duplicate_descriptor(&self) -> io::Result<OwnedFd> {
        let Some(socket) = lock(&self.socket).clone() else { return Err(Errno::BADF.into()) };
        match socket.readiness() {
            ReadinessSource::Descriptor(descriptor) => descriptor.try_clone_to_owned(),
            ReadinessSource::Stream(_) => Err(Errno::NOTSOCK.into()),
        }
    }

    /// Wakes the callers that wait for input: the stream no longer holds received bytes back.
    pub fn wake_readers(&self) {
        if let Some(registration) = self.registration.get() {
            registration.wake_reader();
        }
        for registration in &*lock(&self.registrations) {
            registration.wake_reader();
        }
    }
}

fn poll_descriptor(
    descriptor: BorrowedFd<'_>,
    readiness: Readiness,
    timeout: Duration,
) -> io::Result<bool> {
    let flags = match readiness {
        Readiness::Readable => PollFlags::IN,
        Readiness::Writable => PollFlags::OUT,
    };
    let timeout = Timespec {
        tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: timeout.subsec_nanos().into(),
    };
    match poll(&mut [PollFd::new(&descriptor, flags)], Some(&timeout)) {
        Ok(count) => Ok(count > 0),
        Err(Errno::INTR) => Err(io::ErrorKind::Interrupted.into()),
        Err(error) => Err(error.into()),
    }
}
