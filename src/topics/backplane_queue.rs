//! `BackplaneQueue`: a queue of what other servers must learn, which a thread of Python empties.

use std::{
    collections::HashMap,
    io::{self, Read, Write},
    mem,
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Mutex,
    },
};

use super::{
    backplane::{Backplane, BackplaneStatistics},
    message::Message,
};
use crate::{locks::lock, protocol::frame::Opcode};

/// The most bytes of messages that wait. The thread takes them at once unless it gets no processor.
const MAX_BYTES: usize = 8 << 20;

/// The most topics whose numbers are remembered. With one more, all begin anew, in another epoch.
const MAX_SERIES: usize = 1 << 16;

/// One thing that other servers must learn, or must be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A topic has its first subscriber here.
    Joined(String),
    /// A topic has none any more.
    Left(String),
    /// A message was published.
    Published {
        /// Its topic.
        topic: String,
        /// Whether it is text.
        is_text: bool,
        /// Its bytes.
        payload: Vec<u8>,
        /// In which series it has its number.
        epoch: u64,
        /// The number among the messages of this server, topic and epoch, from 1.
        number: u64,
    },
}

/// A queue of changes, with a descriptor that is readable while there are some.
#[derive(Debug)]
pub struct BackplaneQueue {
    state: Mutex<State>,
    readable: UnixStream,
    wake: UnixStream,
    is_connected: AtomicBool,
    is_closed: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    missed: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug)]
struct State {
    changes: Vec<Change>,
    bytes: usize,
    epoch: u64,
    numbers: HashMap<String, u64>,
}

impl BackplaneQueue {
    /// # Errors
    /// If the system has no descriptor.
    pub fn new() -> io::Result<Self> {
        let (readable, wake) = UnixStream::pair()?;
        readable.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        Ok(Self {
            state: Mutex::new(State {
                changes: Vec::new(),
                bytes: 0,
                epoch: 1,
                numbers: HashMap::new(),
            }),
            readable,
            wake,
            is_connected: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            lost: AtomicU64::new(0),
        })
    }

    /// The descriptor.
    pub fn readable(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    /// Takes all changes, in their order.
    pub fn take(&self) -> Vec<Change> {
        let mut state = lock(&self.state);
        // one byte at most is there, for it is sent when the first change comes
        let _ = (&self.readable).read(&mut [0; 8]);
        state.bytes = 0;
        mem::take(&mut state.changes)
    }

    /// Takes nothing any more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.take();
    }

    /// Notes whether there is a connection, how many messages of others were missed, and how many of
    /// ours were not sent.
    pub fn note(&self, is_connected: bool, missed: u64, lost: u64) {
        self.is_connected.store(is_connected, Ordering::Relaxed);
        self.missed.fetch_add(missed, Ordering::Relaxed);
        self.lost.fetch_add(lost, Ordering::Relaxed);
    }

    /// Counts a message from elsewhere.
    pub fn note_received(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
    }

    fn push(&self, state: &mut State, change: Change) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        if state.changes.is_empty() {
            // the socket pair has room: the byte before was taken with the changes
            let _ = (&self.wake).write(&[1]);
        }
        state.changes.push(change);
    }
}

impl Backplane for BackplaneQueue {
    fn first_joined(&self, topic: &str) {
        self.push(&mut lock(&self.state), Change::Joined(topic.to_owned()));
    }

    fn last_left(&self, topic: &str) {
        self.push(&mut lock(&self.state), Change::Left(topic.to_owned()));
    }

    fn published(&self, topic: &str, message: &Message<'_>) {
        let mut state = lock(&self.state);
        if state.numbers.len() >= MAX_SERIES && !state.numbers.contains_key(topic) {
            state.numbers.clear();
            state.epoch += 1;
        }
        // a dropped message keeps its number, so that the others notice the gap
        let number = if let Some(last) = state.numbers.get_mut(topic) {
            *last += 1;
            *last
        } else {
            state.numbers.insert(topic.to_owned(), 1);
            1
        };
        let size = message.payload.len();
        if state.bytes.saturating_add(size) > MAX_BYTES {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.bytes += size;
        self.sent.fetch_add(1, Ordering::Relaxed);
        let change = Change::Published {
            topic: topic.to_owned(),
            is_text: message.opcode == Opcode::TEXT,
            payload: message.payload.to_vec(),
            epoch: state.epoch,
            number,
        };
        self.push(&mut state, change);
    }

    fn statistics(&self) -> BackplaneStatistics {
        BackplaneStatistics {
            is_connected: self.is_connected.load(Ordering::Relaxed),
            sent: self.sent.load(Ordering::Relaxed),
            received: self.received.load(Ordering::Relaxed),
            missed: self.missed.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(payload: &[u8]) -> Message<'_> {
        Message { opcode: Opcode::TEXT, payload }
    }

    fn numbers(changes: &[Change]) -> Vec<(u64, u64)> {
        let number = |change: &Change| match change {
            Change::Published { epoch, number, .. } => Some((*epoch, *number)),
            _ => None,
        };
        changes.iter().filter_map(number).collect()
    }

    #[test]
    fn changes_keep_their_order_and_wake_once() {
        let outgoing = BackplaneQueue::new().unwrap();
        outgoing.first_joined("a");
        outgoing.published("a", &text(b"x"));
        outgoing.published("b", &text(b"y"));
        outgoing.published("a", &text(b"z"));
        outgoing.last_left("a");
        let mut bytes = [0; 8];
        assert_eq!((&outgoing.readable).peek_one(&mut bytes), 1);
        let changes = outgoing.take();
        assert_eq!(changes.first(), Some(&Change::Joined("a".to_owned())));
        assert_eq!(changes.last(), Some(&Change::Left("a".to_owned())));
        assert_eq!(numbers(&changes), [(1, 1), (1, 1), (1, 2)]);
        assert_eq!((&outgoing.readable).peek_one(&mut bytes), 0);
        assert!(outgoing.take().is_empty());
    }

    #[test]
    fn what_does_not_fit_has_its_number() {
        let outgoing = BackplaneQueue::new().unwrap();
        let large = vec![0; MAX_BYTES - 1];
        for payload in [&large[..], b"no", b"1"] {
            outgoing.published("a", &text(payload));
        }
        assert_eq!(numbers(&outgoing.take()), [(1, 1), (1, 3)]);
        outgoing.published("a", &text(&large));
        assert_eq!(numbers(&outgoing.take()), [(1, 4)]);
        assert_eq!(outgoing.statistics().lost, 1);
    }

    #[test]
    fn too_many_topics_begin_anew() {
        let outgoing = BackplaneQueue::new().unwrap();
        for topic in 0..=MAX_SERIES {
            outgoing.published(&topic.to_string(), &text(b""));
        }
        outgoing.published("0", &text(b""));
        let numbers = numbers(&outgoing.take());
        assert_eq!(numbers[MAX_SERIES - 1..], [(1, 1), (2, 1), (2, 1)]);
    }

    #[test]
    fn nothing_is_kept_after_the_end() {
        let outgoing = BackplaneQueue::new().unwrap();
        outgoing.first_joined("a");
        outgoing.close();
        outgoing.published("a", &text(b"x"));
        assert!(outgoing.take().is_empty());
    }

    trait PeekOne {
        fn peek_one(self, bytes: &mut [u8]) -> usize;
    }

    impl PeekOne for &UnixStream {
        fn peek_one(self, bytes: &mut [u8]) -> usize {
            rustix::net::recv(self.as_fd(), bytes, rustix::net::RecvFlags::PEEK)
                .map_or(0, |(_, count)| count)
        }
    }
}
