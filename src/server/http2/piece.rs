//! Pieces of bytes for a peer, which are counted until the connection has taken them.
//!
//! A reset discards everything that waits on its stream. To reset a stream after everything was
//! sent, first wait until the connection has taken all pieces.

use std::sync::{
    atomic::{AtomicBool, AtomicUsize, Ordering},
    Arc,
};

use hyper::body::{Buf, Bytes};

/// The payload of a DATA frame.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    owner: Option<Arc<dyn Owner>>,
}

/// A stream that counts its pieces.
pub(super) trait Owner: Send + Sync {
    fn unsent(&self) -> &UnsentBytes;

    /// Is told that more can be sent, if it has asked for that. The connection may be locked.
    fn note_capacity(&self);

    /// Is told that the last piece was taken. The connection may be locked.
    fn note_all_taken(&self);
}

impl std::fmt::Debug for dyn Owner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Owner")
    }
}

/// What the connection has not taken.
#[derive(Debug, Default)]
pub(super) struct UnsentBytes {
    pieces: AtomicUsize,
    bytes: AtomicUsize,
    wants_capacity: AtomicBool,
}

impl UnsentBytes {
    /// The most bytes that wait for the connection, as in the buffer of a socket. A message of 64 KiB
    /// has room with its header.
    pub(super) const MAX: usize = 64 * 1024 + 16;

    /// How many bytes the owner may send now.
    pub(super) fn send_capacity(&self) -> usize {
        Self::MAX.saturating_sub(self.count())
    }

    /// Has the owner told when more can be sent. Returns how much can be already.
    pub(super) fn want_capacity(&self) -> usize {
        self.wants_capacity.store(true, Ordering::SeqCst);
        self.send_capacity()
    }

    /// How many bytes the connection has not taken.
    pub(super) fn count(&self) -> usize {
        self.bytes.load(Ordering::SeqCst)
    }

    pub(super) fn is_none(&self) -> bool {
        self.pieces.load(Ordering::SeqCst) == 0
    }

    fn take(&self, count: usize, owner: &dyn Owner) {
        let before = self.bytes.fetch_sub(count, Ordering::SeqCst);
        // not for each byte: the owner should be able to send much at a time
        if before - count <= Self::MAX / 2
            && self.wants_capacity.load(Ordering::SeqCst)
            && self.wants_capacity.swap(false, Ordering::SeqCst)
        {
            owner.note_capacity();
        }
    }
}

impl Piece {
    /// Makes a piece and counts it.
    pub(super) fn of(owner: Arc<dyn Owner>, bytes: Bytes) -> Self {
        let unsent = owner.unsent();
        unsent.pieces.fetch_add(1, Ordering::SeqCst);
        unsent.bytes.fetch_add(bytes.len(), Ordering::SeqCst);
        Self { bytes, owner: Some(owner) }
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, owner: None }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(owner) = &self.owner {
            let unsent = owner.unsent();
            unsent.take(self.bytes.len(), &**owner);
            if unsent.pieces.fetch_sub(1, Ordering::SeqCst) == 1 {
                owner.note_all_taken();
            }
        }
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(owner) = &self.owner {
            owner.unsent().take(count, &**owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, Default)]
    struct Counted {
        unsent: UnsentBytes,
        calls: Mutex<Vec<&'static str>>,
    }

    impl Owner for Counted {
        fn unsent(&self) -> &UnsentBytes {
            &self.unsent
        }

        fn note_capacity(&self) {
            self.calls.lock().unwrap().push("capacity");
        }

        fn note_all_taken(&self) {
            self.calls.lock().unwrap().push("all taken");
        }
    }

    #[test]
    fn the_owner_is_told_of_capacity_and_of_the_last_piece() {
        let counted = Arc::new(Counted::default());
        let mut first = Piece::of(counted.clone(), Bytes::from(vec![0; UnsentBytes::MAX]));
        let second = Piece::of(counted.clone(), Bytes::new());
        assert_eq!(counted.unsent.send_capacity(), 0);
        assert_eq!(counted.unsent.want_capacity(), 0);
        first.advance(UnsentBytes::MAX / 2 - 1);
        assert!(counted.calls.lock().unwrap().is_empty());
        first.advance(1);
        assert_eq!(*counted.calls.lock().unwrap(), ["capacity"]);
        // which is not wanted any more
        first.advance(1);
        drop(first);
        assert_eq!(counted.unsent.send_capacity(), UnsentBytes::MAX);
        assert!(!counted.unsent.is_none());
        drop(second);
        assert!(counted.unsent.is_none());
        assert_eq!(*counted.calls.lock().unwrap(), ["capacity", "all taken"]);
    }
}
