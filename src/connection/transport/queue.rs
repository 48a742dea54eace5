//! Sending for callers that do not wait: what the kernel does not take, and what comes while
//! somebody else is sending, is kept and sent later.

use std::{io, sync::atomic::Ordering};

use super::Transport;
use crate::{
    connection::{outbound::Outbound, wait::Wait},
    locks::lock,
};

impl Transport {
    /// Sends what is held back, as far as the kernel takes it; whether all of it is sent. A caller
    /// that has to come back is woken for it.
    ///
    /// # Errors
    /// One that was met since the last call that sends.
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

    /// Keeps what a caller that does not wait could not send because somebody else is sending; the
    /// caller is woken when that one lets go.
    pub(super) fn or_queue(
        &self,
        sent: io::Result<()>,
        wait: Wait<'_>,
        pieces: &[&[u8]],
    ) -> io::Result<()> {
        match (sent, wait) {
            (Err(error), Wait::Park(parker))
                if error.kind() == io::ErrorKind::WouldBlock && !parker.waits() =>
            {
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

    /// Puts what was queued behind what is held back.
    pub(super) fn take_queued(&self, outbound: &mut Outbound) {
        if self.has_queued.load(Ordering::SeqCst) {
            let mut queued = lock(&self.queued);
            outbound.append(&std::mem::take(&mut *queued));
            self.has_queued.store(false, Ordering::SeqCst);
        }
    }
}
