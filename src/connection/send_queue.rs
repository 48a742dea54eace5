//! Frames of callers that do not wait, queued while another caller is sending.

use crate::{
    locks::lock,
    sync::{AtomicBool, Mutex, Ordering},
};

/// Frames, and perhaps the end of our direction behind them.
#[derive(Debug, Default)]
pub(crate) struct Queued {
    pub(crate) frames: Vec<u8>,
    pub(crate) ends: bool,
    /// Whether the last frame leaves its message open; `None` if there is no frame of a message.
    pub(crate) is_mid_message: Option<bool>,
}

/// The queue. The next caller that locks the sending half sends it.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Whether there is something, which can be read without the lock.
    is_filled: AtomicBool,
    queued: Mutex<Queued>,
}

impl SendQueue {
    /// Whether there is nothing in the queue.
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_filled.load(Ordering::SeqCst)
    }

    /// Appends a frame, which may come in pieces. `is_mid_message` says whether it leaves its message
    /// open, if it belongs to one.
    pub(crate) fn push(&self, pieces: &[&[u8]], is_mid_message: Option<bool>) {
        let mut queued = lock(&self.queued);
        queued.is_mid_message = is_mid_message.or(queued.is_mid_message);
        for piece in pieces {
            queued.frames.extend_from_slice(piece);
        }
        self.is_filled.store(true, Ordering::SeqCst);
    }

    /// Has our direction end behind the frames.
    pub(crate) fn push_end(&self) {
        let mut queued = lock(&self.queued);
        queued.ends = true;
        self.is_filled.store(true, Ordering::SeqCst);
    }

    /// Takes everything. The caller has locked the sending half, so that nothing overtakes it.
    pub(crate) fn take(&self) -> Option<Queued> {
        if self.is_empty() {
            return None;
        }
        let mut queued = lock(&self.queued);
        // while it is locked, so that a frame that is pushed from now on is announced again
        self.is_filled.store(false, Ordering::SeqCst);
        Some(std::mem::take(&mut queued))
    }
}
