//! What a reactor knows of one socket.

use super::CallerId;

/// Whether the peer has ended the connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PeerEnd {
    #[default]
    Open,
    /// The kernel will send no further event, so the caller must read to the end.
    Ended,
    /// The same, and not in an orderly way: nobody will read what is sent.
    Broken,
}

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
    /// The caller to wake when the peer has gone.
    pub(super) watcher: Option<CallerId>,
}

impl Slot {
    /// Whether the peer has closed its direction, or the connection is broken.
    pub(super) fn has_ended(&self) -> bool {
        self.peer_end >= PeerEnd::Ended
    }
}
