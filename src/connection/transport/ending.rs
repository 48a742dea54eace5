//! The end of a connection: the server's own close frame, closing the socket, and two ends that the
//! protocol does not have but handlers may ask for: a half-closed connection and a reset.

use std::{io, sync::Arc, thread, time::Duration};

use super::Transport;
use crate::{
    connection::{
        byte_stream::{ByteStream, Direction, ReadinessSource},
        stall::Uptake,
        wait::Wait,
    },
    locks::{lock, try_lock},
    protocol::{
        close::{self, CloseCode},
        closing::Closing,
        error::SendError,
        frame::Opcode,
        send::control_frame,
    },
};

/// A thread that is sending has finished after this time, unless the peer does not read.
const SENDING_MS: u64 = 50;

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Close frames were exchanged in both directions, so nothing more will come.
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
    /// Sends a close frame of the server's own. If a handler is sending, the close frame follows
    /// what it sends.
    pub fn go_away(&self, server_close: &ServerClose) {
        let mut unsent = lock(&self.server_close);
        let before = self.closing.update(|closing| closing.go_away(server_close.code()));
        if !before.is_going_away() && !before.is_sending_ended() {
            *unsent = Some(server_close.frame().to_vec());
        }
        drop(unsent);
        self.send_server_close();
    }

    /// Ends both directions at once. Callers that wait for the connection wake up.
    pub fn cut(&self) {
        self.closing.update(Closing::cut);
        if let Some(socket) = &*lock(&self.socket) {
            socket.shutdown(Direction::Both);
        }
    }

    /// What the peer has taken; `None` for a stream without a descriptor, whose task looks.
    pub(crate) fn uptake(&self) -> Option<Uptake> {
        let socket = lock(&self.socket);
        let socket = socket.as_ref()?;
        let ReadinessSource::Descriptor(descriptor) = socket.readiness() else { return None };
        Some(Uptake::of(descriptor, socket.traffic().1))
    }

    /// Ends our direction and drops the socket. Does not wait: a caller with frames held back sends
    /// them before, with [`Self::flush_before_wait`].
    ///
    /// Returns the socket if the peer may still be sending: closing it now could turn our last
    /// bytes into a reset (RFC 9112 9.6).
    pub fn finish(&self, outcome: Outcome) -> Option<Arc<dyn ByteStream>> {
        if let Some(outbox) = self.outbox() {
            outbox.end();
        }
        // a handler may see that the server goes away, and end, before the thread that closes the
        // server has sent the close frame
        self.send_server_close();
        let socket = self.take_socket()?;
        let is_reset = self.closing.update(Closing::release_stream).is_reset();
        // before our direction ends: who sees that finds nothing unread in the connection
        self.close_receive_half();
        // frames that the handler has queued must leave before our direction ends
        let server_sends = lock(&self.server_sends);
        if let Some(mut send_half) = try_lock(&self.send_half) {
            if !is_reset {
                self.take_queued(&mut send_half);
                send_half.flush_and_keep_error(Wait::Never);
                // dropping the socket would end it too, but not if a child process has inherited it
                socket.end_sending();
            }
            send_half.close();
        } else {
            // another thread of the handler is sending to a peer that does not read; this wakes it
            socket.shutdown(Direction::Sending);
        }
        drop(server_sends);
        if !self.close_receive_half() {
            // another thread of the handler waits for a message, which cannot come any more; this
            // wakes it
            socket.shutdown(Direction::Receiving);
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
        self.release_stream();
        self.lock_waiters.released();
        lives_on.then_some(socket)
    }

    /// Removes the socket for callers that look at it from outside, and keeps what it has counted.
    fn take_socket(&self) -> Option<Arc<dyn ByteStream>> {
        let mut socket = lock(&self.socket);
        self.counters.keep_wire(socket.as_ref()?.traffic());
        socket.take()
    }

    /// Drops the socket in the halves that are not locked. A caller that has locked one drops it
    /// when it releases the lock.
    #[cold]
    pub(super) fn release_stream(&self) {
        if let Some(mut send_half) = try_lock(&self.send_half) {
            send_half.close();
        }
        self.close_receive_half();
    }

    /// Drops the socket in the receiving half, and when the handler has ended also what is unread.
    /// Returns `false` if another caller has locked the half.
    fn close_receive_half(&self) -> bool {
        let Some(mut receive_half) = try_lock(&self.receive_half) else { return false };
        if self.closing().has_handler_ended() {
            receive_half.abandon();
        } else {
            receive_half.read_buffer().close();
        }
        true
    }

    /// Sends the server's close frame if there is one, unless another thread is sending. That
    /// thread sends it then: every thread calls this after releasing `send_half`.
    #[inline]
    pub(super) fn send_server_close(&self) {
        if self.closing().is_going_away() {
            self.try_send_server_close();
        }
    }

    #[cold]
    fn try_send_server_close(&self) {
        if let Some(mut send_half) = self.try_server_send_half() {
            let server_close = lock(&self.server_close).take();
            let is_owed = self.closing().owes_server_close();
            if let Some(frame) = server_close.filter(|_| is_owed) {
                // if the peer does not read, the keepalive thread cuts the connection after
                // `--close-timeout`
                send_half.send_server_close(&frame);
            }
        }
    }

    /// Sends what was held back and ends our direction. The peer may go on sending.
    ///
    /// # Errors
    /// As [`Self::send_frame`].
    pub fn end_sending(&self, wait: Wait<'_>) -> io::Result<()> {
        self.closing.update(Closing::sending_ends);
        let ended = self.sending(wait, |send_half| send_half.end(wait));
        self.or_queue_end(ended, wait)
    }

    /// Ends the connection by a reset: without a close frame, without an orderly end, and without
    /// sending what was held back. Callers that wait for the connection wake up and drop the
    /// socket.
    pub fn reset(&self) {
        let Some(socket) = lock(&self.socket).clone() else { return };
        self.closing.update(Closing::reset);
        // a close frame that waits for the end has been sent for the handler
        socket.push();
        socket.reset();
        if self.registration.get().is_some() {
            // the reactor watches the socket until the handler ends
            if let Some(mut send_half) = try_lock(&self.send_half) {
                send_half.abandon();
            }
            socket.shutdown(Direction::Receiving);
            return;
        }
        self.take_socket();
        self.closing.update(Closing::release_stream);
        socket.shutdown(Direction::Receiving);
        self.release_stream();
        self.lock_waiters.released();
        for _ in 0..SENDING_MS {
            if try_lock(&self.send_half).is_some() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        // this wakes the thread that is sending. The peer never sees the end: it is queued behind
        // unread data.
        socket.shutdown(Direction::Sending);
    }
}
