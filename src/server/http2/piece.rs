//! Pieces of bytes for a peer, which are counted until the connection has taken them.
//!
//! A reset discards everything that waits on its stream. To reset a stream after everything was
//! sent, first wait until the connection has taken all pieces.

use std::sync::{
    atomic::{AtomicUsize, Ordering},
    Arc,
};

use hyper::body::{Buf, Bytes};
use tokio::sync::Notify;

/// The payload of a DATA frame.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    waiting: Option<Arc<Waiting>>,
}

/// Counts pieces that the connection has not taken.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    count: AtomicUsize,
    taken: Notify,
}

impl Waiting {
    /// Makes a piece and counts it.
    pub(super) fn piece(self: &Arc<Self>, bytes: Bytes) -> Piece {
        self.count.fetch_add(1, Ordering::SeqCst);
        Piece { bytes, waiting: Some(self.clone()) }
    }

    /// Waits until the connection has taken all pieces.
    pub(super) async fn all_taken(&self) {
        while self.count.load(Ordering::SeqCst) > 0 {
            self.taken.notified().await;
        }
    }
}

impl From<Bytes> for Piece {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, waiting: None }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.count.fetch_sub(1, Ordering::SeqCst);
            waiting.taken.notify_one();
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
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future,
        pin::pin,
        task::{Context, Waker},
    };

    use super::*;

    #[test]
    fn waits_for_every_piece() {
        let waiting = Arc::new(Waiting::default());
        let mut context = Context::from_waker(Waker::noop());
        let (first, second) = (waiting.piece(Bytes::new()), waiting.piece(Bytes::from("a")));
        let mut all_taken = pin!(waiting.all_taken());
        assert!(all_taken.as_mut().poll(&mut context).is_pending());
        drop(second);
        assert!(all_taken.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(all_taken.as_mut().poll(&mut context).is_ready());
    }
}
