//! The end of a connection: the server's own close frame, letting go of the socket, and what a
//! handler may ask for that the protocol does not know, half a connection and a reset.

use std::{io, sync::Arc, thread, time::Duration};

use rustix::net::Shutdown;

use super::Transport;
use crate::{
    connection::{socket::Socket, wait::Wait},
    locks::{lock, try_lock},
    protocol::{
        close::{self, CloseCode},
        closing::Closing,
        error::SendError,
        frame::Opcode,
        send::control_frame,
    },
};

/// Whoever is sending is done with it by then, unless the peer takes nothing.
const SENDING_MS: u64 = 50;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Close frames went both ways: nothing more will come.
    Clean,
    /// The peer may still be sending.
    Abrupt,
}

/// A close frame of the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerClose {
    code: CloseCode,
    frame: Vec<u8>,
}

impl ServerClose {
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
    /// Sends a close frame of the server's own. If a handler is in the middle of sending, it follows
    /// what is being sent.
    pub fn go_away(&self, server_close: &ServerClose) {
        let mut unsent = lock(&self.server_close);
        let before = self.closing.update(|closing| closing.go_away(server_close.code()));
        if !before.is_going_away() && !before.is_sending_ended() {
            *unsent = Some(server_close.frame().to_vec());
        }
        drop(unsent);
        self.send_server_close();
    }

    /// Ends both directions at once; whoever waits inside wakes up.
    pub fn cut(&self) {
        self.closing.update(Closing::cut);
        if let Some(socket) = &*lock(&self.socket) {
            socket.shutdown(Shutdown::Both);
        }
    }

    /// Ends our direction and lets go of the socket. Does not wait: who has frames held back sends
    /// them before, with [`Self::flush_before_wait`].
    ///
    /// Gives the socket back if the peer may still be sending: closing it now could turn our last
    /// bytes into a reset (RFC 9112 9.6).
    pub fn finish(&self, outcome: Outcome) -> Option<Arc<Socket>> {
        let socket = self.take_socket()?;
        let is_reset = self.closing.update(Closing::let_go).is_reset();
        if let Some(mut outbound) = try_lock(&self.outbound) {
            if !is_reset {
                self.take_queued(&mut outbound);
                outbound.flush_and_keep_error(Wait::Never);
                // closing it would say as much, but not while a child process has it as well
                socket.end_sending();
            }
            outbound.close();
        } else {
            // another thread of the handler is sending to a peer that takes nothing
            socket.shutdown(Shutdown::Write);
        }
        if let Some(mut inbound) = try_lock(&self.inbound) {
            inbound.close();
        } else {
            // another thread of the handler still waits for a message that cannot come
            socket.shutdown(Shutdown::Read);
        }
        self.counters.keep_wire(socket.traffic());
        let lives_on = outcome == Outcome::Abrupt && !is_reset;
        let watched = lives_on.then_some(&socket);
        if let Some(registration) = self.registration.get() {
            registration.end(watched);
        }
        for registration in &*lock(&self.registrations) {
            registration.end(watched);
        }
        self.let_go();
        self.lock_waiters.released();
        lives_on.then_some(socket)
    }

    /// Takes the socket away from those who look at it; what it has counted stays.
    fn take_socket(&self) -> Option<Arc<Socket>> {
        let mut socket = lock(&self.socket);
        self.counters.keep_wire(socket.as_ref()?.traffic());
        socket.take()
    }

    /// Lets go of the socket in the halves that nobody holds; whoever holds one does it later.
    pub(super) fn let_go(&self) {
        if let Some(mut outbound) = try_lock(&self.outbound) {
            outbound.close();
        }
        if let Some(mut inbound) = try_lock(&self.inbound) {
            inbound.close();
        }
    }

    /// Sends the server's close frame if there is one and nobody else is sending. Whoever is sends
    /// it: everyone calls this after letting go of `outbound`.
    pub(super) fn send_server_close(&self) {
        if !self.closing().is_going_away() {
            return;
        }
        if let Some(mut outbound) = self.try_outbound() {
            let server_close = lock(&self.server_close).take();
            let is_owed = self.closing().owes_server_close();
            if let Some(frame) = server_close.filter(|_| is_owed) {
                // a peer that takes nothing is cut when the time for closing is over
                outbound.send_server_close(&frame);
            }
        }
    }

    /// Ends our direction behind what was held back; the peer may go on sending.
    ///
    /// # Errors
    /// As [`Self::send_frame`].
    pub fn end_sending(&self, wait: Wait<'_>) -> io::Result<()> {
        self.closing.update(Closing::sending_ends);
        self.sending(wait, |outbound| outbound.end(wait))
    }

    /// Ends the connection by a reset: no close frame, no orderly end, nothing that was held back.
    /// Whoever waits inside wakes up, and lets go of the socket. In the hub, where the socket is
    /// watched, the reset leaves when the handler ends.
    pub fn reset(&self) {
        let Some(socket) = lock(&self.socket).clone() else { return };
        socket.reset_on_close();
        self.closing.update(Closing::reset);
        if self.registration.get().is_some() {
            // says nothing to the peer
            socket.shutdown(Shutdown::Read);
            return;
        }
        self.take_socket();
        self.closing.update(Closing::let_go);
        socket.shutdown(Shutdown::Read);
        self.let_go();
        self.lock_waiters.released();
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
