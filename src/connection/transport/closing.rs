//! How the parts of the server report the steps of closing a connection, see [`Closing`].

use std::io;

use super::{Outcome, Transport};
use crate::{
    connection::send_half::{leaves_open, AfterServerClose},
    protocol::{close::CloseCode, closing::Closing, frame::Opcode},
};

impl Transport {
    /// The state of closing.
    pub fn closing(&self) -> Closing {
        self.closing.get()
    }

    /// Notes that the opening handshake has been answered, so that the peer understands a close
    /// frame.
    pub fn note_established(&self) {
        self.closing.update(Closing::established);
    }

    /// Notes that a close frame is about to be sent for the handler.
    pub fn note_close_sent(&self, code: CloseCode) {
        self.closing.update(|closing| closing.handler_closes(code));
    }

    /// The same, unless the handler has sent one. Returns whether it has not: of threads that close
    /// at the same time, one does.
    pub fn note_only_close_sent(&self, code: CloseCode) -> bool {
        let before = self.closing.update(|closing| {
            if closing.has_handler_closed() {
                closing
            } else {
                closing.handler_closes(code)
            }
        });
        !before.has_handler_closed()
    }

    /// Notes that the handler means to send although it has sent a close frame.
    pub fn note_reopened(&self) {
        self.closing.update(Closing::handler_reopens);
    }

    /// Refuses a frame of a message after the handler's close frame (RFC 6455 5.5.1). The caller has
    /// locked the sending half.
    pub(super) fn check_not_closed(&self, header: &[u8]) -> io::Result<()> {
        let is_data = header.first().is_some_and(|first| leaves_open(*first).is_some());
        if is_data && self.closing().has_handler_closed() {
            return Err(io::Error::other(AfterServerClose));
        }
        Ok(())
    }

    /// Whether a frame answers the peer's close frame, so that none follows it.
    pub(super) fn is_last_frame(&self, header: &[u8]) -> bool {
        let is_close = header.first().is_some_and(|first| first & 0xf == Opcode::CLOSE.value());
        is_close && self.closing().is_close_received()
    }

    /// Notes that the peer has sent a close frame. The caller holds the receiving half. See
    /// [`Closing::close_received`].
    pub fn note_close_received(&self, code: Option<CloseCode>) {
        self.closing.update(|closing| closing.close_received(code));
    }

    /// Notes that a call of the handler has raised an exception because the connection is lost or
    /// must be closed.
    pub fn note_end_reported(&self) {
        self.closing.update(Closing::end_reported);
    }

    /// Sets whether the handler waits for the peer's close frame.
    pub fn set_awaits_close(&self, awaits: bool) {
        self.closing.update(|closing| closing.await_close(awaits));
    }

    /// Notes that close frames were exchanged in both directions.
    pub fn note_handshake_done(&self) {
        self.closing.update(Closing::handshake_done);
    }

    /// Notes that the handler has ended; to be called before [`Self::finish`].
    pub fn note_end(&self) {
        // ask before the transition, which may run several times: this is a system call
        let is_peer_gone = self.closing().first_close().is_none() && self.is_peer_gone();
        self.closing.update(|closing| closing.handler_ended(is_peer_gone));
    }

    /// How the connection ends, for [`Self::finish`].
    pub fn outcome(&self) -> Outcome {
        if self.closing().is_clean() {
            Outcome::Clean
        } else {
            Outcome::Abrupt
        }
    }
}
