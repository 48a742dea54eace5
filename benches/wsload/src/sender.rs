//! What is still to be written on a connection.

use crate::message::Messages;

/// The sending side. Frames are not stored: all are alike but for the tag, so the number of the next
/// one and how much of it is written is enough.
#[derive(Default)]
pub struct Sender {
    pub next: u64,
    /// Messages that are due and not written in full.
    pub waiting: u64,
    pub written: usize,
    /// Control frames, written between messages.
    pub control: Vec<u8>,
}

impl Sender {
    /// Notes that `n` more bytes are written.
    pub fn wrote(&mut self, n: usize, messages: &Messages) {
        self.written += n;
        while self.waiting > 0 && self.written >= messages.frame_len(self.next) {
            self.written -= messages.frame_len(self.next);
            self.next += 1;
            self.waiting -= 1;
        }
    }
}
