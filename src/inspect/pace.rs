//! Faults of a watched connection: it stalls in both directions, or what it sends trickles. What is
//! sent meanwhile waits here, and a thread of its own sends it.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::{
    connection::{ByteStream, Direction, Mode, SendResult},
    locks::lock,
};

/// Senders that may block wait from here on, as they do for a peer that does not read.
const FULL_BYTES: usize = 1 << 20;

/// With this many bytes queued, the connection is reset: senders that do not wait would fill the
/// memory.
const MAX_BYTES: usize = 16 << 20;

/// Pieces per second on a slowed connection, so that a client sees the bytes arrive one after
/// another.
const PIECES_PER_SECOND: u32 = 20;

/// How often to look whether a peer that reads slowly has made room.
const POLL_PERIOD: Duration = Duration::from_millis(10);

/// The time for what is left when the handler has ended.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// How fast a connection sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pace {
    /// At full speed.
    #[default]
    Full,
    /// Not at all, and what the peer sends is not read.
    Stalled,
    /// This many bytes per second.
    Throttled(u32),
}

/// A stream that sends at the pace of its [`Pacer`].
pub(super) trait PacedStream: Send + Sync {
    /// What holds back what is sent.
    fn pacer(&self) -> &Pacer;

    /// Sets the pace.
    ///
    /// # Errors
    /// If the system has no thread for it.
    fn set_pace(self: Arc<Self>, pace: Pace) -> io::Result<()>;

    /// Sends without holding anything back.
    fn send_now(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult;

    /// The stream below, whose directions can be ended.
    fn inner(&self) -> &dyn ByteStream;
}

impl fmt::Debug for dyn PacedStream {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("PacedStream")
    }
}

/// Holds back what a stream sends, until its pace lets it pass.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    pace: Pace,
    queue: VecDeque<u8>,
    /// A thread sends what is queued, and everything goes by way of the queue until it has ended.
    has_thread: bool,
    /// The handler has ended: the rest is sent at once, and then our direction ends, by this moment.
    ends_by: Option<Instant>,
    is_over: bool,
}

/// What a sender has to do.
pub(super) enum SendDecision {
    /// Nothing is slowed down: it sends the bytes itself.
    No,
    /// The bytes are queued.
    Queued,
    /// Too much is queued: the connection must be reset.
    TooMuch,
}

impl Pacer {
    /// Takes what is to be sent if the connection is not at full speed.
    pub(super) fn take(&self, pieces: [&[u8]; 2], mode: Mode) -> SendDecision {
        let mut state = lock(&self.state);
        if !state.has_thread {
            return SendDecision::No;
        }
        while mode == Mode::Blocking && state.queue.len() >= FULL_BYTES && !state.is_over {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_over {
            // the stream says so to the sender
            return SendDecision::No;
        }
        state.queue.extend(pieces.into_iter().flatten());
        let is_too_much = state.queue.len() > MAX_BYTES;
        drop(state);
        self.changed.notify_all();
        if is_too_much {
            SendDecision::TooMuch
        } else {
            SendDecision::Queued
        }
    }

    /// Takes the end of our direction, if something is queued before it.
    pub(super) fn take_end(&self) -> bool {
        let mut state = lock(&self.state);
        if !state.has_thread {
            return false;
        }
        state.ends_by = Some(Instant::now() + FLUSH_TIMEOUT);
        drop(state);
        self.changed.notify_all();
        true
    }

    /// Drops what is queued: nothing can be sent any more.
    pub(super) fn give_up(&self) {
        let mut state = lock(&self.state);
        state.is_over = true;
        state.queue = VecDeque::new();
        drop(state);
        self.changed.notify_all();
    }

    /// Ends a stall because nothing more will be read, and wakes the readers that wait for its end.
    pub(super) fn release(&self) {
        let mut state = lock(&self.state);
        if state.pace == Pace::Stalled {
            state.pace = Pace::Full;
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn waiting(&self) -> usize {
        lock(&self.state).queue.len()
    }

    /// Waits while nothing may be read, at most for this time. Returns whether nothing may still be
    /// read.
    pub(super) fn withholds(&self, timeout: Duration) -> bool {
        let nothing_is_read = |state: &mut State| {
            state.pace == Pace::Stalled && !state.is_over && state.ends_by.is_none()
        };
        let mut state = lock(&self.state);
        if timeout.is_zero() {
            return nothing_is_read(&mut state);
        }
        let waited = self.changed.wait_timeout_while(state, timeout, nothing_is_read);
        waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    pub(super) fn pace(&self) -> Pace {
        lock(&self.state).pace
    }

    /// Sets the pace, and starts the thread that it needs.
    pub(super) fn set(&self, pace: Pace, stream: Arc<dyn PacedStream>) -> io::Result<()> {
        let mut state = lock(&self.state);
        if !state.has_thread && pace != Pace::Full && !state.is_over {
            let builder = thread::Builder::new().name("fastwsh-pace".to_owned());
            // the thread holds the stream, so that what is queued leaves even if the connection ends
            // before the thread has started
            let run = move || stream.pacer().run(&*stream);
            builder.stack_size(128 * 1024).spawn(run)?;
            state.has_thread = true;
        }
        state.pace = pace;
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Sends what is queued, at the pace that is set, until nothing more is to be slowed down.
    fn run(&self, stream: &dyn PacedStream) {
        let mut due = Instant::now();
        let mut state = lock(&self.state);
        loop {
            let is_last = state.ends_by.is_some();
            let rate = match state.pace {
                _ if state.is_over => break,
                _ if is_last => None,
                Pace::Full => None,
                Pace::Throttled(rate) => Some(rate),
                Pace::Stalled => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                    due = Instant::now();
                    continue;
                }
            };
            if state.queue.is_empty() {
                if rate.is_none() {
                    break;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                due = due.max(Instant::now());
                continue;
            }
            let now = Instant::now();
            if state.ends_by.is_some_and(|moment| moment <= now) {
                // the peer does not read
                state.is_over = true;
                break;
            }
            if rate.is_some() && due > now {
                state = wait(&self.changed, state, due - now);
                continue;
            }
            let most = rate.map_or(64 * 1024, |rate| (rate / PIECES_PER_SECOND).max(1) as usize);
            let piece: Vec<u8> = state.queue.iter().take(most).copied().collect();
            drop(state);
            let (sent, is_blocked) = match stream.send_now(&piece, &[], Mode::NonBlocking) {
                Ok(()) => (piece.len(), false),
                Err((sent, error)) if error.kind() == io::ErrorKind::WouldBlock => (sent, true),
                Err(_) => {
                    self.give_up();
                    (0, false)
                }
            };
            if let Some(rate) = rate {
                // at most a twentieth of the rate, so it fits
                let sent = u32::try_from(sent).unwrap_or(rate);
                due += Duration::from_secs_f64(f64::from(sent) / f64::from(rate));
            }
            state = lock(&self.state);
            let length = state.queue.len();
            state.queue.drain(..sent.min(length));
            self.changed.notify_all();
            if is_blocked {
                state = wait(&self.changed, state, POLL_PERIOD);
            }
        }
        self.end_thread(state, stream);
    }

    /// Ends our direction if the handler has ended, and both if the peer did not read in time.
    fn end_thread(&self, mut state: MutexGuard<'_, State>, stream: &dyn PacedStream) {
        state.has_thread = false;
        let (ends, was_cut) = (state.ends_by.is_some(), state.is_over);
        state.queue = VecDeque::new();
        drop(state);
        self.changed.notify_all();
        if ends && was_cut {
            stream.inner().shutdown(Direction::Both);
        } else if ends {
            stream.inner().end_sending();
        }
    }
}

fn wait<'a>(
    changed: &Condvar,
    state: MutexGuard<'a, State>,
    time: Duration,
) -> MutexGuard<'a, State> {
    changed.wait_timeout(state, time).unwrap_or_else(PoisonError::into_inner).0
}
