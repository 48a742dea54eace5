//! Sends for callers that do not wait. What the kernel does not take, and frames that come while
//! another caller is sending, are kept and sent later.

use std::{io, sync::atomic::Ordering};

use super::Transport;
use crate::{
    connection::{outbound::Outbound, wait::Wait},
    locks::lock,
};

impl Transport {
    /// Sends as much of what is held back as the kernel takes. Returns whether all of it was sent;
    /// if not, the caller is woken to try again.
    ///
    /// # Errors
    /// An error since the last call that sent.
    pub fn drain(&self, wait: Wait<'_>) -> io::Result<bool> {
        let mut outbound = match self.take(&self.outbound, wait) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            outbound => outbound?,
        };
        self.take_queued(&mut outbound);
        outbound.flush_and_keep_error(wait);
        outbound.check()?;
        let is_sent = !outbound.has_held();
        drop(outbound);
        self.send_server_close();
        Ok(is_sent)
    }

    /// Queues what a caller that does not wait could not send because another caller is sending.
    /// The caller is woken when that one has finished.
    pub(super) fn or_queue(
        &self,
        sent: io::Result<()>,
        wait: Wait<'_>,
        pieces: &[&[u8]],
    ) -> io::Result<()> {
        match (sent, wait) {
            (Err(error), wait) if must_queue(&error, wait) => {
                let mut queued = lock(&self.queued);
                for piece in pieces {
                    queued.extend_from_slice(piece);
                }
                self.has_queued.store(true, Ordering::SeqCst);
                Ok(())
            }
            (sent, _) => sent,
        }
    }

    /// Queues the end of our direction.
    pub(super) fn or_queue_end(&self, ended: io::Result<()>, wait: Wait<'_>) -> io::Result<()> {
        match ended {
            Err(error) if must_queue(&error, wait) => {
                let queued = lock(&self.queued);
                self.end_is_queued.store(true, Ordering::SeqCst);
                self.has_queued.store(true, Ordering::SeqCst);
                drop(queued);
                Ok(())
            }
            ended => ended,
        }
    }

    /// Appends queued frames to what is held back.
    pub(super) fn take_queued(&self, outbound: &mut Outbound) {
        if self.has_queued.load(Ordering::SeqCst) {
            let mut queued = lock(&self.queued);
            outbound.append(&std::mem::take(&mut *queued));
            self.has_queued.store(false, Ordering::SeqCst);
            if self.end_is_queued.swap(false, Ordering::SeqCst) {
                // without a socket it has ended
                let _ = outbound.want_end();
            }
        }
    }
}

/// Whether somebody else is sending, and the caller does not wait for that.
fn must_queue(error: &io::Error, wait: Wait<'_>) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
        && matches!(wait, Wait::Park(parker) if !parker.waits())
}
