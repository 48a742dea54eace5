//! One connection as its handler's thread sees it: a blocking socket with a bounded read-ahead
//! buffer, and writes that leave in call order.
//!
//! Locks: `inbound` and `outbound` may each be held while waiting for the socket. Whoever holds one
//! only tries the other, never waits for it: the peer may read nothing before it has been read.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard,
    },
};

use rustix::net::Shutdown;

use super::{
    flusher::Flusher,
    inbound::Inbound,
    socket::{Socket, Wait},
};
use crate::locks::{lock, try_lock};

/// Replies held back are sent when they reach this size.
const HELD_MAX: usize = 64 * 1024;

/// Payloads below this size are copied behind their header and sent from one buffer.
const COPY_MAX: usize = 4 * 1024;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Close frames went both ways: nothing more will come.
    Clean,
    /// The peer may still be sending.
    Abrupt,
}

/// A connection.
#[derive(Debug)]
pub struct Transport {
    /// For shutting down from outside, whoever is waiting inside.
    socket: Mutex<Option<Arc<Socket>>>,
    inbound: Mutex<Inbound>,
    outbound: Mutex<Outbound>,
    /// A further complete message is buffered, so a reply may wait for the next one.
    more_buffered: AtomicBool,
    /// The server closes this connection on its own account.
    going_away: AtomicBool,
    /// The handler has sent a close frame; a second one would be a mistake (RFC 6455 5.5.1).
    close_sent: AtomicBool,
    /// The peer has sent a close frame.
    close_received: AtomicBool,
    /// The close frame for that, until somebody has sent it.
    farewell: Mutex<Option<Vec<u8>>>,
    flusher: Arc<Flusher>,
    /// Whether the flusher knows this connection.
    watched: AtomicBool,
}

/// The sending half.
#[derive(Debug)]
struct Outbound {
    socket: Option<Arc<Socket>>,
    /// Frames held back, to be sent before anything else.
    held: Vec<u8>,
    /// Ticks of the flusher that `held` has seen.
    age: u8,
    /// An error that no caller has been told of yet.
    failed: Option<io::ErrorKind>,
}

impl Transport {
    /// Takes over a connected socket in blocking mode and the bytes that came with its head.
    pub fn new(socket: Socket, first: Vec<u8>, flusher: Arc<Flusher>) -> Self {
        let socket = Arc::new(socket);
        Self {
            inbound: Mutex::new(Inbound::new(socket.clone(), first)),
            outbound: Mutex::new(Outbound {
                socket: Some(socket.clone()),
                held: Vec::new(),
                age: 0,
                failed: None,
            }),
            socket: Mutex::new(Some(socket)),
            more_buffered: AtomicBool::new(false),
            going_away: AtomicBool::new(false),
            close_sent: AtomicBool::new(false),
            close_received: AtomicBool::new(false),
            farewell: Mutex::new(None),
            flusher,
            watched: AtomicBool::new(false),
        }
    }

    /// The receiving half, if nobody is waiting in it.
    pub fn try_inbound(&self) -> Option<MutexGuard<'_, Inbound>> {
        try_lock(&self.inbound)
    }

    /// The receiving half; waits for whoever is in it.
    pub fn inbound(&self) -> MutexGuard<'_, Inbound> {
        lock(&self.inbound)
    }

    /// Says whether a further complete message is buffered.
    pub fn set_more_buffered(&self, more: bool) {
        self.more_buffered.store(more, Ordering::Relaxed);
    }

    /// Whether the server is closing this connection.
    pub fn is_going_away(&self) -> bool {
        self.going_away.load(Ordering::SeqCst)
    }

    /// Says that a close frame is about to be sent for the handler.
    pub fn closing(&self) {
        self.close_sent.store(true, Ordering::SeqCst);
    }

    /// Says that the peer has sent a close frame; by whoever holds the receiving half.
    pub fn note_close_received(&self) {
        self.close_received.store(true, Ordering::SeqCst);
    }

    /// Whether the peer has sent a close frame.
    pub fn is_close_received(&self) -> bool {
        self.close_received.load(Ordering::SeqCst)
    }

    /// Keeps a small frame back if more input is buffered; `false`: the caller must send it.
    pub fn hold(self: &Arc<Self>, header: &[u8], payload: &[u8]) -> bool {
        if payload.len() >= COPY_MAX || !self.more_buffered.load(Ordering::Relaxed) {
            return false;
        }
        let Some(mut outbound) = self.try_outbound() else { return false };
        if outbound.failed.is_some() || outbound.held.len() + payload.len() > HELD_MAX {
            return false;
        }
        outbound.held.extend_from_slice(header);
        outbound.held.extend_from_slice(payload);
        outbound.age = 0;
        drop(outbound);
        self.send_farewell();
        if !self.watched.swap(true, Ordering::Relaxed) {
            self.flusher.watch(self);
        }
        true
    }

    /// Sends one frame, and what was held back before it; returns when all of it is in the
    /// kernel's hands.
    ///
    /// # Errors
    /// Those of `send(2)`, also one that an earlier held-back frame met.
    pub fn send_frame(&self, header: &[u8], payload: &[u8]) -> io::Result<()> {
        self.sending(|outbound| {
            outbound.check()?;
            if payload.len() < COPY_MAX {
                outbound.held.reserve_exact(header.len() + payload.len());
                outbound.held.extend_from_slice(header);
                outbound.held.extend_from_slice(payload);
                return outbound.flush(Wait::Long);
            }
            outbound.flush(Wait::Long)?;
            let socket = outbound.socket()?;
            socket.send_both(header, payload)
        })
    }

    /// Sends bytes in a `send(2)` of their own, after what was held back.
    ///
    /// # Errors
    /// As [`Self::send_frame`].
    pub fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.sending(|outbound| {
            outbound.check()?;
            outbound.flush(Wait::Long)?;
            let socket = outbound.socket()?;
            socket.send(bytes, Wait::Long).map_err(|(_, error)| error)
        })
    }

    /// Sends what was held back, for a caller that is about to wait for the peer.
    ///
    /// Does not wait for another thread that is sending: that one sends what was held back first,
    /// and the peer may take nothing before this caller has read.
    pub fn flush_before_wait(&self) {
        if let Some(mut outbound) = self.try_outbound() {
            outbound.flush_and_keep_error();
            drop(outbound);
            self.send_farewell();
        }
    }

    /// Sends what was held back for two ticks; `false` when there is nothing to look after.
    pub(super) fn tick(&self) -> bool {
        let Some(mut outbound) = self.try_outbound() else { return true };
        if outbound.held.is_empty() {
            outbound.age = outbound.age.saturating_add(1);
            let keep = outbound.age < 20;
            // under the lock: whoever holds a frame back next asks to be watched again
            self.watched.store(keep, Ordering::Relaxed);
            return keep;
        }
        outbound.age += 1;
        if outbound.age >= 2 {
            if let Err(error) = outbound.flush(Wait::Never) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    outbound.failed = Some(error.kind());
                    outbound.held = Vec::new();
                }
            }
        }
        true
    }

    /// Sends a close frame because the server stops. If a handler is in the middle of sending, it
    /// follows what is being sent.
    pub fn go_away(&self, close_frame: &[u8]) {
        if !self.close_sent.load(Ordering::SeqCst) {
            *lock(&self.farewell) = Some(close_frame.to_vec());
        }
        self.going_away.store(true, Ordering::SeqCst);
        self.send_farewell();
    }

    /// Ends both directions at once; whoever waits inside wakes up.
    pub fn cut(&self) {
        if let Some(socket) = &*lock(&self.socket) {
            socket.shutdown(Shutdown::Both);
        }
    }

    /// Sends what was held back, ends our direction and lets go of the socket.
    ///
    /// Gives the socket back if the peer may still be sending: closing it now could turn our last
    /// bytes into a reset (RFC 9112 9.6).
    pub fn finish(&self, outcome: Outcome) -> Option<Arc<Socket>> {
        let socket = lock(&self.socket).take()?;
        if let Some(mut outbound) = self.try_outbound() {
            outbound.flush_and_keep_error();
            socket.end_sending();
            outbound.socket = None;
        } else {
            // another thread of the handler is sending to a peer that takes nothing
            socket.shutdown(Shutdown::Write);
            lock(&self.outbound).socket = None;
        }
        if let Some(mut inbound) = self.try_inbound() {
            inbound.close();
        } else {
            // another thread of the handler still waits for a message that cannot come
            socket.shutdown(Shutdown::Read);
            self.inbound().close();
        }
        (outcome == Outcome::Abrupt).then_some(socket)
    }

    fn sending<T>(&self, work: impl FnOnce(&mut Outbound) -> T) -> T {
        let result = work(&mut lock(&self.outbound));
        self.send_farewell();
        result
    }

    /// Sends the server's close frame if there is one and nobody else is sending. Whoever is sends
    /// it: everyone calls this after letting go of `outbound`.
    fn send_farewell(&self) {
        if !self.is_going_away() {
            return;
        }
        if let Some(mut outbound) = self.try_outbound() {
            if let Some(frame) = lock(&self.farewell).take() {
                outbound.held.extend_from_slice(&frame);
                // a peer that takes nothing is cut when the time for closing is over
                let _ = outbound.flush(Wait::Never);
            }
        }
    }

    fn try_outbound(&self) -> Option<MutexGuard<'_, Outbound>> {
        try_lock(&self.outbound)
    }
}

impl Outbound {
    fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), |kind| Err(kind.into()))
    }

    fn flush_and_keep_error(&mut self) {
        if let Err(error) = self.flush(Wait::Long) {
            self.failed = Some(error.kind());
        }
    }

    fn socket(&self) -> io::Result<Arc<Socket>> {
        self.socket.clone().ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }

    fn flush(&mut self, wait: Wait) -> io::Result<()> {
        if self.held.is_empty() {
            return Ok(());
        }
        let socket = self.socket()?;
        let (sent, result) = match socket.send(&self.held, wait) {
            Ok(()) => (self.held.len(), Ok(())),
            Err((sent, error)) => (sent, Err(error)),
        };
        if sent == self.held.len() {
            // replies come in bursts: keep a small buffer, give a large one back
            self.held.clear();
            self.held.shrink_to(HELD_MAX);
        } else {
            self.held.drain(..sent);
        }
        result
    }
}
