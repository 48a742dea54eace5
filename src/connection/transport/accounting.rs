//! Counts what is sent and received on a connection; called by the handler's side.

use super::{Account, Transport};
use crate::protocol::frame::Opcode;

impl Transport {
    /// Notes the status of the answer to the opening handshake.
    pub fn note_answer(&self, status: u16) {
        self.counters.note_answer(status);
    }

    /// Counts a message that a handler has received.
    pub fn note_message_received(&self, opcode: Opcode, bytes: usize) {
        self.counters.note_received(opcode, bytes);
    }

    /// Counts a piece of a message that is about to be sent; `is_last` says whether it completes
    /// the message.
    pub fn note_piece_sent(&self, opcode: Opcode, bytes: usize, is_last: bool) {
        self.counters.note_sent(opcode, bytes, is_last);
    }

    /// Notes that the handler has failed, and in which phase.
    pub fn note_failure(&self) {
        self.counters.note_failure();
    }

    /// Returns the account of the connection so far.
    pub fn account(&self) -> Account {
        self.counters.account(self.traffic(), self.closing())
    }
}
