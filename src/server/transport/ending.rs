//! Ends besides the closing handshake: the server's own close frame, and those that a handler asks
//! for and the protocol does not know, half a connection and a reset.

use std::{io, sync::atomic::Ordering, thread, time::Duration};

use rustix::net::Shutdown;

use super::Transport;
use crate::{
    locks::{lock, try_lock},
    protocol::{
        close::{self, CloseCode},
        error::SendError,
        frame::Opcode,
        send::control_frame,
    },
    server::wait::Wait,
};

/// Whoever is sending is done with it by then, unless the peer takes nothing.
const SENDING_MS: u64 = 50;

/// A close frame of the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Farewell {
    code: CloseCode,
    frame: Vec<u8>,
}

impl Farewell {
    /// # Errors
    /// If the code may not be sent, or the reason is too long.
    pub fn new(code: CloseCode, reason: &str) -> Result<Self, SendError> {
        let body = close::format_body(code, reason)?;
        Ok(Self { code, frame: control_frame(Opcode::CLOSE, &body)? })
    }

    pub(super) fn code(&self) -> CloseCode {
        self.code
    }

    pub(super) fn frame(&self) -> &[u8] {
        &self.frame
    }
}

impl Transport {
    /// Ends our direction behind what was held back; the peer may go on sending.
    ///
    /// # Errors
    /// As [`Self::send_frame`].
    pub fn end_sending(&self, wait: Wait<'_>) -> io::Result<()> {
        // no close frame can follow
        self.closing();
        self.sending(wait, |outbound| outbound.end(wait))
    }

    /// Ends the connection by a reset: no close frame, no orderly end, nothing that was held back.
    /// Whoever waits inside wakes up, and lets go of the socket. In the hub, where the socket is
    /// watched, the reset leaves when the handler ends.
    pub fn reset(&self) {
        let Some(socket) = lock(&self.socket).clone() else { return };
        socket.reset_on_close();
        self.closing();
        self.is_reset.store(true, Ordering::SeqCst);
        if self.registration.get().is_some() {
            // says nothing to the peer
            socket.shutdown(Shutdown::Read);
            return;
        }
        self.take_socket();
        self.finished.store(true, Ordering::SeqCst);
        socket.shutdown(Shutdown::Read);
        self.let_go();
        self.turns.released();
        for _ in 0..SENDING_MS {
            if try_lock(&self.outbound).is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        // wakes who is sending; the peer does not get to know, behind what it does not take
        socket.shutdown(Shutdown::Write);
    }
}
