//! What went over a connection, for those who account for it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::Transport;
use crate::protocol::close::CloseCode;

/// Numbers that grow while a connection is used.
#[derive(Debug, Default)]
pub(super) struct Tally {
    messages_received: AtomicU64,
    messages_sent: AtomicU64,
    /// The code of our close frame; 0 before that.
    close_sent: AtomicU32,
}

/// What has gone over a connection so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Whole messages that a handler got.
    pub messages_received: u64,
    /// Messages whose last frame was sent.
    pub messages_sent: u64,
    /// Behind the request's head, TLS's own left out.
    pub bytes_received: u64,
    /// With the answer to the opening handshake, TLS's own left out.
    pub bytes_sent: u64,
    /// The code of our close frame, 1005 if it had none; `None` if none was sent.
    pub close_sent: Option<u16>,
}

impl Transport {
    /// A handler has got a message.
    pub fn note_message_received(&self) {
        self.tally.messages_received.fetch_add(1, Ordering::Relaxed);
    }

    /// The last frame of a message has been sent, or is held back.
    pub fn note_message_sent(&self) {
        self.tally.messages_sent.fetch_add(1, Ordering::Relaxed);
    }

    /// A close frame is about to be sent.
    pub fn note_close_sent(&self, code: CloseCode) {
        self.tally.close_sent.store(code.0.into(), Ordering::Relaxed);
    }

    /// What has gone over the connection so far; bytes until [`Self::finish`] only.
    pub fn account(&self) -> Account {
        let (bytes_received, bytes_sent) = self.traffic();
        let close_sent = match self.tally.close_sent.load(Ordering::Relaxed) {
            0 if self.is_going_away() => Some(CloseCode::GOING_AWAY.0),
            0 => None,
            code => u16::try_from(code).ok(),
        };
        Account {
            messages_received: self.tally.messages_received.load(Ordering::Relaxed),
            messages_sent: self.tally.messages_sent.load(Ordering::Relaxed),
            bytes_received,
            bytes_sent,
            close_sent,
        }
    }
}
