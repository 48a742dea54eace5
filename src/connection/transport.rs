//! One connection as its handler sees it: a socket with a bounded read-ahead buffer, and writes
//! that leave in call order.
//!
//! Locks: a thread may hold `receive_half` or `send_half` while it waits for the socket. A thread that
//! holds one of them only tries the other and never waits for it: the peer may read nothing until
//! we have read from it, and then both would wait for ever. A caller that shares its thread blocks
//! on neither, see [`LockWaiters`].

mod accounting;
mod closing;
mod counters;
mod delivery;
mod ending;
mod half;
mod insertion;
mod keepalive;
mod polling;
mod queue;
mod receiving;
mod registrations;
mod writability;

use std::{
    io,
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, OnceLock, Weak,
    },
};

use self::counters::Counters;
pub use self::counters::{Account, Phase, Traffic, Volume};
pub use self::{
    ending::{Outcome, ServerClose},
    half::Half,
    insertion::Insertion,
    receiving::{ReadOutcome, ReceiveGoal},
};
use super::{
    awaited_input::AwaitedInput,
    batch,
    byte_stream::ByteStream,
    closing::AtomicClosing,
    flusher::{Flusher, HoldsFrames, NextLook},
    lock_waiters::LockWaiters,
    outbox::Outbox,
    reactor::Registration,
    receive_half::ReceiveHalf,
    send_half::{leaves_open, SendHalf},
    send_queue::SendQueue,
    wait::Wait,
    Expiry,
};

/// A connection.
#[derive(Debug)]
pub struct Transport {
    /// The client's address: the peer's, or the one that a trusted proxy has reported. `None` on a
    /// Unix socket.
    peer: Option<SocketAddr>,
    /// For shutting down from other threads while one waits with a half locked.
    socket: Mutex<Option<Arc<dyn ByteStream>>>,
    receive_half: Mutex<ReceiveHalf>,
    send_half: Mutex<SendHalf>,
    /// Locked while a thread of the server's own has the sending half, which is never for long.
    server_sends: Mutex<()>,
    /// The peer reads so slowly that nothing should be added to what is held back.
    backed_up: Arc<AtomicBool>,
    /// Whether a caller has had the sending half since one found nothing held back in it.
    may_hold: AtomicBool,
    /// Another complete message is buffered, so a reply may be held back until the handler has
    /// answered that as well.
    more_buffered: AtomicBool,
    /// How far closing has come: which side has sent what.
    closing: AtomicClosing,
    /// Frames of callers that do not wait, queued while another thread sends; that thread sends
    /// them next.
    queue: SendQueue,
    /// Messages of topics; boxed, because most connections have none.
    outbox: OnceLock<Box<Outbox>>,
    /// The server's close frame, until a thread has sent it.
    server_close: Mutex<Option<Vec<u8>>>,
    flusher: Arc<Flusher>,
    /// Whether the flusher knows this connection.
    is_in_flusher: AtomicBool,
    awaited_input: AwaitedInput,
    /// The handler reads or writes raw bytes, so the server does not know where a frame ends and
    /// must not send frames of its own.
    is_raw: AtomicBool,
    /// The handler has a hook for pings.
    hooks_pings: AtomicBool,
    /// Why the server ended the connection.
    expiry: OnceLock<Expiry>,
    lock_waiters: LockWaiters,
    counters: Counters,
    /// The registration in the first reactor that asked, and those in others.
    registration: OnceLock<Registration>,
    registrations: Mutex<Vec<Arc<Registration>>>,
}

impl Transport {
    /// Takes over a connected socket of `peer`, and the bytes that were received together with the
    /// request head.
    pub fn new(
        socket: Arc<dyn ByteStream>,
        first: Vec<u8>,
        flusher: Arc<Flusher>,
        peer: Option<SocketAddr>,
    ) -> Self {
        let send_half = SendHalf::new(socket.clone());
        Self {
            peer,
            backed_up: send_half.backed_up().clone(),
            receive_half: Mutex::new(ReceiveHalf::new(socket.clone(), first)),
            send_half: Mutex::new(send_half),
            server_sends: Mutex::default(),
            socket: Mutex::new(Some(socket)),
            may_hold: AtomicBool::new(false),
            more_buffered: AtomicBool::new(false),
            closing: AtomicClosing::default(),
            queue: SendQueue::default(),
            outbox: OnceLock::new(),
            server_close: Mutex::new(None),
            flusher,
            is_in_flusher: AtomicBool::new(false),
            awaited_input: AwaitedInput::default(),
            is_raw: AtomicBool::new(false),
            hooks_pings: AtomicBool::new(false),
            expiry: OnceLock::new(),
            lock_waiters: LockWaiters::default(),
            counters: Counters::default(),
            registration: OnceLock::new(),
            registrations: Mutex::default(),
        }
    }

    /// The callers that wait for a half of this connection.
    pub fn lock_waiters(&self) -> &LockWaiters {
        &self.lock_waiters
    }

    /// Sets whether another complete message is buffered.
    pub fn set_more_buffered(&self, more: bool) {
        self.more_buffered.store(more, Ordering::Relaxed);
    }

    /// Whether another complete message is buffered.
    pub fn is_more_buffered(&self) -> bool {
        self.more_buffered.load(Ordering::Relaxed)
    }

    /// Holds a small frame back if another message is buffered. Returns `false` if the caller must
    /// send the frame.
    pub fn hold(self: &Arc<Self>, header: &[u8], payload: &[u8]) -> bool {
        if !self.is_more_buffered() {
            return false;
        }
        let Some(mut send_half) = self.try_send_half() else { return false };
        if self.closing.get().has_handler_closed() || !send_half.hold(header, payload) {
            return false;
        }
        drop(send_half);
        self.after_sending();
        self.watch();
        true
    }

    /// Makes the flusher watch this connection.
    fn watch(self: &Arc<Self>) {
        // looked at first: a read is cheaper than a swap, and during a burst the flusher knows it
        if !self.is_in_flusher.load(Ordering::Relaxed)
            && !self.is_in_flusher.swap(true, Ordering::Relaxed)
        {
            let holder: Weak<Self> = Arc::downgrade(self);
            self.flusher.watch(holder);
        }
    }

    /// Sends what was held back, and then one frame. Returns when the kernel has taken all of it.
    ///
    /// # Errors
    /// Those of `send(2)`, including an error of a frame that was held back earlier.
    pub fn send_frame(&self, header: &[u8], payload: &[u8], wait: Wait<'_>) -> io::Result<()> {
        let sent = self.sending(wait, |send_half| {
            // check while the half is locked: another thread may have closed since the caller
            // checked
            self.check_not_closed(header)?;
            if self.is_last_frame(header) && batch::takes_turns() {
                send_half.send_last_frame(header, payload, wait)
            } else {
                send_half.send_frame(header, payload, wait)
            }
        });
        sent.or_else(|error| {
            let is_mid_message = header.first().and_then(|first| leaves_open(*first));
            self.or_queue(error, wait, &[header, payload], is_mid_message)
        })
    }

    /// Sends what was held back, and then bytes in a `send(2)` of their own.
    ///
    /// # Errors
    /// As [`Self::send_frame`].
    pub fn write(&self, bytes: &[u8], wait: Wait<'_>) -> io::Result<()> {
        let sent = self.sending(wait, |send_half| send_half.write(bytes, wait));
        sent.or_else(|error| self.or_queue(error, wait, &[bytes], None))
    }

    /// Sends what was held back, for a caller that is about to wait for the peer.
    ///
    /// Does not wait for another thread that is sending. That thread sends what was held back
    /// before its own frame, and the peer may read nothing until this caller has read from it.
    #[inline]
    pub fn flush_before_wait(&self, wait: Wait<'_>) {
        // nearly always this saves locking the half
        if !self.queue.is_empty() || self.may_hold.load(Ordering::SeqCst) {
            self.try_flush(wait);
        }
    }

    #[cold]
    fn try_flush(&self, wait: Wait<'_>) {
        if let Some(mut send_half) = self.try_send_half() {
            send_half.flush_and_keep_error(wait);
            self.note_held(&send_half);
            drop(send_half);
            self.after_sending();
        }
    }

    /// Whether frames are held back because they could not be sent yet; also `true` if another
    /// thread is sending, since then it is not known.
    #[inline]
    pub fn has_held(&self) -> bool {
        // asked several times for each message
        !self.queue.is_empty() || (self.may_hold.load(Ordering::SeqCst) && self.ask_has_held())
    }

    #[cold]
    fn ask_has_held(&self) -> bool {
        let Some(send_half) = self.try_send_half() else { return true };
        let has_held = self.note_held(&send_half);
        drop(send_half);
        self.after_sending();
        has_held
    }

    /// Notes, before the sending half is released, if nothing is held back in it. Returns whether
    /// something is.
    fn note_held(&self, send_half: &SendHalf) -> bool {
        let has_held = send_half.has_held();
        if !has_held {
            // the next caller that locks the half sets it again, after this
            self.may_hold.store(false, Ordering::Release);
        }
        has_held
    }

    /// Whether the peer reads so slowly that nothing should be added to what is held back.
    pub fn is_backed_up(&self) -> bool {
        self.backed_up.load(Ordering::Relaxed)
    }

    /// Sends what could not be sent while the caller had the sending half.
    fn after_sending(&self) {
        self.send_server_close();
        self.deliver_rest();
    }

    fn sending<T>(
        &self,
        wait: Wait<'_>,
        work: impl FnOnce(&mut SendHalf) -> io::Result<T>,
    ) -> io::Result<T> {
        let mut send_half = self.send_half(wait)?;
        self.take_queued(&mut send_half);
        let result = work(&mut send_half);
        self.note_held(&send_half);
        drop(send_half);
        self.after_sending();
        result
    }
}

impl HoldsFrames for Transport {
    fn tick(self: Arc<Self>) -> NextLook {
        let Some(mut send_half) = self.try_server_send_half() else { return NextLook::Soon };
        let next = send_half.tick();
        // while `send_half` is locked, so that the next thread that holds a frame back sees this and
        // asks to be watched again
        self.is_in_flusher.store(next != NextLook::Never, Ordering::Relaxed);
        drop(send_half);
        self.after_sending();
        next
    }
}
