//! What went over a connection, for those who account for it.

use std::sync::atomic::{AtomicU16, AtomicU32, AtomicU64, AtomicU8, Ordering};

use super::Transport;
use crate::protocol::{close::CloseCode, frame::Opcode, handshake::SWITCHING_PROTOCOLS};

/// Messages and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Volume {
    /// Whole messages.
    pub messages: u64,
    /// Bytes of their payloads, as the handler has them.
    pub bytes: u64,
}

/// What went one way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Text messages.
    pub text: Volume,
    /// Binary messages.
    pub binary: Volume,
    /// Bytes on the wire: frames, and the answer to the opening handshake; TLS's own, and the
    /// request's head, left out.
    pub wire: u64,
}

impl Traffic {
    /// Messages of both types.
    pub fn messages(&self) -> u64 {
        self.text.messages + self.binary.messages
    }
}

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The peer.
    Client,
    /// The server, or its handler.
    Server,
}

/// What a handler was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its extra handshake.
    Handshake,
    /// Everything behind that.
    Transfer,
}

/// What has become of a connection so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// What the handler got.
    pub received: Traffic,
    /// What was sent, or is held back.
    pub sent: Traffic,
    /// The status that the opening handshake was answered with.
    pub answer: Option<u16>,
    /// The code of our close frame, 1005 if it had none; `None` if none was sent.
    pub close_sent: Option<u16>,
    /// The code of the first close frame and who sent it; [`CloseCode::ABNORMAL`] and who ended the
    /// connection if there was none, which is known once it is over.
    pub closed: Option<(u16, Side)>,
    /// Where the handler failed.
    pub failure: Option<Phase>,
}

/// Numbers that grow while a connection is used.
#[derive(Debug, Default)]
pub(super) struct Counters {
    received: Meters,
    sent: Meters,
    /// What the socket had counted when it was let go of.
    wire: [AtomicU64; 2],
    answer: AtomicU16,
    /// The code of our close frame; 0 before that.
    close_sent: AtomicU16,
    /// That of the first one of either side, behind who sent it; 0 before that.
    first_close: AtomicU32,
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

/// In the atomic numbers, where 0 stands for none.
const CLIENT: u8 = 1;
const SERVER: u8 = 2;
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

    fn note_close(&self, code: CloseCode, side: u8) {
        let close = (u32::from(side) << 16) | u32::from(code.0);
        // a later one is of no interest
        let _ = self.first_close.compare_exchange(0, close, Ordering::Relaxed, Ordering::Relaxed);
    }

    fn first_close(&self) -> Option<(u16, Side)> {
        let [_, side, high, low] = self.first_close.load(Ordering::Relaxed).to_be_bytes();
        let side = match side {
            CLIENT => Side::Client,
            SERVER => Side::Server,
            _ => return None,
        };
        Some((u16::from_be_bytes([high, low]), side))
    }
}

impl Transport {
    /// The opening handshake has been answered.
    pub fn note_answer(&self, status: u16) {
        self.counters.answer.store(status, Ordering::Relaxed);
    }

    /// A handler has got a message.
    pub fn note_message_received(&self, opcode: Opcode, bytes: usize) {
        self.counters.received.note(opcode, bytes, true);
    }

    /// A piece of a message is about to be sent; `is_last`: the message is whole then.
    pub fn note_piece_sent(&self, opcode: Opcode, bytes: usize, is_last: bool) {
        self.counters.sent.note(opcode, bytes, is_last);
    }

    /// A close frame is about to be sent.
    pub fn note_close_sent(&self, code: CloseCode) {
        self.counters.close_sent.store(code.0, Ordering::Relaxed);
        self.counters.note_close(code, SERVER);
    }

    /// The peer has sent a close frame; said by whoever holds the receiving half. One whose code is
    /// none that may be sent is a mistake that the server's own close frame names.
    pub fn note_close_received(&self, code: Option<CloseCode>) {
        self.close_received.store(true, Ordering::SeqCst);
        if let Some(code) = code {
            self.counters.note_close(code, CLIENT);
        }
    }

    /// The handler has failed, in what it was doing.
    pub fn note_failure(&self) {
        let was_open = self.counters.answer.load(Ordering::Relaxed) == SWITCHING_PROTOCOLS;
        let phase = if was_open { IN_TRANSFER } else { IN_HANDSHAKE };
        self.counters.failure.store(phase, Ordering::Relaxed);
    }

    /// The handler has ended; for before [`Self::finish`].
    pub fn note_end(&self) {
        if self.counters.first_close().is_some() {
            return;
        }
        // without a close frame of its own, the handler may have ended its direction
        let is_ours = self.close_sent.load(Ordering::SeqCst)
            || self.is_reset.load(Ordering::SeqCst)
            || self.is_cut.load(Ordering::SeqCst)
            || !self.is_peer_gone();
        self.counters.note_close(CloseCode::ABNORMAL, if is_ours { SERVER } else { CLIENT });
    }

    /// What has become of the connection so far.
    pub fn account(&self) -> Account {
        let (bytes_received, bytes_sent) = self.traffic();
        let number = |number: &AtomicU16| match number.load(Ordering::Relaxed) {
            0 => None,
            number => Some(number),
        };
        Account {
            received: self.counters.received.read(bytes_received),
            sent: self.counters.sent.read(bytes_sent),
            answer: number(&self.counters.answer),
            close_sent: number(&self.counters.close_sent),
            closed: self.counters.first_close(),
            failure: match self.counters.failure.load(Ordering::Relaxed) {
                IN_HANDSHAKE => Some(Phase::Handshake),
                IN_TRANSFER => Some(Phase::Transfer),
                _ => None,
            },
        }
    }
}
