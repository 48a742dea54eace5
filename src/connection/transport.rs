//! One connection as its handler sees it: a socket with a bounded read-ahead buffer, and writes
//! that leave in call order.
//!
//! Locks: `inbound` and `outbound` may each be held while waiting for the socket. Whoever holds one
//! only tries the other, never waits for it: the peer may read nothing before it has been read.
//! Whoever shares a thread with others does not block on either, see [`LockWaiters`].

mod closing;
mod counters;
mod ending;
mod keeping;
mod polling;
mod queue;
mod registrations;

use std::{
    io,
    net::SocketAddr,
    ops::{Deref, DerefMut},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard, OnceLock,
    },
};

use self::counters::Counters;
pub use self::counters::{Account, Phase, Traffic, Volume};

pub use self::{
    ending::{Outcome, ServerClose},
    polling::Readiness,
};
use super::{
    closing::AtomicClosing,
    flusher::Flusher,
    inbound::Inbound,
    lock_waiters::LockWaiters,
    outbound::{NextLook, Outbound},
    reactor::Registration,
    socket::Socket,
    wait::Wait,
    Expiry,
};
use crate::locks::{lock, try_lock};

/// A connection.
#[derive(Debug)]
pub struct Transport {
    /// Whose it is: the peer, or whom a trusted proxy told. `None` on a Unix socket.
    peer: Option<SocketAddr>,
    /// For shutting down from outside, whoever is waiting inside.
    socket: Mutex<Option<Arc<Socket>>>,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
    /// The peer takes so little that nothing should be added to what is held back.
    backed_up: Arc<AtomicBool>,
    /// A further complete message is buffered, so a reply may wait for the next one.
    more_buffered: AtomicBool,
    /// Who closes this connection, and how far that has come.
    closing: AtomicClosing,
    /// Frames of a caller that does not wait, until whoever is sending has sent them.
    queued: Mutex<Vec<u8>>,
    /// Whether there are any.
    has_queued: AtomicBool,
    /// The server's close frame, until somebody has sent it.
    server_close: Mutex<Option<Vec<u8>>>,
    flusher: Arc<Flusher>,
    /// Whether the flusher knows this connection.
    watched: AtomicBool,
    /// The handler waits for the peer, and has let go of the receiving half.
    awaits_input: AtomicBool,
    /// The handler reads or writes bytes past the frames, so that nobody else knows where one ends.
    is_raw: AtomicBool,
    /// What is received next may be the rest of a frame.
    mid_frame: AtomicBool,
    /// The handler has a hook for pings.
    hooks_pings: AtomicBool,
    /// Why the server ended it.
    expiry: OnceLock<Expiry>,
    lock_waiters: LockWaiters,
    counters: Counters,
    /// In the reactor that asked first, and in others.
    registration: OnceLock<Registration>,
    registrations: Mutex<Vec<Arc<Registration>>>,
}

/// A half of a connection, for as long as this is kept.
pub struct Half<'a, T> {
    guard: Option<MutexGuard<'a, T>>,
    transport: &'a Transport,
}

impl<T> Deref for Half<'_, T> {
    type Target = T;

    #[expect(clippy::expect_used, reason = "taken in `drop` only")]
    fn deref(&self) -> &T {
        self.guard.as_ref().expect("not dropped")
    }
}

impl<T> DerefMut for Half<'_, T> {
    #[expect(clippy::expect_used, reason = "taken in `drop` only")]
    fn deref_mut(&mut self) -> &mut T {
        self.guard.as_mut().expect("not dropped")
    }
}

impl<T> Drop for Half<'_, T> {
    fn drop(&mut self) {
        drop(self.guard.take());
        if self.transport.closing().is_gone() {
            self.transport.let_go();
        }
        self.transport.lock_waiters.released();
    }
}

impl Transport {
    /// Takes over a connected socket of `peer`, and the bytes that came with its head.
    pub fn new(
        socket: Socket,
        first: Vec<u8>,
        flusher: Arc<Flusher>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let socket = Arc::new(socket);
        let outbound = Outbound::new(socket.clone());
        Self {
            peer,
            backed_up: outbound.backed_up().clone(),
            inbound: Mutex::new(Inbound::new(socket.clone(), first)),
            outbound: Mutex::new(outbound),
            socket: Mutex::new(Some(socket)),
            more_buffered: AtomicBool::new(false),
            closing: AtomicClosing::default(),
            queued: Mutex::default(),
            has_queued: AtomicBool::new(false),
            server_close: Mutex::new(None),
            flusher,
            watched: AtomicBool::new(false),
            awaits_input: AtomicBool::new(false),
            is_raw: AtomicBool::new(false),
            mid_frame: AtomicBool::new(false),
            hooks_pings: AtomicBool::new(false),
            expiry: OnceLock::new(),
            lock_waiters: LockWaiters::default(),
            counters: Counters::default(),
            registration: OnceLock::new(),
            registrations: Mutex::default(),
        }
    }

    /// The receiving half, if nobody is waiting in it.
    pub fn try_inbound(&self) -> Option<Half<'_, Inbound>> {
        try_lock(&self.inbound).map(|guard| self.half(guard))
    }

    /// The receiving half; waits for whoever is in it.
    ///
    /// # Errors
    /// If the caller is to end instead.
    pub fn inbound(&self, wait: Wait<'_>) -> io::Result<Half<'_, Inbound>> {
        self.take(&self.inbound, wait)
    }

    /// Who waits for a part of this connection.
    pub fn lock_waiters(&self) -> &LockWaiters {
        &self.lock_waiters
    }

    /// Says whether a further complete message is buffered.
    pub fn set_more_buffered(&self, more: bool) {
        self.more_buffered.store(more, Ordering::Relaxed);
    }

    /// Whether a further complete message is buffered.
    pub fn is_more_buffered(&self) -> bool {
        self.more_buffered.load(Ordering::Relaxed)
    }

    /// Keeps a small frame back if more input is buffered; `false`: the caller must send it.
    pub fn hold(self: &Arc<Self>, header: &[u8], payload: &[u8]) -> bool {
        if !self.is_more_buffered() {
            return false;
        }
        let Some(mut outbound) = self.try_outbound() else { return false };
        if !outbound.hold(header, payload) {
            return false;
        }
        drop(outbound);
        self.send_server_close();
        self.watch();
        true
    }

    /// Has what is held back looked after.
    fn watch(self: &Arc<Self>) {
        if !self.watched.swap(true, Ordering::Relaxed) {
            self.flusher.watch(self);
        }
    }

    /// Sends one frame, and what was held back before it; returns when all of it is in the
    /// kernel's hands.
    ///
    /// # Errors
    /// Those of `send(2)`, also one that an earlier held-back frame met.
    pub fn send_frame(&self, header: &[u8], payload: &[u8], wait: Wait<'_>) -> io::Result<()> {
        let sent = self.sending(wait, |outbound| outbound.send_frame(header, payload, wait));
        self.or_queue(sent, wait, &[header, payload])
    }

    /// Sends bytes in a `send(2)` of their own, after what was held back.
    ///
    /// # Errors
    /// As [`Self::send_frame`].
    pub fn write(&self, bytes: &[u8], wait: Wait<'_>) -> io::Result<()> {
        let sent = self.sending(wait, |outbound| outbound.write(bytes, wait));
        self.or_queue(sent, wait, &[bytes])
    }

    /// Sends what was held back, for a caller that is about to wait for the peer.
    ///
    /// Does not wait for another thread that is sending: that one sends what was held back first,
    /// and the peer may take nothing before this caller has read.
    pub fn flush_before_wait(&self, wait: Wait<'_>) {
        if let Some(mut outbound) = self.try_outbound() {
            outbound.flush_and_keep_error(wait);
            drop(outbound);
            self.send_server_close();
        }
    }

    /// Whether frames are held back that could not be sent yet, or by whom is not known.
    pub fn has_held(&self) -> bool {
        if self.has_queued.load(Ordering::SeqCst) {
            return true;
        }
        let Some(outbound) = self.try_outbound() else { return true };
        let has_held = outbound.has_held();
        drop(outbound);
        self.send_server_close();
        has_held
    }

    /// Whether the peer takes so little that nothing should be added to what is held back.
    pub fn is_backed_up(&self) -> bool {
        self.backed_up.load(Ordering::Relaxed)
    }

    /// Sends what was held back for two ticks.
    pub(crate) fn tick(&self) -> NextLook {
        let Some(mut outbound) = self.try_outbound() else { return NextLook::Soon };
        let next = outbound.tick();
        // under the lock: whoever holds a frame back next asks to be watched again
        self.watched.store(next != NextLook::Never, Ordering::Relaxed);
        drop(outbound);
        self.send_server_close();
        next
    }

    fn sending<T>(
        &self,
        wait: Wait<'_>,
        work: impl FnOnce(&mut Outbound) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut outbound = self.take(&self.outbound, wait)?;
        self.take_queued(&mut outbound);
        let result = work(&mut outbound);
        drop(outbound);
        self.send_server_close();
        result
    }

    fn half<'a, T>(&'a self, guard: MutexGuard<'a, T>) -> Half<'a, T> {
        Half { guard: Some(guard), transport: self }
    }

    fn take<'a, T>(&'a self, half: &'a Mutex<T>, wait: Wait<'_>) -> io::Result<Half<'a, T>> {
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

    fn try_outbound(&self) -> Option<Half<'_, Outbound>> {
        let mut outbound = try_lock(&self.outbound).map(|guard| self.half(guard))?;
        self.take_queued(&mut outbound);
        Some(outbound)
    }
}
