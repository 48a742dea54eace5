//! A stream for tests: the peer's bytes come by a script, and what is sent is kept.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

use super::byte_stream::{
    ByteStream, Change, Direction, Mode, PeerEnd, Readiness, ReadinessListener, ReadinessNotifier,
    ReadinessSource, SendResult,
};
use crate::locks::lock;

/// What a read finds.
#[derive(Debug, Clone)]
pub(crate) enum Read {
    Bytes(Vec<u8>),
    Nothing,
    Fails(io::ErrorKind),
}

/// What a write finds: how many bytes it takes, or an error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Write {
    Takes(usize),
    Fails(io::ErrorKind),
}

#[derive(Default)]
struct State {
    reads: VecDeque<Read>,
    writes: VecDeque<Write>,
    sent: Vec<u8>,
    /// How many bytes of them are kept for the end of the direction.
    kept: usize,
    received: u64,
    is_sending_ended: bool,
    is_reset: bool,
    listeners: Vec<Arc<dyn ReadinessListener>>,
}

/// The end of the script of reads is the end of the stream; behind the script of writes, every write is taken whole.
#[derive(Default)]
pub(crate) struct Simulated(Mutex<State>, Condvar);

impl std::fmt::Debug for Simulated {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Simulated").finish_non_exhaustive()
    }
}

impl Simulated {
    pub(crate) fn new(
        reads: impl IntoIterator<Item = Read>,
        writes: impl IntoIterator<Item = Write>,
    ) -> Self {
        let state = State {
            reads: reads.into_iter().collect(),
            writes: writes.into_iter().collect(),
            ..State::default()
        };
        Self(Mutex::new(state), Condvar::new())
    }

    /// The peer sends something, which wakes waiting callers.
    pub(crate) fn arrive(&self, read: Read) {
        let mut state = lock(&self.0);
        state.reads.push_back(read);
        self.1.notify_all();
        for listener in &state.listeners {
            listener.changed(Change { readable: true, ..Change::default() });
        }
    }

    /// The peer goes away.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.0);
        state.reads.clear();
        self.1.notify_all();
        for listener in &state.listeners {
            listener.changed(Change { readable: true, writable: true, end: PeerEnd::Ended });
        }
    }

    /// Every write is taken whole from now on.
    pub(crate) fn forget_writes(&self) {
        lock(&self.0).writes.clear();
    }

    /// The peer has read, which wakes callers that wait to send.
    pub(crate) fn peer_reads(&self) {
        for listener in &lock(&self.0).listeners {
            listener.changed(Change { writable: true, ..Change::default() });
        }
    }

    pub(crate) fn sent(&self) -> Vec<u8> {
        lock(&self.0).sent.clone()
    }

    /// How many of the sent bytes wait for the end of the direction.
    pub(crate) fn kept(&self) -> usize {
        lock(&self.0).kept
    }

    pub(crate) fn is_sending_ended(&self) -> bool {
        lock(&self.0).is_sending_ended
    }

    pub(crate) fn is_reset(&self) -> bool {
        lock(&self.0).is_reset
    }

    fn read(&self, most: usize) -> io::Result<Vec<u8>> {
        let mut state = lock(&self.0);
        let mut bytes = match state.reads.pop_front() {
            None => return Ok(Vec::new()),
            Some(Read::Nothing) => return Err(io::ErrorKind::WouldBlock.into()),
            Some(Read::Fails(kind)) => return Err(kind.into()),
            Some(Read::Bytes(bytes)) => bytes,
        };
        let rest = bytes.split_off(bytes.len().min(most));
        if !rest.is_empty() {
            state.reads.push_front(Read::Bytes(rest));
        }
        state.received += bytes.len() as u64;
        Ok(bytes)
    }
}

impl ByteStream for Simulated {
    fn receive(&self, buffer: &mut Vec<u8>, _mode: Mode) -> io::Result<usize> {
        let bytes = self.read(buffer.capacity() - buffer.len())?;
        buffer.extend_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn receive_slice(&self, target: &mut [u8], _mode: Mode) -> io::Result<usize> {
        let bytes = self.read(target.len())?;
        target[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn send(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult {
        let mut state = lock(&self.0);
        let bytes = [first, second].concat();
        let taken = match state.writes.pop_front() {
            None => bytes.len(),
            Some(Write::Takes(count)) => count.min(bytes.len()),
            Some(Write::Fails(kind)) => return Err((0, kind.into())),
        };
        state.sent.extend_from_slice(&bytes[..taken]);
        state.kept = if mode == Mode::BeforeEnd { state.kept + taken } else { 0 };
        if taken < bytes.len() {
            return Err((taken, io::ErrorKind::WouldBlock.into()));
        }
        Ok(())
    }

    fn push(&self) {
        lock(&self.0).kept = 0;
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn buffers_input(&self) -> bool {
        false
    }

    fn peer(&self) -> Option<SocketAddr> {
        None
    }

    fn is_tls(&self) -> bool {
        false
    }

    fn has_unread(&self) -> bool {
        matches!(lock(&self.0).reads.front(), Some(Read::Bytes(_)))
    }

    fn is_peer_gone(&self) -> bool {
        matches!(lock(&self.0).reads.front(), None | Some(Read::Fails(_)))
    }

    fn traffic(&self) -> (u64, u64) {
        let state = lock(&self.0);
        (state.received, state.sent.len() as u64)
    }

    fn end_sending(&self) {
        let mut state = lock(&self.0);
        state.is_sending_ended = true;
        state.kept = 0;
    }

    fn shutdown(&self, _direction: Direction) {}

    fn reset(&self) {
        lock(&self.0).is_reset = true;
    }

    fn readiness(&self) -> ReadinessSource<'_> {
        ReadinessSource::Stream(self)
    }
}

impl ReadinessNotifier for Simulated {
    fn register(&self, listener: Arc<dyn ReadinessListener>) {
        lock(&self.0).listeners.push(listener);
    }

    fn wait(&self, readiness: Readiness, timeout: Duration) -> bool {
        let is_unready = |state: &mut State| {
            readiness == Readiness::Readable && matches!(state.reads.front(), Some(Read::Nothing))
        };
        let waited = self.1.wait_timeout_while(lock(&self.0), timeout, is_unready);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn has_ended(&self) -> bool {
        self.is_peer_gone()
    }
}
