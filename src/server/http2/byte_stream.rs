//! A stream as its handler reads and writes it.
//!
//! What the peer has sent waits here until the handler reads it; only then does the window open for
//! more. What the handler sends waits in `h2`, as in the buffer of a socket.
//!
//! Locks: a thread that holds `state` must not call `h2`, since `h2` drops pieces, and reports
//! changes, while it is locked itself.

mod calls;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{atomic::AtomicU64, Arc, Condvar, Mutex, MutexGuard, Weak},
    task::{ready, Context, Poll},
};

use h2::{server::SendResponse, Reason, RecvStream, SendStream};
use http::{HeaderMap, Response};
use hyper::body::Bytes;
use tokio::sync::Notify;

use super::{
    change_waker::ChangeWaker,
    driver::{DrivenStream, Driver},
    headers::add_date,
    incoming::ReceivedData,
    piece::{Owner, Piece, UnsentBytes},
    turns::{TakesTurns, Turn},
};
use crate::{
    connection::{stall::Uptake, Change, PeerEnd, ReadinessListener},
    locks::lock,
};

/// A stream for a WebSocket.
pub(super) struct Http2ByteStream {
    this: Weak<Self>,
    driver: Arc<Driver>,
    change_waker: Arc<ChangeWaker>,
    peer: Option<SocketAddr>,
    /// `None` after the end.
    receiving: Mutex<Option<RecvStream>>,
    sending: Mutex<Sending>,
    unsent: UnsentBytes,
    state: Mutex<State>,
    /// Notified when `state` has changed while a thread waits.
    condvar: Condvar,
    /// Notified when the stream's task should look.
    for_task: Notify,
    /// Whether it is the turn of the handler's thread to read and write for the connection.
    turn: Turn,
    received: AtomicU64,
    sent: AtomicU64,
}

/// Our direction.
enum Sending {
    Unanswered(SendResponse<Piece>),
    Open(SendStream<Piece>),
    Ended,
}

/// The end of the peer's direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    InOrder,
    /// The connection has ended.
    Gone,
    Reset,
}

impl End {
    /// What an error means. When the connection ends in order, this is no worse than over TCP: what
    /// came before is still there to be read.
    fn of(error: &h2::Error) -> (Self, PeerEnd) {
        match error.get_io().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionReset) => (Self::Reset, PeerEnd::Broken),
            Some(io::ErrorKind::BrokenPipe) => (Self::Gone, PeerEnd::Ended),
            _ if error.is_reset() => (Self::Reset, PeerEnd::Broken),
            _ => (Self::Gone, PeerEnd::Broken),
        }
    }
}

#[derive(Default)]
struct State {
    incoming: ReceivedData,
    /// Read bytes that have not made capacity yet.
    unreleased: usize,
    end: Option<End>,
    /// What others are told of it. The stream may break after the peer's end.
    peer_end: PeerEnd,
    is_receiving_over: bool,
    is_sending_over: bool,
    /// What comes is discarded.
    discards: bool,
    /// Threads that wait for a change.
    waiters: usize,
    /// Shared, because they are called when this is not locked.
    listeners: Arc<[Arc<dyn ReadinessListener>]>,
}

impl fmt::Debug for Http2ByteStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Http2ByteStream").finish_non_exhaustive()
    }
}

/// What the stream's task does.
impl Http2ByteStream {
    pub(super) fn new(
        driver: Arc<Driver>,
        peer: Option<SocketAddr>,
        receiving: RecvStream,
        respond: SendResponse<Piece>,
    ) -> Arc<Self> {
        let stream = Arc::new_cyclic(|this: &Weak<Self>| Self {
            this: this.clone(),
            change_waker: ChangeWaker::new(driver.clone(), this.clone()),
            driver,
            peer,
            receiving: Mutex::new(Some(receiving)),
            sending: Mutex::new(Sending::Unanswered(respond)),
            unsent: UnsentBytes::default(),
            state: Mutex::default(),
            condvar: Condvar::new(),
            for_task: Notify::new(),
            turn: Turn::default(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
        });
        stream.poll_changed();
        stream
    }

    /// Answers the request with 200. Returns `false` if the stream has ended.
    pub(super) fn open(&self, headers: HeaderMap) -> bool {
        let mut sending = lock(&self.sending);
        let Sending::Unanswered(respond) = &mut *sending else { return false };
        let mut response = Response::new(());
        *response.headers_mut() = headers;
        add_date(response.headers_mut());
        let (opened, _) = self.driver.noting_wake(|| respond.send_response(response, false));
        let Ok(stream) = opened else {
            // the peer has gone, or a header must not be sent
            respond.send_reset(Reason::INTERNAL_ERROR);
            return false;
        };
        *sending = Sending::Open(stream);
        drop(sending);
        self.driver.hand_over(true);
        true
    }

    /// Takes what an answer of another kind needs.
    pub(super) fn take_respond(&self) -> Option<SendResponse<Piece>> {
        match std::mem::replace(&mut *lock(&self.sending), Sending::Ended) {
            Sending::Unanswered(respond) => Some(respond),
            Sending::Open(_) | Sending::Ended => None,
        }
    }

    /// Resets the stream, and discards what it has not sent.
    pub(super) fn send_reset(&self, reason: Reason) {
        match &mut *lock(&self.sending) {
            Sending::Unanswered(respond) => respond.send_reset(reason),
            Sending::Open(stream) => stream.send_reset(reason),
            Sending::Ended => {}
        }
    }

    /// Is ready when the peer has reset the stream, or has gone.
    pub(super) fn poll_reset(&self, context: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut *lock(&self.sending) {
            Sending::Unanswered(respond) => ready!(respond.poll_reset(context)),
            Sending::Open(stream) => ready!(stream.poll_reset(context)),
            Sending::Ended => return Poll::Ready(()),
        };
        // the peer may have ended its direction before, and then `poll_changed` finds no reset
        if reset.is_ok() {
            lock(&self.state).peer_end = PeerEnd::Broken;
        }
        Poll::Ready(())
    }

    /// Whether the request has been answered with 200.
    pub(super) fn is_answered(&self) -> bool {
        matches!(&*lock(&self.sending), Sending::Open(_))
    }

    /// Ends our direction in order, behind what was sent.
    pub(super) fn send_end(&self) {
        if let (Sending::Open(stream), Some(owner)) = (&mut *lock(&self.sending), self.owner()) {
            // this fails if the stream has ended
            let _ = stream.send_data(Piece::of(owner, Bytes::new()), true);
        }
    }

    /// Has the stream's task look.
    pub(super) fn notify_task(&self) {
        self.for_task.notify_one();
    }

    /// Waits for something that the stream's task should look at.
    pub(super) async fn notified(&self) {
        self.for_task.notified().await;
    }

    /// Whether the handler ends our direction, or it has been ended.
    pub(super) fn is_sending_over(&self) -> bool {
        lock(&self.state).is_sending_over
    }

    /// Whether the connection has taken everything.
    pub(super) fn is_all_taken(&self) -> bool {
        self.unsent.is_none()
    }

    /// What the peer has taken. As long as it takes something of the connection, the stream may be
    /// one of many that wait.
    pub(super) fn uptake(&self) -> Uptake {
        Uptake { waits: !self.is_all_taken(), ..self.driver.uptake() }
    }

    /// Whether the peer has ended its direction in order.
    pub(super) fn has_peer_ended(&self) -> bool {
        lock(&self.state).end == Some(End::InOrder)
    }

    /// Drops what was received and what will be.
    pub(super) fn discard(&self) {
        let mut state = lock(&self.state);
        state.discards = true;
        let count = state.incoming.clear() + std::mem::take(&mut state.unreleased);
        drop(state);
        self.release(count);
    }

    /// Lets go of the stream. Unless both directions have ended in order, this resets it: behind its
    /// answer, and before data that waits.
    pub(super) fn release_stream(&self) {
        self.poll_changed();
        let receiving = lock(&self.receiving).take();
        let sending = std::mem::replace(&mut *lock(&self.sending), Sending::Ended);
        drop((receiving, sending));
        let mut state = lock(&self.state);
        if state.end.is_none() {
            state.end = Some(End::Gone);
            state.peer_end = PeerEnd::Broken;
        }
        state.is_sending_over = true;
        let end = state.peer_end;
        self.notify(state, Change { readable: true, writable: true, end });
        self.end_turn();
    }

    /// Lets the thread of another stream run, if the one of this stream had the turn.
    fn end_turn(&self) {
        if self.turn.end() {
            self.driver.pass_turn();
        }
    }

    /// Makes capacity for as many bytes from the peer.
    fn release(&self, count: usize) {
        if count == 0 {
            return;
        }
        let mut receiving = lock(&self.receiving);
        let Some(stream) = &mut *receiving else { return };
        // this fails if the stream has ended
        let (_, has_woken) =
            self.driver.noting_wake(|| stream.flow_control().release_capacity(count));
        drop(receiving);
        if has_woken && self.turn.is_taken() {
            // its thread will send, or pass the turn on
            self.driver.leave_pending();
        } else if has_woken {
            self.driver.hand_over(true);
        }
    }

    /// Tells others of a change in `state`, which is unlocked before, as they will lock it at once.
    fn notify(&self, state: MutexGuard<'_, State>, change: Change) {
        let (has_waiters, listeners) = (state.waiters > 0, state.listeners.clone());
        drop(state);
        if has_waiters {
            if change.writable || change.end > PeerEnd::Open {
                self.condvar.notify_all();
            } else if let Some(this) = self.this.upgrade().filter(|_| self.turn.want()) {
                self.driver.take_turn(this);
            }
        }
        for listener in &*listeners {
            listener.changed(change);
        }
    }

    fn owner(&self) -> Option<Arc<dyn Owner>> {
        Some(self.this.upgrade()?)
    }
}

impl DrivenStream for Http2ByteStream {
    /// Takes what has come from the connection.
    fn poll_changed(&self) {
        let waker = self.change_waker.begin_poll();
        let mut context = Context::from_waker(&waker);
        let mut receiving = lock(&self.receiving);
        let Some(stream) = &mut *receiving else { return };
        let (mut change, mut discarded) = (Change::default(), 0);
        loop {
            let (end, peer_end) = match stream.poll_data(&mut context) {
                Poll::Pending => break,
                Poll::Ready(Some(Ok(data))) => {
                    let mut state = lock(&self.state);
                    if state.discards {
                        discarded += data.len();
                    } else if !data.is_empty() {
                        state.incoming.push(data);
                        change.readable = true;
                    }
                    continue;
                }
                Poll::Ready(None) => (End::InOrder, PeerEnd::Ended),
                Poll::Ready(Some(Err(error))) => End::of(&error),
            };
            let mut state = lock(&self.state);
            state.end.get_or_insert(end);
            state.peer_end = state.peer_end.max(peer_end);
            state.is_sending_over |= end != End::InOrder;
            change = Change { readable: true, writable: end != End::InOrder, end: state.peer_end };
            break;
        }
        drop(receiving);
        self.release(discarded);
        if change != Change::default() {
            self.notify(lock(&self.state), change);
        }
        if change.end > PeerEnd::Open {
            self.notify_task();
        }
    }
}

impl Owner for Http2ByteStream {
    fn unsent(&self) -> &UnsentBytes {
        &self.unsent
    }

    fn note_capacity(&self) {
        let change = Change { writable: true, ..Change::default() };
        self.notify(lock(&self.state), change);
    }

    fn note_all_taken(&self) {
        if lock(&self.state).is_sending_over {
            self.notify_task();
        }
    }
}

impl TakesTurns for Http2ByteStream {
    fn begin_turn(&self) -> bool {
        self.turn.take();
        if lock(&self.state).waiters == 0 {
            self.turn.end();
            return false;
        }
        self.condvar.notify_all();
        true
    }
}
