//! Sends for callers that do not wait. What the kernel does not take, and frames that come while
//! another caller is sending, are kept and sent later.

use std::io;

use super::Transport;
use crate::connection::{send_half::SendHalf, wait::Wait};

impl Transport {
    /// Sends as much of what is held back as the kernel takes. Returns whether all of it was sent;
    /// if not, the caller is woken to try again.
    ///
    /// # Errors
    /// An error since the last call that sent.
    pub fn drain(&self, wait: Wait<'_>) -> io::Result<bool> {
        let mut send_half = match self.send_half(wait) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            send_half => send_half?,
        };
        self.take_queued(&mut send_half);
        let is_sent = send_held(&mut send_half, wait);
        let checked = send_half.check();
        drop(send_half);
        self.after_sending();
        checked.map(|()| is_sent)
    }

    /// As [`Self::drain`], for a caller that is about to receive; an error is kept for the next
    /// caller that sends.
    ///
    /// While another caller is sending, this returns `true` unless frames are in the queue: that
    /// caller may wait until the peer reads, and the peer until this caller has received.
    pub fn drain_before_receiving(&self, wait: Wait<'_>) -> bool {
        let mut send_half = match self.try_send_half() {
            Some(send_half) => send_half,
            None if self.queue.is_empty() => return true,
            None => match self.send_half(wait) {
                Ok(send_half) => send_half,
                Err(_) => return false,
            },
        };
        self.take_queued(&mut send_half);
        let is_sent = send_held(&mut send_half, wait);
        drop(send_half);
        self.after_sending();
        is_sent
    }

    /// Queues what a caller that does not wait could not send because another caller is sending.
    /// The caller is woken when that one has finished.
    ///
    /// # Errors
    /// `error`, if it is another one.
    #[cold]
    pub(super) fn or_queue(
        &self,
        error: io::Error,
        wait: Wait<'_>,
        pieces: &[&[u8]],
        is_mid_message: Option<bool>,
    ) -> io::Result<()> {
        if must_queue(&error, wait) {
            self.queue.push(pieces, is_mid_message);
            return Ok(());
        }
        Err(error)
    }

    /// Queues the end of our direction.
    pub(super) fn or_queue_end(&self, ended: io::Result<()>, wait: Wait<'_>) -> io::Result<()> {
        match ended {
            Err(error) if must_queue(&error, wait) => {
                self.queue.push_end();
                Ok(())
            }
            ended => ended,
        }
    }

    /// Appends queued frames to what is held back.
    #[inline]
    pub(super) fn take_queued(&self, send_half: &mut SendHalf) {
        if !self.queue.is_empty() {
            self.append_queued(send_half);
        }
    }

    #[cold]
    fn append_queued(&self, send_half: &mut SendHalf) {
        let Some(queued) = self.queue.take() else { return };
        send_half.append(&queued.frames, queued.is_mid_message);
        if queued.ends {
            // without a socket it has ended
            let _ = send_half.want_end();
        }
    }
}

/// Sends what is held back. Returns whether all of it was sent.
fn send_held(send_half: &mut SendHalf, wait: Wait<'_>) -> bool {
    send_half.flush_and_keep_error(wait);
    !send_half.has_held()
}

/// Whether another caller is sending, and this one does not wait for it.
fn must_queue(error: &io::Error, wait: Wait<'_>) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        && matches!(wait, Wait::Park(parker) if !parker.waits())
}
