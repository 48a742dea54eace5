//! What the keepalive thread reads of a connection and does with it, and what the handler's side
//! reports to that thread.

use std::{
    net::SocketAddr,
    sync::{atomic::Ordering, Arc},
};

use super::Transport;
use crate::{
    connection::{
        awaited_input::AwaitedInput, byte_stream::ByteStream, is_own_pong, wait::Wait, Expiry,
    },
    locks::lock,
    protocol::{
        frame::Opcode,
        receive::{FirstFrame, NextReceived},
        send::control_frame,
    },
};

/// The most control frames to handle at one look at a connection. Other connections must not wait
/// for a peer that sends control frames without end.
const MAX_FRAMES_PER_CHECK: usize = 256;

impl Transport {
    /// Whether the handler waits for the peer after it has released the receiving half.
    pub fn awaited_input(&self) -> &AwaitedInput {
        &self.awaited_input
    }

    /// Notes that the handler reads or writes raw bytes.
    pub fn note_raw(&self) {
        self.is_raw.store(true, Ordering::SeqCst);
    }

    /// Sets whether the handler has a hook for pings.
    pub fn set_hooks_pings(&self, hooks: bool) {
        self.hooks_pings.store(hooks, Ordering::SeqCst);
    }

    /// Bytes received and sent so far.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        self.with_stream(|stream| stream.traffic()).unwrap_or_else(|| self.counters.wire())
    }

    /// How many of the bytes that were sent the peer's system has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.with_stream(|stream| stream.taken()).unwrap_or(0)
    }

    /// The client's address; `None` on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether the peer has ended or reset the connection, and everything that it sent has been
    /// read.
    pub fn is_peer_gone(&self) -> bool {
        self.with_stream(|stream| stream.is_peer_gone()).unwrap_or(true)
    }

    /// Whether the peer has sent something that is unread.
    pub(crate) fn has_unread(&self) -> bool {
        self.with_stream(|stream| stream.has_unread()).unwrap_or(false)
    }

    /// Sets why the server ends the connection. Returns `false` if there is a reason already: the
    /// first one counts.
    pub(crate) fn expire(&self, expiry: Expiry) -> bool {
        self.expiry.set(expiry).is_ok()
    }

    /// Why the server has ended the connection, if it has.
    pub fn expiry(&self) -> Option<Expiry> {
        self.expiry.get().copied()
    }

    /// Whether nothing more can come for the handler: no message is unread, and the peer has gone
    /// (`has_ended`) or has answered the server's close frame. Also `false` while another caller
    /// reads.
    pub fn is_peer_done(&self, has_ended: bool) -> bool {
        let Some(mut half) = self.try_receive_half() else { return false };
        let read_buffer = half.read_buffer();
        // A peer that has ended can have no more on the way than the kernel holds: see whether the
        // rest of a message is there. At the end, and after an error, there is nothing to read, which
        // needs no handling.
        let mut at = 0;
        let ahead = loop {
            let ahead = NextReceived::of(read_buffer.bytes(), &mut at);
            let may_be_more =
                ahead == NextReceived::Nothing && (has_ended || read_buffer.bytes().is_empty());
            if !may_be_more || !read_buffer.fill(Wait::Never).is_ok_and(|count| count > 0) {
                break ahead;
            }
        };
        match ahead {
            NextReceived::Message => false,
            NextReceived::Close => has_ended || self.closing().is_going_away(),
            NextReceived::Nothing => has_ended,
        }
    }

    fn with_stream<T>(&self, at: impl FnOnce(&dyn ByteStream) -> T) -> Option<T> {
        lock(&self.socket).as_deref().map(at)
    }

    /// Sends a frame of the server's own between frames of the handler, without waiting. Returns
    /// `false` if that is not possible now.
    pub(crate) fn send_between(self: &Arc<Self>, frame: &[u8]) -> bool {
        if self.is_raw.load(Ordering::SeqCst) || self.closing().is_sending_ended() {
            return false;
        }
        let Some(mut send_half) = self.try_server_send_half() else { return false };
        send_half.flush_and_keep_error(Wait::Never);
        if send_half.has_held() {
            // do not queue more frames for a peer that is not reading
            drop(send_half);
            self.after_sending();
            return false;
        }
        send_half.send_last(frame);
        let has_held = send_half.has_held();
        drop(send_half);
        if has_held {
            self.watch();
        }
        self.after_sending();
        true
    }

    /// Answers pings at the front of the unread bytes, while the handler does something else than
    /// receive. Everything else is left to the reader, as are pings that the handler wants to see
    /// or may have read in part.
    pub(crate) fn answer_pings(self: &Arc<Self>) {
        let is_handlers = self.hooks_pings.load(Ordering::SeqCst)
            || self.is_raw.load(Ordering::SeqCst)
            || self.closing().is_close_received();
        if is_handlers {
            return;
        }
        let half = self.awaited_input.for_reading_ahead(self.try_receive_half());
        let Some(mut half) = half else { return };
        if !half.reader().is_at_boundary() {
            return;
        }
        let read_buffer = half.read_buffer();
        for _ in 0..MAX_FRAMES_PER_CHECK {
            match FirstFrame::of(read_buffer.bytes()) {
                FirstFrame::Control { opcode, body, length } if opcode == Opcode::PING => {
                    let Ok(pong) = control_frame(Opcode::PONG, &body) else { return };
                    if !self.send_between(&pong) {
                        return;
                    }
                    read_buffer.consume(length);
                }
                FirstFrame::Control { body, length, .. } if is_own_pong(&body) => {
                    read_buffer.consume(length);
                }
                // an error is left for the handler's next read
                FirstFrame::Unfinished if self.has_unread() => {
                    if !matches!(read_buffer.fill(Wait::Never), Ok(1..)) {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}
