//! The head of a connection's request, packed while nobody reads it.

use crate::protocol::head::{HeadLimits, HeadReader, RequestHead};

/// The request. Few handlers look at it after the handshake.
pub(super) enum Head {
    Parsed(Box<RequestHead>),
    /// The bytes as received, which need a fifth of the memory.
    Packed(Box<[u8]>),
}

impl Head {
    /// A head of HTTP/2 cannot be parsed from bytes again.
    pub(super) fn pack(&mut self) {
        let Self::Parsed(head) = self else { return };
        if !head.is_on_stream() {
            *self = Self::Packed(std::mem::take(&mut head.bytes));
        }
    }

    /// Looks at the head; `None` if it cannot be parsed any more.
    pub(super) fn with<T>(&self, look: impl FnOnce(&RequestHead) -> T) -> Option<T> {
        match self {
            Self::Parsed(head) => Some(look(head)),
            Self::Packed(bytes) => {
                let parsed = HeadReader::new(HeadLimits::NONE).finish(bytes);
                parsed.ok().map(|(head, _)| look(&head))
            }
        }
    }
}
