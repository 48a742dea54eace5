//! Frames from an inspector, between those of the handler.

use std::sync::Arc;

use super::Transport;
use crate::connection::{outbox::Outbox, wait::Wait};

/// What became of a frame from an inspector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Insertion {
    /// It was sent, or follows what the kernel has not taken yet.
    Done,
    /// The handler is sending, or the peer does not read.
    Busy,
    /// The handler has begun a fragmented message and not ended it (RFC 6455 5.4).
    InsideMessage,
    /// Nothing can be sent any more.
    Ended,
}

impl Transport {
    /// Sends bytes between frames of the handler, without waiting.
    ///
    /// `is_message`: they must not come between the fragments of a message. `mark` is called just
    /// before they are sent, with the sending half locked and empty.
    pub fn insert(
        self: &Arc<Self>,
        bytes: &[u8],
        is_message: bool,
        mark: impl FnOnce(),
    ) -> Insertion {
        let closing = self.closing();
        if closing.is_sending_ended() || closing.is_going_away() || closing.is_released() {
            return Insertion::Ended;
        }
        let Some(mut send_half) = self.try_send_half() else { return Insertion::Busy };
        self.take_queued(&mut send_half);
        let insertion = if !send_half.flush_for_others() {
            Insertion::Ended
        } else if is_message && send_half.is_mid_message() {
            Insertion::InsideMessage
        } else if send_half.has_held() {
            Insertion::Busy
        } else {
            mark();
            send_half.send_for_others(bytes);
            Insertion::Done
        };
        let has_held = send_half.has_held();
        drop(send_half);
        if has_held {
            self.watch();
        }
        self.after_sending();
        insertion
    }

    /// Ends our direction. Returns `false` if the handler is sending, or nothing can be ended.
    pub fn try_end_sending(&self) -> bool {
        self.end_sending(Wait::Never).is_ok()
    }

    /// Bytes that wait to be sent.
    pub fn waiting_bytes(&self) -> usize {
        let queued = self.outbox().map_or(0, Outbox::waiting);
        let Some(send_half) = self.try_send_half() else { return queued };
        let held = send_half.held_bytes();
        drop(send_half);
        self.after_sending();
        queued.max(held)
    }
}
