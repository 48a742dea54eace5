//! Drives a connection: its task reads and writes, and threads of handlers write as well.
//!
//! A handler's thread that waited for the task would cost a wake-up for each message. So a thread
//! that has handed bytes over writes them itself, unless the task or another thread is writing,
//! which then checks again: each thread stores `is_pending` and then tries the lock, and the thread
//! that releases the lock then reads `is_pending`.
//!
//! Only the task reads, since only it accepts streams. If it has read something for several threads,
//! these run one after the other, see [`super::turns`].

use std::{
    cell::Cell,
    fmt,
    sync::{
        atomic::{AtomicBool, AtomicU8, Ordering},
        Arc, Mutex, Weak,
    },
    task::{Context, Poll, Wake, Waker},
};

use h2::{
    server::{Connection, SendResponse},
    RecvStream,
};
use http::Request;

use super::{
    piece::Piece,
    turns::{TakesTurns, Turns},
    wire::{Wire, WireStream},
};
use crate::{
    connection::{
        batch::{self, Carrier},
        stall::Uptake,
        Flusher, HoldsFrames, NextLook,
    },
    locks::{lock, try_lock},
};

/// The flusher stops watching a connection on which nothing waited for this many looks.
const FORGET_AFTER: u8 = 20;

/// The request of a new stream, and where its answer goes.
pub(super) type NewStream = (Request<RecvStream>, SendResponse<Piece>);

/// A new stream, or the error that ends the connection; `None` at its end.
type Accepted = Option<Result<NewStream, h2::Error>>;

thread_local! {
    /// The driver whose connection this thread is polling.
    static POLLED: Cell<*const Driver> = const { Cell::new(std::ptr::null()) };
    /// The driver to which this thread is handing something over, and whether that woke it.
    static HANDED: Cell<(*const Driver, bool)> = const { Cell::new((std::ptr::null(), false)) };
}

/// A stream of the connection, on which something can change while the connection is polled.
pub(super) trait DrivenStream: Send + Sync {
    /// Polls what has changed. The connection is not locked.
    fn poll_changed(&self);
}

/// A connection that several threads drive.
pub(super) struct Driver {
    /// `None` after the end.
    connection: Mutex<Option<Connection<WireStream, Piece>>>,
    wire: Arc<Wire>,
    /// The connection's task.
    task: Mutex<Option<Waker>>,
    /// Whether the last poll has found a new stream. Others may wait, for which data may wait, so
    /// nothing more is read before.
    has_accepted: AtomicBool,
    /// Something was handed over that nobody has written yet.
    is_pending: AtomicBool,
    /// Whether a thread that gathers what its callers send is going to write it.
    has_joined: AtomicBool,
    /// Streams on which something has changed.
    changed: Mutex<Vec<Arc<dyn DrivenStream>>>,
    /// Whose turn it is to read and write, of the threads that wait for data.
    turns: Turns,
    flusher: Arc<Flusher>,
    /// Whether the flusher knows this connection.
    is_watched: AtomicBool,
    /// Looks of the flusher since something was handed over.
    age: AtomicU8,
}

impl fmt::Debug for Driver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Driver").finish_non_exhaustive()
    }
}

/// Remembers, until it is dropped, that this thread polls the connection.
struct Polling(*const Driver);

impl Polling {
    fn begin(driver: &Driver) -> Self {
        Self(POLLED.replace(driver))
    }
}

impl Drop for Polling {
    fn drop(&mut self) {
        POLLED.set(self.0);
    }
}

impl Driver {
    pub(super) fn new(
        connection: Connection<WireStream, Piece>,
        wire: Arc<Wire>,
        flusher: Arc<Flusher>,
    ) -> Self {
        wire.gather();
        Self {
            connection: Mutex::new(Some(connection)),
            wire,
            task: Mutex::default(),
            has_accepted: AtomicBool::new(false),
            is_pending: AtomicBool::new(false),
            has_joined: AtomicBool::new(false),
            changed: Mutex::default(),
            turns: Turns::default(),
            flusher,
            is_watched: AtomicBool::new(false),
            age: AtomicU8::new(0),
        }
    }

    /// Reads and writes. The connection's task calls this.
    pub(super) fn poll_accept(self: &Arc<Self>, context: &Context<'_>) -> Poll<Accepted> {
        let task = context.waker();
        let mut known = lock(&self.task);
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
        drop(known);
        let mut guard = lock(&self.connection);
        self.is_pending.store(false, Ordering::SeqCst);
        let Some(connection) = &mut *guard else { return Poll::Ready(None) };
        let polling = Polling::begin(self);
        let waker = self.waker();
        let mut handed = Context::from_waker(&waker);
        if !self.has_accepted.load(Ordering::Relaxed) {
            self.wire.begin_poll();
        }
        let polled = connection.poll_accept(&mut handed);
        self.has_accepted.store(polled.is_ready(), Ordering::Relaxed);
        self.wire.write_out(&mut handed);
        let must_read_on = self.wire.must_read_on();
        drop(polling);
        drop(guard);
        self.notify_streams();
        if must_read_on || self.is_pending.load(Ordering::SeqCst) {
            // it was handed over meanwhile, perhaps too late to be seen
            task.wake_by_ref();
        }
        polled
    }

    /// Does something else with the connection, for its task.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection<WireStream, Piece>) -> T,
    ) -> Option<T> {
        let _polling = Polling::begin(self);
        let done = lock(&self.connection).as_mut().map(work);
        self.notify_streams();
        done
    }

    /// What the peer has taken of the connection's bytes.
    pub(super) fn uptake(&self) -> Uptake {
        self.wire.uptake()
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        let connection = lock(&self.connection).take();
        let polling = Polling::begin(self);
        drop(connection);
        drop(polling);
        self.notify_streams();
    }

    /// Does something with a stream that may give the connection something to write. Returns whether
    /// it did; then [`Self::hand_over`] must follow.
    pub(super) fn noting_wake<T>(&self, work: impl FnOnce() -> T) -> (T, bool) {
        let before = HANDED.replace((self, false));
        let result = work();
        let (_, has_woken) = HANDED.replace(before);
        (result, has_woken)
    }

    /// Writes what was handed over. Small pieces may wait for those of other callers of this thread,
    /// or of the threads that have the next turns.
    pub(super) fn hand_over(self: &Arc<Self>, is_small: bool) {
        if is_small && batch::gathers() {
            self.is_pending.store(true, Ordering::SeqCst);
            if !self.has_joined.swap(true, Ordering::SeqCst) {
                batch::join(self.clone());
            }
            self.age.store(0, Ordering::Relaxed);
            return self.watch();
        }
        if is_small && self.turns.are_wanted() {
            self.leave_pending();
            if self.turns.are_taken() {
                return;
            }
            // the last turn has just ended
        }
        self.is_pending.store(true, Ordering::SeqCst);
        self.write();
    }

    /// Leaves what was handed over to the thread that has the last turn, or to the flusher.
    pub(super) fn leave_pending(self: &Arc<Self>) {
        if !self.is_pending.swap(true, Ordering::SeqCst) {
            self.age.store(0, Ordering::Relaxed);
        }
        self.watch();
    }

    /// Lets the thread of a stream run, at once or in its turn.
    pub(super) fn take_turn(self: &Arc<Self>, stream: Arc<dyn TakesTurns>) {
        if self.turns.join(stream) {
            self.watch();
        }
    }

    /// Lets the next thread run, or writes what all of them have handed over.
    pub(super) fn pass_turn(self: &Arc<Self>) {
        if !self.turns.pass() {
            self.write();
        }
    }

    /// Whether threads wait for their turn.
    pub(super) fn are_turns_wanted(&self) -> bool {
        self.turns.are_wanted()
    }

    fn watch(self: &Arc<Self>) {
        if !self.is_watched.swap(true, Ordering::Relaxed) {
            let holder: Weak<Self> = Arc::downgrade(self);
            self.flusher.watch(holder);
        }
    }

    fn write(self: &Arc<Self>) {
        while self.is_pending.load(Ordering::SeqCst) {
            let Some(mut guard) = try_lock(&self.connection) else { return };
            self.is_pending.store(false, Ordering::SeqCst);
            let Some(connection) = &mut *guard else { return };
            if !self.wire.is_drained() {
                // polling might find frames that were read already, which are for the task
                drop(guard);
                return self.wake_task();
            }
            self.wire.pause(true);
            let polling = Polling::begin(self);
            let waker = self.waker();
            let mut context = Context::from_waker(&waker);
            let polled = connection.poll_closed(&mut context);
            self.wire.write_out(&mut context);
            drop(polling);
            self.wire.pause(false);
            drop(guard);
            self.notify_streams();
            if polled.is_ready() {
                self.wake_task();
            }
        }
    }

    /// Notes that something has changed on a stream.
    pub(super) fn note_change(&self, stream: Arc<dyn DrivenStream>) {
        lock(&self.changed).push(stream);
        if !std::ptr::eq(POLLED.get(), self) {
            self.wake_task();
        }
    }

    /// Lets streams poll what has changed, which they cannot do while the connection is polled.
    fn notify_streams(&self) {
        loop {
            let streams = std::mem::take(&mut *lock(&self.changed));
            if streams.is_empty() {
                return;
            }
            for stream in streams {
                stream.poll_changed();
            }
        }
    }

    fn wake_task(&self) {
        if let Some(task) = &*lock(&self.task) {
            task.wake_by_ref();
        }
    }

    fn waker(self: &Arc<Self>) -> Waker {
        Waker::from(self.clone())
    }
}

impl Wake for Driver {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let (handed, _) = HANDED.get();
        if std::ptr::eq(handed, Arc::as_ptr(self)) {
            HANDED.set((handed, true));
        } else {
            self.wake_task();
        }
    }
}

impl Carrier for Driver {
    fn flush(self: Arc<Self>) {
        self.has_joined.store(false, Ordering::SeqCst);
        self.write();
    }
}

impl HoldsFrames for Driver {
    fn tick(self: Arc<Self>) -> NextLook {
        let age = self.age.fetch_add(1, Ordering::Relaxed);
        let are_waiting = self.turns.tick();
        if self.is_pending.load(Ordering::SeqCst) && age > 0 {
            self.write();
            return NextLook::Soon;
        }
        if age < FORGET_AFTER || are_waiting {
            return NextLook::Soon;
        }
        self.is_watched.store(false, Ordering::SeqCst);
        // handed over just before that
        let is_needed = self.is_pending.load(Ordering::SeqCst) || self.turns.are_wanted();
        if is_needed && !self.is_watched.swap(true, Ordering::SeqCst) {
            return NextLook::Soon;
        }
        NextLook::Never
    }
}
