//! Frames from an inspector, between those of the handler.

use std::sync::Arc;

use super::Transport;
use crate::{
    connection::{outbox::Outbox, wait::Wait},
    protocol::closing::Closing,
};

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
        let Some(mut send_half) = self.try_server_send_half() else { return Insertion::Busy };
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
        let Some(mut send_half) = self.try_server_send_half() else { return false };
        self.closing.update(Closing::sending_ends);
        let ended = send_half.end(Wait::Never);
        drop(send_half);
        self.after_sending();
        ended.is_ok()
    }

    /// Bytes that wait to be sent.
    pub fn waiting_bytes(&self) -> usize {
        let queued = self.outbox().map_or(0, Outbox::waiting);
        let Some(send_half) = self.try_server_send_half() else { return queued };
        let held = send_half.held_bytes();
        drop(send_half);
        self.after_sending();
        queued.max(held)
    }
}

#[cfg(test)]
mod tests {
    use crate::connection::{
        simulated::{Read, Simulated},
        ByteStream, Flusher, Transport, Wait,
    };
    use std::{io, sync::Arc, thread};

    #[test]
    fn an_end_from_outside_that_finds_the_handler_sending_changes_nothing() {
        let stream = Arc::new(Simulated::new([Read::Nothing], []));
        let below: Arc<dyn ByteStream> = stream.clone();
        let transport = Transport::new(below, Vec::new(), Arc::new(Flusher::default()), None);
        let sending = transport.sending(Wait::Long, |_| {
            let from_outside = || transport.try_end_sending();
            thread::scope(|scope| scope.spawn(from_outside).join())
                .map_err(|_| io::Error::other(""))
        });
        assert!(!sending.expect("no panic"), "busy");
        assert!(!transport.closing().is_sending_ended() && !stream.is_sending_ended());
        assert!(transport.try_end_sending());
        assert!(transport.closing().is_sending_ended() && stream.is_sending_ended());
    }
}
