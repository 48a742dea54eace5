//! Counts what was sent and received on a connection, for metrics and the access log.

use std::sync::atomic::{AtomicU16, AtomicU64, AtomicU8, Ordering};

use crate::protocol::{
    closing::{Closing, Side},
    frame::Opcode,
    handshake::opens,
};

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Whole messages.
    pub messages: u64,
    /// Bytes of their payloads, uncompressed.
    pub bytes: u64,
}

/// The traffic in one direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Text messages.
    pub text: Volume,
    /// Binary messages.
    pub binary: Volume,
    /// Bytes on the wire: frames and the answer to the opening handshake, without the request's
    /// head and without the overhead of TLS.
    pub wire: u64,
}

impl Traffic {
    /// Messages of both types.
    pub fn messages(&self) -> u64 {
        self.text.messages + self.binary.messages
    }
}

/// What a handler was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The extra handshake.
    Handshake,
    /// Everything after that.
    Transfer,
}

/// The account of a connection so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Account {
    /// What was received.
    pub received: Traffic,
    /// What was sent, or is held back.
    pub sent: Traffic,
    /// The status of the answer to the opening handshake.
    pub answer: Option<u16>,
    /// The code of our close frame, 1005 if it had none; `None` if none was sent.
    pub close_sent: Option<u16>,
    /// The code of the first close frame and the side that sent it; 1006 and the side that ended
    /// the connection if there was none. The latter is known once the connection has ended.
    pub closed: Option<(u16, Side)>,
    /// Where the handler failed.
    pub failure: Option<Phase>,
}

/// Numbers that grow while a connection is used.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received: Meters,
    sent: Meters,
    /// Bytes that the socket had counted when it was closed.
    wire: [AtomicU64; 2],
    answer: AtomicU16,
    failure: AtomicU8,
}

#[derive(Debug, Default)]
struct Meters {
    text: Meter,
    binary: Meter,
}

#[derive(Debug, Default)]
struct Meter {
    messages: AtomicU64,
    bytes: AtomicU64,
}

impl Meters {
    fn note(&self, opcode: Opcode, bytes: usize, is_whole: bool) {
        let meter = if opcode == Opcode::TEXT { &self.text } else { &self.binary };
        meter.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        if is_whole {
            meter.messages.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn read(&self, wire: u64) -> Traffic {
        Traffic { text: self.text.read(), binary: self.binary.read(), wire }
    }
}

impl Meter {
    fn read(&self) -> Volume {
        Volume {
            messages: self.messages.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}

/// Values of the atomic numbers; 0 stands for "none".
const IN_HANDSHAKE: u8 = 1;
const IN_TRANSFER: u8 = 2;

impl Counters {
    pub(super) fn keep_wire(&self, (received, sent): (u64, u64)) {
        self.wire[0].store(received, Ordering::Relaxed);
        self.wire[1].store(sent, Ordering::Relaxed);
    }

    pub(super) fn wire(&self) -> (u64, u64) {
        (self.wire[0].load(Ordering::Relaxed), self.wire[1].load(Ordering::Relaxed))
    }

    pub(super) fn note_answer(&self, status: u16) {
        self.answer.store(status, Ordering::Relaxed);
    }

    pub(super) fn note_received(&self, opcode: Opcode, bytes: usize) {
        self.received.note(opcode, bytes, true);
    }

    pub(super) fn note_sent(&self, opcode: Opcode, bytes: usize, is_last: bool) {
        self.sent.note(opcode, bytes, is_last);
    }

    pub(super) fn note_failure(&self) {
        let was_open = opens(self.answer.load(Ordering::Relaxed));
        let phase = if was_open { IN_TRANSFER } else { IN_HANDSHAKE };
        self.failure.store(phase, Ordering::Relaxed);
    }

    pub(super) fn account(&self, (received, sent): (u64, u64), closing: Closing) -> Account {
        Account {
            received: self.received.read(received),
            sent: self.sent.read(sent),
            answer: match self.answer.load(Ordering::Relaxed) {
                0 => None,
                status => Some(status),
            },
            close_sent: closing.code_sent().map(|code| code.0),
            closed: closing.first_close().map(|(code, side)| (code.0, side)),
            failure: match self.failure.load(Ordering::Relaxed) {
                IN_HANDSHAKE => Some(Phase::Handshake),
                IN_TRANSFER => Some(Phase::Transfer),
                _ => None,
            },
        }
    }
}
