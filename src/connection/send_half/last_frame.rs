//! The close frame that answers the peer's: it shares a segment with the end of our direction, if the
//! handler ends at once.

use std::{
    io,
    sync::{Arc, Weak},
};

use super::SendHalf;
use crate::connection::{
    batch::{self, Carrier},
    byte_stream::{ByteStream, Mode},
    wait::Wait,
};

/// A connection whose last frame waits for the end of our direction. If the end does not follow, the
/// frame must not wait any longer.
struct LastFrame(Weak<dyn ByteStream>);

impl Carrier for LastFrame {
    fn flush(self: Arc<Self>) {
        if let Some(socket) = self.0.upgrade() {
            socket.push();
        }
    }
}

impl SendHalf {
    /// Sends what was held back, and then a frame behind which our direction probably ends before
    /// this thread looks for more work. Both share a segment then.
    pub(crate) fn send_last_frame(
        &mut self,
        header: &[u8],
        payload: &[u8],
        wait: Wait<'_>,
    ) -> io::Result<()> {
        if self.has_held() || self.failed.is_some() || self.server_close_sent || self.is_over() {
            return self.send_frame(header, payload, wait);
        }
        let frame = [header, payload].concat();
        let socket = self.socket()?;
        match socket.send(&frame, &[], Mode::BeforeEnd) {
            Ok(()) => {
                batch::join(Arc::new(LastFrame(Arc::downgrade(&socket))));
                Ok(())
            }
            Err((sent, error)) if error.kind() == io::ErrorKind::WouldBlock => {
                self.send(&frame[sent..], &[], wait)
            }
            Err((_, error)) => Err(error),
        }
    }
}
