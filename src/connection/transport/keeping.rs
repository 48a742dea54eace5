//! What the keeper sees of a connection and does to it, and what the handler's side tells it.

use std::{
    net::SocketAddr,
    sync::{atomic::Ordering, Arc},
};

use super::Transport;
use crate::{
    connection::{is_own_pong, socket::Socket, wait::Wait, Expiry},
    locks::lock,
    protocol::{
        frame::Opcode,
        receive::{Ahead, Front},
        send::control_frame,
    },
};

/// Control frames of one connection that are taken at one look: the others are not to wait for a peer
/// that sends them without end.
const FRAMES_AT_A_LOOK: usize = 256;

impl Transport {
    /// Says whether the handler waits for the peer without the receiving half; said by whoever
    /// holds that.
    pub fn set_awaits_input(&self, awaits: bool) {
        self.awaits_input.store(awaits, Ordering::SeqCst);
    }

    /// Says that the handler reads or writes bytes past the frames.
    pub fn note_raw(&self) {
        self.is_raw.store(true, Ordering::SeqCst);
    }

    /// Says whether what is received next may be the rest of a frame; said by whoever holds the
    /// receiving half.
    pub fn set_mid_frame(&self, mid_frame: bool) {
        self.mid_frame.store(mid_frame, Ordering::Relaxed);
    }

    /// Says whether the handler has a hook for pings.
    pub fn set_hooks_pings(&self, hooks: bool) {
        self.hooks_pings.store(hooks, Ordering::SeqCst);
    }

    /// Bytes received and sent so far.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        self.look(Socket::traffic).unwrap_or_else(|| self.counters.wire())
    }

    /// The address of whose connection it is; `None` on a Unix socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether the peer has ended the connection, or reset it, and nothing it sent is unread.
    pub fn is_peer_gone(&self) -> bool {
        self.look(Socket::is_peer_gone).unwrap_or(true)
    }

    /// Whether the peer has sent what nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        self.look(Socket::has_unread).unwrap_or(false)
    }

    /// Says why the server ends the connection; `false` if that has been said: the first reason is
    /// the reason.
    pub(crate) fn expire(&self, expiry: Expiry) -> bool {
        self.expiry.set(expiry).is_ok()
    }

    /// Why the server has ended the connection, if it has.
    pub fn expiry(&self) -> Option<Expiry> {
        self.expiry.get().copied()
    }

    /// Whether nothing more can come for the handler: the peer has gone, as `has_ended` says, or has
    /// answered the server's close frame, and no message is unread. `false` also while somebody
    /// reads.
    pub fn is_peer_done(&self, has_ended: bool) -> bool {
        let Some(mut inbound) = self.try_inbound() else { return false };
        if inbound.bytes().is_empty() {
            // an error is the end of what can be read
            let _ = inbound.fill(Wait::Never);
        }
        match Ahead::of(inbound.bytes()) {
            Ahead::Message => false,
            Ahead::Close => has_ended || self.closing().is_going_away(),
            Ahead::Nothing => has_ended,
        }
    }

    fn look<T>(&self, at: impl FnOnce(&Socket) -> T) -> Option<T> {
        lock(&self.socket).as_deref().map(at)
    }

    /// Sends a frame of the server's own between those of the handler, without waiting; `false` if
    /// it cannot stand there now.
    pub(crate) fn send_between(self: &Arc<Self>, frame: &[u8]) -> bool {
        if self.is_raw.load(Ordering::SeqCst) || self.closing().is_sending_ended() {
            return false;
        }
        let Some(mut outbound) = self.try_outbound() else { return false };
        outbound.flush_and_keep_error(Wait::Never);
        if outbound.has_held() {
            // the peer takes nothing
            return false;
        }
        outbound.send_last(frame);
        let has_held = outbound.has_held();
        drop(outbound);
        if has_held {
            self.watch();
        }
        self.send_server_close();
        true
    }

    /// Answers pings that stand before everything else that is unread, while the handler does
    /// something else than receive. What a reader has to judge is left to it, as are pings that
    /// the handler wants to see or that it may be in the middle of.
    pub(crate) fn answer_pings(self: &Arc<Self>) {
        let is_handlers = self.hooks_pings.load(Ordering::SeqCst)
            || self.is_raw.load(Ordering::SeqCst)
            || self.closing().is_close_received();
        if is_handlers {
            return;
        }
        let Some(mut inbound) = self.try_inbound() else { return };
        if self.awaits_input.load(Ordering::SeqCst) || self.mid_frame.load(Ordering::Relaxed) {
            return;
        }
        for _ in 0..FRAMES_AT_A_LOOK {
            match Front::of(inbound.bytes()) {
                Front::Control { opcode, body, length } if opcode == Opcode::PING => {
                    let Ok(pong) = control_frame(Opcode::PONG, &body) else { return };
                    if !self.send_between(&pong) {
                        return;
                    }
                    inbound.consume(length);
                }
                Front::Control { body, length, .. } if is_own_pong(&body) => {
                    inbound.consume(length);
                }
                // an error is for the handler to meet
                Front::Unfinished if self.has_unread() => {
                    if !matches!(inbound.fill(Wait::Never), Ok(1..)) {
                        return;
                    }
                }
                _ => return,
            }
        }
    }
}
