//! Where reactors know a connection's socket.

use std::{io, sync::Arc};

use super::Transport;
use crate::{
    connection::{
        reactor::{ReactorToken, Registration, Remote},
        socket::Socket,
    },
    locks::lock,
};

impl Transport {
    /// Where a reactor knows this connection's socket; `register` makes it known when it is first
    /// asked for, with the socket if it is still there.
    pub fn token(
        &self,
        reactor: &Arc<Remote>,
        register: impl FnOnce(&Socket) -> io::Result<Registration>,
    ) -> io::Result<ReactorToken> {
        match self.registration.get() {
            Some(registration) if registration.is_in(reactor) => return Ok(registration.token()),
            Some(_) => return self.place_in_another(reactor, register),
            None => {}
        }
        let registration = register(&*self.live_socket()?)?;
        let registration = self.registration.get_or_init(|| registration);
        self.unless_finished(registration)
    }

    /// The handler runs in one reactor's thread, and somebody in another's uses its connection.
    fn place_in_another(
        &self,
        reactor: &Arc<Remote>,
        register: impl FnOnce(&Socket) -> io::Result<Registration>,
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

    fn live_socket(&self) -> io::Result<Arc<Socket>> {
        lock(&self.socket).clone().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn unless_finished(&self, registration: &Registration) -> io::Result<ReactorToken> {
        if self.closing().is_gone() {
            // which may not have seen the registration
            registration.end(None);
            return Err(io::ErrorKind::NotConnected.into());
        }
        Ok(registration.token())
    }

    /// Whether this is the reactor that asked for a place first: the one in whose thread the
    /// handler runs.
    pub fn is_at_home(&self, reactor: &Arc<Remote>) -> bool {
        self.registration.get().is_some_and(|registration| registration.is_in(reactor))
    }
}
