//! Locking a half of a connection.

use std::{
    io,
    ops::{Deref, DerefMut},
    sync::{atomic::Ordering, Mutex, MutexGuard},
};

use super::Transport;
use crate::{
    connection::{receive_half::ReceiveHalf, send_half::SendHalf, wait::Wait},
    locks::{lock, try_lock},
};

/// A locked half of a connection. Dropping it releases the lock and wakes the callers that wait for
/// it.
pub struct Half<'a, T> {
    // released first
    guard: MutexGuard<'a, T>,
    _then: AfterRelease<'a>,
}

/// Does, when it is dropped, what has to be done after releasing the lock of a half.
struct AfterRelease<'a>(&'a Transport);

/// The sending half, locked by a thread of the server's own: [`Transport::finish`] waits for it.
pub(super) struct ServerSendHalf<'a> {
    // released first
    half: Half<'a, SendHalf>,
    _server_sends: MutexGuard<'a, ()>,
}

impl Deref for ServerSendHalf<'_> {
    type Target = SendHalf;

    fn deref(&self) -> &SendHalf {
        &self.half
    }
}

impl DerefMut for ServerSendHalf<'_> {
    fn deref_mut(&mut self) -> &mut SendHalf {
        &mut self.half
    }
}

impl<T> Deref for Half<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Half<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

impl Drop for AfterRelease<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.0.closing().is_released() {
            self.0.release_stream();
        }
        self.0.lock_waiters.released();
    }
}

impl Transport {
    /// The receiving half, unless another caller uses it.
    pub fn try_receive_half(&self) -> Option<Half<'_, ReceiveHalf>> {
        try_lock(&self.receive_half).map(|guard| self.half(guard))
    }

    /// The receiving half; waits while another caller uses it.
    ///
    /// # Errors
    /// If the caller is to end instead.
    pub fn receive_half(&self, wait: Wait<'_>) -> io::Result<Half<'_, ReceiveHalf>> {
        self.lock_half(&self.receive_half, wait)
    }

    fn half<'a, T>(&'a self, guard: MutexGuard<'a, T>) -> Half<'a, T> {
        Half { guard, _then: AfterRelease(self) }
    }

    #[inline]
    pub(super) fn lock_half<'a, T>(
        &'a self,
        half: &'a Mutex<T>,
        wait: Wait<'_>,
    ) -> io::Result<Half<'a, T>> {
        let guard = match wait {
            Wait::Long => lock(half),
            Wait::Never => try_lock(half).ok_or(io::ErrorKind::WouldBlock)?,
            Wait::Park(parker) => loop {
                if let Some(guard) = try_lock(half) {
                    break guard;
                }
                parker.wait_for_lock(&self.lock_waiters, &|| try_lock(half).is_some())?;
            },
        };
        Ok(self.half(guard))
    }

    /// The sending half; waits while another caller uses it.
    ///
    /// # Errors
    /// If the caller is to end instead.
    #[inline]
    pub(super) fn send_half(&self, wait: Wait<'_>) -> io::Result<Half<'_, SendHalf>> {
        let send_half = self.lock_half(&self.send_half, wait)?;
        self.may_hold.store(true, Ordering::SeqCst);
        Ok(send_half)
    }

    pub(super) fn try_send_half(&self) -> Option<Half<'_, SendHalf>> {
        let mut send_half = try_lock(&self.send_half).map(|guard| self.half(guard))?;
        self.may_hold.store(true, Ordering::SeqCst);
        self.take_queued(&mut send_half);
        Some(send_half)
    }

    /// The same, for a caller that is not the handler. It must not wait for anything while it has
    /// the half.
    pub(super) fn try_server_send_half(&self) -> Option<ServerSendHalf<'_>> {
        let server_sends = lock(&self.server_sends);
        let half = self.try_send_half()?;
        Some(ServerSendHalf { half, _server_sends: server_sends })
    }
}
