//! The registrations of a connection's socket in reactors.

use std::{io, sync::Arc};

use super::Transport;
use crate::{
    connection::{
        byte_stream::ByteStream,
        reactor::{ReactorToken, Registration, Remote},
    },
    locks::lock,
};

impl Transport {
    /// The token of this connection's socket in a reactor. The first call for a reactor registers
    /// the socket by `register`, if it still exists.
    #[inline]
    pub fn token(
        &self,
        reactor: &Arc<Remote>,
        register: impl FnOnce(&dyn ByteStream) -> io::Result<Registration>,
    ) -> io::Result<ReactorToken> {
        // each message asks four times
        match self.registration.get() {
            Some(registration) if registration.is_in(reactor) => Ok(registration.token()),
            Some(_) => self.token_in_other_reactor(reactor, register),
            None => self.first_token(reactor, register),
        }
    }

    #[cold]
    fn first_token(
        &self,
        reactor: &Arc<Remote>,
        register: impl FnOnce(&dyn ByteStream) -> io::Result<Registration>,
    ) -> io::Result<ReactorToken> {
        match self.registration.set(register(&*self.live_socket()?)?) {
            Ok(()) => {}
            // another reactor was quicker, or another thread of this one
            Err(registration) => {
                return self.token_in_other_reactor(reactor, |_| Ok(registration));
            }
        }
        self.registration.get().map_or_else(
            || Err(io::ErrorKind::NotConnected.into()),
            |registration| self.unless_finished(registration),
        )
    }

    /// For a caller in another reactor's thread than the handler's, for instance a task of another
    /// event loop.
    #[cold]
    pub(super) fn token_in_other_reactor(
        &self,
        reactor: &Arc<Remote>,
        register: impl FnOnce(&dyn ByteStream) -> io::Result<Registration>,
    ) -> io::Result<ReactorToken> {
        let mut registrations = lock(&self.registrations);
        if let Some(known) = registrations.iter().find(|known| known.is_in(reactor)) {
            return Ok(known.token());
        }
        let registration = Arc::new(register(&*self.live_socket()?)?);
        registrations.push(registration.clone());
        drop(registrations);
        self.unless_finished(&registration)
    }

    pub(super) fn live_socket(&self) -> io::Result<Arc<dyn ByteStream>> {
        lock(&self.socket).clone().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn unless_finished(&self, registration: &Registration) -> io::Result<ReactorToken> {
        if self.closing().is_released() {
            // the socket was closed in the meantime, perhaps before it was registered
            registration.end(None);
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(registration.token())
    }

    /// Whether this reactor was the first to register the connection, which means that the handler
    /// runs in its thread.
    pub fn is_in_handlers_reactor(&self, reactor: &Arc<Remote>) -> bool {
        self.registration.get().is_some_and(|registration| registration.is_in(reactor))
    }
}
