//! The stream around a watched connection's socket: it passes bytes on, and tells its [`WatchedConnection`] of
//! them.

use std::{
    io,
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    time::Duration,
};

use super::{
    pace::{Pace, PacedStream, Pacer, SendDecision},
    watched_connection::WatchedConnection,
};
use crate::{
    connection::{ByteStream, Direction, Mode, ReadinessSource, SendResult},
    system::{Native, System},
};

/// How often a thread that waits for the end of a stall looks whether the peer has ended.
const POLL_PERIOD: Duration = Duration::from_millis(50);

/// A stream that is watched.
#[derive(Debug)]
pub(super) struct TappedStream {
    inner: Arc<dyn ByteStream>,
    watched: Arc<WatchedConnection>,
    pacer: Pacer,
    /// Whether the pacer has been used, so that most sends need no lock.
    is_paced: AtomicBool,
}

impl TappedStream {
    pub(super) fn new(inner: Arc<dyn ByteStream>, watched: Arc<WatchedConnection>) -> Arc<Self> {
        Arc::new(Self { inner, watched, pacer: Pacer::default(), is_paced: AtomicBool::new(false) })
    }

    /// Waits until something may be read. A stall ends when the peer ends its direction: until that
    /// end is read, it would wake callers that wait for input again and again.
    fn may_read(&self, mode: Mode) -> io::Result<()> {
        if !self.is_paced.load(Ordering::Relaxed) {
            return Ok(());
        }
        let timeout = if mode == Mode::Blocking { POLL_PERIOD } else { Duration::ZERO };
        while self.withholds(timeout) {
            if mode != Mode::Blocking {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        match self.inner.readiness() {
            ReadinessSource::Descriptor(descriptor) => Native::hang_up(descriptor).is_some(),
            ReadinessSource::Stream(stream) => stream.has_ended(),
        }
    }

    /// Tells the watched connection of what was received, and returns how much of it the handler
    /// may have.
    fn note_arrival(&self, bytes: &[u8]) -> io::Result<usize> {
        let Some(end) = self.watched.note_received(bytes) else { return Ok(bytes.len()) };
        self.reset();
        // without its last byte the message never comes; those before it do
        match end.saturating_sub(1) {
            0 => Err(io::ErrorKind::ConnectionReset.into()),
            count => Ok(count),
        }
    }
}

impl PacedStream for TappedStream {
    fn inner(&self) -> &dyn ByteStream {
        &*self.inner
    }

    fn pacer(&self) -> &Pacer {
        &self.pacer
    }

    fn set_pace(self: Arc<Self>, pace: Pace) -> io::Result<()> {
        self.is_paced.store(true, Ordering::SeqCst);
        self.pacer.set(pace, self.clone())
    }

    /// Also tells the watched connection of what was sent.
    fn send_now(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult {
        let result = self.inner.send(first, second, mode);
        let sent = match &result {
            Ok(()) => first.len() + second.len(),
            Err((sent, _)) => *sent,
        };
        let of_first = sent.min(first.len());
        self.watched.note_sent(&first[..of_first]);
        self.watched.note_sent(&second[..(sent - of_first).min(second.len())]);
        result
    }
}

impl ByteStream for TappedStream {
    fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        self.may_read(mode)?;
        let before = buffer.len();
        let count = self.inner.receive(buffer, mode)?;
        if count == 0 {
            return Ok(0);
        }
        if mode == Mode::Blocking {
            // a stall may have begun meanwhile
            self.may_read(mode)?;
        }
        let arrived = self.note_arrival(&buffer[before..]);
        buffer.truncate(before + arrived.as_ref().copied().unwrap_or_default());
        arrived
    }

    fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        self.may_read(mode)?;
        let count = self.inner.receive_slice(target, mode)?;
        if count == 0 {
            return Ok(0);
        }
        if mode == Mode::Blocking {
            self.may_read(mode)?;
        }
        self.note_arrival(&target[..count])
    }

    fn send(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult {
        if self.is_paced.load(Ordering::Relaxed) && !(first.is_empty() && second.is_empty()) {
            match self.pacer.take([first, second], mode) {
                SendDecision::No => {}
                SendDecision::Queued => return Ok(()),
                SendDecision::TooMuch => {
                    self.watched.note("reset: more than 16 MiB waited for the slow connection");
                    self.reset();
                    return Err((0, io::ErrorKind::ConnectionReset.into()));
                }
            }
        }
        self.send_now(first, second, mode)
    }

    fn push(&self) {
        self.inner.push();
    }

    fn has_unsent(&self) -> bool {
        self.inner.has_unsent()
    }

    fn buffers_input(&self) -> bool {
        self.inner.buffers_input()
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.inner.peer()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }

    fn has_unread(&self) -> bool {
        self.inner.has_unread()
    }

    fn is_peer_gone(&self) -> bool {
        self.inner.is_peer_gone()
    }

    fn traffic(&self) -> (u64, u64) {
        self.inner.traffic()
    }

    fn taken(&self) -> u64 {
        self.inner().taken()
    }

    fn end_sending(&self) {
        if !(self.is_paced.load(Ordering::SeqCst) && self.pacer.take_end()) {
            self.inner.end_sending();
        }
    }

    fn shutdown(&self, direction: Direction) {
        if direction == Direction::Receiving {
            self.pacer.release();
        } else {
            self.pacer.give_up();
        }
        self.inner.shutdown(direction);
    }

    fn reset(&self) {
        self.pacer.give_up();
        self.inner.reset();
        self.watched.was_reset();
    }

    fn readiness(&self) -> ReadinessSource<'_> {
        self.inner.readiness()
    }

    fn withholds(&self, timeout: Duration) -> bool {
        self.is_paced.load(Ordering::Relaxed)
            && self.pacer.withholds(Duration::ZERO)
            && !self.has_ended()
            && self.pacer.withholds(timeout)
    }
}
