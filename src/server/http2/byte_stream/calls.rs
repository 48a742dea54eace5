//! What the handler's calls do.

use std::{
    io,
    net::SocketAddr,
    sync::{atomic::Ordering, Arc, MutexGuard, PoisonError},
    time::Duration,
};

use super::{super::connection::STREAM_WINDOW, End, Http2ByteStream, Piece, Sending, State};
use crate::{
    connection::{
        batch, ByteStream, Change, Direction, Mode, PeerEnd, Readiness, ReadinessListener,
        ReadinessNotifier, ReadinessSource, SendResult,
    },
    locks::lock,
};

/// Read bytes make capacity for more when they are this many.
const RELEASE_MIN: usize = 16 * 1024;

/// So much capacity is held back while threads of other streams wait for their turn. The peer has no
/// use for it then, and what it sent ahead would only drive the messages that are due out of the
/// processor's cache: with 64 streams of messages of 64 KiB, an echo costs a quarter less. There is
/// room left for a message of 64 KiB with its header.
const HELD: usize = 64 * 1024 - 16;

// h2 tells the peer of new capacity when it is at least half of what the peer may still send. So up to
// a third of the window may be unknown to the peer, and the rest of it must be enough to make more.
const _: () = assert!(HELD + RELEASE_MIN <= STREAM_WINDOW as usize / 3 * 2);

/// What is larger is written at once, and does not wait for other streams.
const SMALL_MAX: usize = 16 * 1024;

impl Http2ByteStream {
    fn take(&self, most: usize, mode: Mode, put: impl FnMut(&[u8])) -> io::Result<usize> {
        let mut state = lock(&self.state);
        let count = loop {
            if !state.incoming.is_empty() && !state.is_receiving_over {
                break state.incoming.take(most, put);
            }
            if state.is_receiving_over || matches!(state.end, Some(End::InOrder | End::Gone)) {
                return Ok(0);
            }
            if state.end == Some(End::Reset) {
                return Err(io::ErrorKind::ConnectionReset.into());
            }
            if mode != Mode::Blocking {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if self.turn.is_taken() {
                drop(state);
                self.end_turn();
                state = lock(&self.state);
                continue;
            }
            state = self.pause(state);
        };
        state.unreleased += count;
        let due = self.take_due(&mut state);
        drop(state);
        self.received.fetch_add(count as u64, Ordering::Relaxed);
        self.release(due);
        Ok(count)
    }

    /// Takes the read bytes that are to make capacity now. Returns how many.
    fn take_due(&self, state: &mut State) -> usize {
        if state.end.is_some() {
            return std::mem::take(&mut state.unreleased);
        }
        let held = if self.driver.are_turns_wanted() { HELD } else { 0 };
        if state.unreleased < held + RELEASE_MIN {
            return 0;
        }
        std::mem::replace(&mut state.unreleased, held) - held
    }

    /// Lets the calling thread wait for a change.
    fn pause<'a>(&self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        state.waiters += 1;
        let mut state = self.condvar.wait(state).unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        state
    }

    /// Returns how many bytes can be sent, which is at least one.
    fn send_capacity(&self, mode: Mode) -> io::Result<usize> {
        loop {
            let capacity = self.unsent.send_capacity();
            if capacity > 0 {
                return Ok(capacity);
            }
            let state = lock(&self.state);
            if state.is_sending_over {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            if self.unsent.want_capacity() > 0 {
                continue;
            }
            if mode != Mode::Blocking {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            if self.turn.is_taken() {
                drop(state);
                self.end_turn();
                continue;
            }
            drop(self.pause(state));
        }
    }

    fn put(&self, bytes: Vec<u8>) -> io::Result<()> {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let owner = self.owner().ok_or_else(broken)?;
        let count = bytes.len() as u64;
        let mut sending = lock(&self.sending);
        let Sending::Open(stream) = &mut *sending else { return Err(broken()) };
        if lock(&self.state).is_sending_over {
            return Err(broken());
        }
        let piece = Piece::of(owner, bytes.into());
        let (sent, _) = self.driver.noting_wake(|| stream.send_data(piece, false));
        sent.map_err(|_| broken())?;
        self.sent.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }
}

impl ByteStream for Http2ByteStream {
    fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        let capacity = buffer.capacity() - buffer.len();
        self.take(capacity, mode, |bytes| buffer.extend_from_slice(bytes))
    }

    fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        let (capacity, mut start) = (target.len(), 0);
        self.take(capacity, mode, |bytes| {
            target[start..start + bytes.len()].copy_from_slice(bytes);
            start += bytes.len();
        })
    }

    fn send(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult {
        let total = first.len() + second.len();
        let mut sent = 0;
        while sent < total {
            let capacity = self.send_capacity(mode).map_err(|error| (sent, error))?;
            let (first, second) = if sent < first.len() {
                (&first[sent..], second)
            } else {
                (&[][..], &second[sent - first.len()..])
            };
            let count = capacity.min(first.len() + second.len());
            let mut bytes = Vec::with_capacity(count);
            bytes.extend_from_slice(&first[..count.min(first.len())]);
            bytes.extend_from_slice(&second[..count - bytes.len()]);
            self.put(bytes).map_err(|error| (sent, error))?;
            sent += count;
            self.driver.hand_over(total <= SMALL_MAX);
        }
        Ok(())
    }

    // what is sent goes to the driver, which keeps nothing for an end
    fn push(&self) {}

    fn has_unsent(&self) -> bool {
        false
    }

    fn buffers_input(&self) -> bool {
        false
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    fn is_tls(&self) -> bool {
        false
    }

    fn has_unread(&self) -> bool {
        !lock(&self.state).incoming.is_empty()
    }

    fn is_peer_gone(&self) -> bool {
        let state = lock(&self.state);
        state.incoming.is_empty() && (state.end.is_some() || state.is_receiving_over)
    }

    fn traffic(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }

    /// What the connection has taken, which it does as the peer opens the window.
    fn taken(&self) -> u64 {
        self.traffic().1.saturating_sub(self.unsent.count() as u64)
    }

    fn end_sending(&self) {
        self.shutdown(Direction::Sending);
    }

    fn shutdown(&self, direction: Direction) {
        let mut state = lock(&self.state);
        state.is_receiving_over |= direction != Direction::Sending;
        state.is_sending_over |= direction != Direction::Receiving;
        let change = Change {
            readable: state.is_receiving_over,
            writable: state.is_sending_over,
            end: if state.is_receiving_over { PeerEnd::Ended } else { PeerEnd::Open },
        };
        self.notify(state, change);
        self.end_turn();
        self.notify_task();
    }

    fn reset(&self) {
        self.shutdown(Direction::Both);
    }

    fn readiness(&self) -> ReadinessSource<'_> {
        ReadinessSource::Stream(self)
    }
}

impl ReadinessNotifier for Http2ByteStream {
    fn register(&self, listener: Arc<dyn ReadinessListener>) {
        let mut state = lock(&self.state);
        if state.end.is_some() {
            listener.changed(Change { readable: true, writable: true, end: state.peer_end });
        }
        state.listeners = state.listeners.iter().cloned().chain([listener]).collect();
    }

    fn wait(&self, readiness: Readiness, timeout: Duration) -> bool {
        batch::flush();
        let is_unready = |state: &mut State| match readiness {
            Readiness::Readable => {
                state.incoming.is_empty() && state.end.is_none() && !state.is_receiving_over
            }
            Readiness::Writable => self.unsent.want_capacity() == 0 && !state.is_sending_over,
        };
        self.end_turn();
        let mut state = lock(&self.state);
        state.waiters += 1;
        let waited = self.condvar.wait_timeout_while(state, timeout, is_unready);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        !timeout.timed_out()
    }

    fn has_ended(&self) -> bool {
        let state = lock(&self.state);
        state.end.is_some() || state.is_receiving_over
    }
}
