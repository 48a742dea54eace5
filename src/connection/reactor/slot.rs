//! What a reactor knows of one socket.

use super::{CallerId, PeerEnd};

/// The state of one socket.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// Distinguishes this socket from earlier ones in the same slot, for which an event may still
    /// arrive.
    pub(super) generation: u32,
    pub(super) readable: bool,
    pub(super) writable: bool,
    pub(super) peer_end: PeerEnd,
    pub(super) reader: Option<CallerId>,
    pub(super) writer: Option<CallerId>,
    /// The caller to wake when the peer has gone, and again if the connection breaks afterwards.
    pub(super) watcher: Option<CallerId>,
}

impl Slot {
    /// Notes an end. Returns the caller to wake if this is news.
    pub(super) fn note_end(&mut self, end: PeerEnd) -> Option<CallerId> {
        if end <= self.peer_end {
            return None;
        }
        self.peer_end = end;
        self.watcher
    }

    /// Whether the peer has closed its direction, or the connection is broken.
    pub(super) fn has_ended(&self) -> bool {
        self.peer_end >= PeerEnd::Ended
    }
}
