//! What the closing of a connection has come to, and who says so.

use super::Transport;
use crate::protocol::{close::CloseCode, closing::Closing};

impl Transport {
    /// How far the closing has come.
    pub fn closing(&self) -> Closing {
        self.closing.get()
    }

    /// Says that the opening handshake has been answered, and a close frame would be understood.
    pub fn note_established(&self) {
        self.closing.update(Closing::established);
    }

    /// Says that a close frame is about to be sent for the handler.
    pub fn note_close_sent(&self, code: CloseCode) {
        self.closing.update(|closing| closing.handler_closes(code));
    }

    /// Says that the peer has sent a close frame; said by whoever holds the receiving half. See
    /// [`Closing::close_received`].
    pub fn note_close_received(&self, code: Option<CloseCode>) {
        self.closing.update(|closing| closing.close_received(code));
    }

    /// Says that the handler has been told, by an exception, that the connection is lost or has to be
    /// closed.
    pub fn note_end_told(&self) {
        self.closing.update(Closing::end_told);
    }

    /// Says whether the handler waits for the peer's close frame.
    pub fn set_awaits_close(&self, awaits: bool) {
        self.closing.update(|closing| closing.await_close(awaits));
    }

    /// Says that close frames went both ways.
    pub fn note_handshake_done(&self) {
        self.closing.update(Closing::handshake_done);
    }

    /// Says that the handler has ended; for before [`Self::finish`].
    pub fn note_end(&self) {
        if self.closing().first_close().is_some() {
            return;
        }
        // asked first: it is a system call
        let is_peer_gone = self.is_peer_gone();
        self.closing.update(|closing| closing.handler_ended(is_peer_gone));
    }
}
