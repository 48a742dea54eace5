//! Sends the frames of others than the handler, see [`Outbox`], between those of the handler.

use std::sync::{Arc, Weak};

use super::Transport;
use crate::connection::{
    outbox::{Delivery, Outbox},
    send_half::SendHalf,
};

impl Transport {
    /// Gives the connection a queue for frames of others. The first one that is given counts.
    pub fn set_outbox(self: &Arc<Self>, make: impl FnOnce(Weak<Self>) -> Outbox) -> &Outbox {
        self.outbox.get_or_init(|| Box::new(make(Arc::downgrade(self))))
    }

    /// The queue for frames of others, if the connection has one.
    pub fn outbox(&self) -> Option<&Outbox> {
        self.outbox.get().map(AsRef::as_ref)
    }

    /// Lets frames of others wait in the queue until [`Self::release_deliveries`].
    pub fn hold_deliveries(&self) {
        if let Some(outbox) = self.outbox() {
            outbox.set_paused(true);
        }
    }

    /// Sends what has waited since [`Self::hold_deliveries`], and does not hold any more.
    pub fn release_deliveries(&self) {
        if let Some(outbox) = self.outbox() {
            outbox.set_paused(false);
            self.deliver_rest();
        }
    }

    /// Sends what the queue has, without waiting. What the socket does not take is left to the delivery thread;
    /// if the handler is sending or has a fragmented message open, it is left to the handler.
    pub fn deliver(&self) -> Delivery {
        let Some(outbox) = self.outbox() else { return Delivery::Done };
        if outbox.is_paused() {
            return Delivery::Done;
        }
        loop {
            // its holder calls `deliver_rest` after it has released it
            let Some(mut send_half) = self.try_server_send_half() else { return Delivery::Done };
            let delivery = self.deliver_by(outbox, &mut send_half);
            let is_mid_message = send_half.is_mid_message();
            drop(send_half);
            self.send_server_close();
            match delivery {
                Delivery::Blocked => outbox.deliver_when_writable(),
                Delivery::Ended => outbox.end(),
                // more has come while the half was locked
                Delivery::Done if outbox.has_frames() && !is_mid_message => continue,
                Delivery::Done => {}
            }
            return delivery;
        }
    }

    /// As [`Self::deliver`], for the thread of [`LaterDelivery`](crate::connection::LaterDelivery).
    pub fn deliver_in_thread(&self) -> Delivery {
        if let Some(outbox) = self.outbox() {
            // before the attempt: a caller that finds the connection blocked from now on must ask
            // again
            outbox.note_attempt();
        }
        self.deliver()
    }

    /// Delivers what has come while the caller had the sending half. Every caller that has released
    /// it calls this.
    pub(super) fn deliver_rest(&self) {
        if self.outbox().is_some_and(Outbox::has_frames) {
            self.deliver();
        }
    }

    fn deliver_by(&self, outbox: &Outbox, send_half: &mut SendHalf) -> Delivery {
        loop {
            if !send_half.flush_for_others() {
                return Delivery::Ended;
            }
            // with TLS, bytes may wait that have been encrypted
            let has_held = send_half.has_held();
            outbox.note_in_send_half(send_half.held_bytes().max(usize::from(has_held)));
            if has_held {
                // perhaps a close frame is among it, which must leave as well
                return Delivery::Blocked;
            }
            let closing = self.closing();
            if closing.is_sending_ended() || closing.is_going_away() || closing.is_released() {
                return Delivery::Ended;
            }
            if send_half.is_mid_message() {
                return Delivery::Done;
            }
            let note = |opcode, size| self.note_piece_sent(opcode, size, true);
            let Some(batch) = outbox.take(note) else { return Delivery::Done };
            send_half.send_for_others(batch.bytes());
        }
    }
}
