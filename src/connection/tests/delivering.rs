//! Frames of others than the handler, which come while the handler has the sending half.

use std::{cell::Cell, io, sync::Arc};

use super::transport;
use crate::{
    connection::{
        simulated::{Read, Simulated, Write},
        wait::Park,
        Delivery, LaterDelivery, LockWaiters, Outbox, Pushed, SharedFrame, SlowPolicy, Transport,
        Wait,
    },
    protocol::frame::Opcode,
};

/// A thread for deliveries that never comes.
struct NoThread;

impl LaterDelivery for NoThread {
    fn deliver_when_writable(&self) {}
}

/// A handler that waits for room while somebody else publishes a message.
struct Handler<'a> {
    transport: &'a Transport,
    has_waited: Cell<bool>,
}

impl Park for Handler<'_> {
    fn waits(&self) -> bool {
        true
    }

    fn is_readable(&self) -> bool {
        false
    }

    fn mark_drained(&self) {}

    fn pause(&self) -> io::Result<()> {
        Ok(())
    }

    fn wait_readable(&self) -> io::Result<()> {
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        self.has_waited.set(true);
        let outbox = self.transport.outbox().expect("an outbox");
        let frame = Arc::new(SharedFrame::new(Opcode::TEXT, b"b", false, 1));
        assert_eq!(outbox.push(&frame, false), Pushed::Queued { dropped: 0, is_due: true });
        assert_eq!(self.transport.deliver(), Delivery::Done, "left to the handler");
        Ok(())
    }

    fn wait_for_lock(&self, _: &LockWaiters, _: &dyn Fn() -> bool) -> io::Result<()> {
        Ok(())
    }

    fn detached(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }
}

/// Has a handler call `sends` while a frame is held back and another one is published meanwhile.
fn publish_while(sends: impl FnOnce(&Transport, Wait<'_>)) -> Vec<u8> {
    let stream = Arc::new(Simulated::new([Read::Nothing], [Write::Takes(0), Write::Takes(0)]));
    let transport = transport(&stream);
    transport.set_outbox(|_| Outbox::new(100, SlowPolicy::Close, Box::new(NoThread)));
    transport.send_frame(b"\x81\x01", b"a", Wait::Never).expect("held back");
    let handler = Handler { transport: &transport, has_waited: Cell::new(false) };
    sends(&transport, Wait::Park(&handler));
    assert!(handler.has_waited.get());
    stream.sent()
}

#[test]
fn a_handler_sends_what_was_published_while_it_sent() {
    let sent = b"\x81\x01a\x81\x01b";
    assert_eq!(publish_while(Transport::flush_before_wait), sent);
    assert_eq!(
        publish_while(|transport, wait| assert!(transport.drain(wait).expect("sent"))),
        sent
    );
    let drain = |transport: &Transport, wait: Wait<'_>| {
        assert!(transport.drain_before_receiving(wait));
    };
    assert_eq!(publish_while(drain), sent);
}
