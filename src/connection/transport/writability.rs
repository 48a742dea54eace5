//! Registers a connection's socket with the reactor of a thread that waits until it is writable.

use std::{io, sync::Arc};

use super::Transport;
use crate::{
    connection::{
        byte_stream::{ByteStream, ReadinessSource},
        reactor::{ReactorToken, Registration, Remote},
    },
    locks::lock,
};

impl Transport {
    /// A place for a caller that does not run the handler and waits for room, until
    /// [`Self::unwatch_writability`].
    ///
    /// # Errors
    /// If the connection has ended, or the system cannot watch it.
    pub(crate) fn watch_writability(
        &self,
        reactor: &Arc<Remote>,
        register: impl FnOnce(&dyn ByteStream) -> io::Result<Registration>,
    ) -> io::Result<ReactorToken> {
        self.token_in_other_reactor(reactor, register)
    }

    /// Ends the registration, so that input does not wake that thread. A stream without a
    /// descriptor stays registered: it cannot forget a listener.
    pub(crate) fn unwatch_writability(&self, reactor: &Arc<Remote>) {
        let Ok(socket) = self.live_socket() else { return };
        if !matches!(socket.readiness(), ReadinessSource::Descriptor(_)) {
            return;
        }
        let mut registrations = lock(&self.registrations);
        if let Some(place) = registrations.iter().position(|known| known.is_in(reactor)) {
            registrations.swap_remove(place).end(Some(&socket));
        }
    }
}
