//! A socket that a reactor watches.

use std::{os::fd::AsRawFd as _, sync::Arc};

use mio::unix::SourceFd;

use super::{ReactorToken, Remote};
use crate::connection::byte_stream::{ByteStream, Change, ReadinessSource};

/// A connection's place in a reactor. Dropping it frees the place.
#[derive(Debug)]
pub struct Registration {
    token: ReactorToken,
    remote: Arc<Remote>,
}

impl Registration {
    pub(super) fn new(token: ReactorToken, remote: Arc<Remote>) -> Self {
        Self { token, remote }
    }

    /// Where the socket is.
    pub fn token(&self) -> ReactorToken {
        self.token
    }

    pub(crate) fn is_in(&self, reactor: &Arc<Remote>) -> bool {
        Arc::ptr_eq(&self.remote, reactor)
    }

    /// Has the reader try again: there may be something to read, though the system says nothing.
    pub(crate) fn wake_reader(&self) {
        let change = Change { readable: true, ..Change::default() };
        self.remote.notify(|notifications| notifications.changes.push((self.token, change)));
    }

    /// Ends the registration with the connection. A socket that lives on must be passed, so that it
    /// is no longer watched.
    pub(crate) fn end(&self, socket: Option<&Arc<dyn ByteStream>>) {
        if let Some(ReadinessSource::Descriptor(descriptor)) =
            socket.map(|socket| socket.readiness())
        {
            // if this fails, events of the socket are ignored when they arrive
            let _ = self.remote.registry.deregister(&mut SourceFd(&descriptor.as_raw_fd()));
        }
        self.remote.notify(|notifications| notifications.gone.push(self.token));
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.remote.notify(|notifications| notifications.gone.push(self.token));
    }
}
