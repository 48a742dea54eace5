//! A connection, as the server and the client use it: the socket with or without TLS, the receiving
//! half with its bounded buffer, the sending half, and the ways to wait for them. This module knows
//! nothing of Python, listening or HTTP.

mod awaited_input;
pub mod batch;
mod budget;
mod byte_stream;
mod closing;
mod drain;
mod expiry;
mod flusher;
mod lock_waiters;
mod outbox;
mod reactor;
mod read_buffer;
mod receive_half;
mod send_half;
mod send_queue;
#[cfg(test)]
pub(crate) mod simulated;
mod slice;
pub(crate) mod socket;
pub(crate) mod stall;
#[cfg(test)]
mod tests;
mod transport;
mod wait;

pub use self::{
    awaited_input::AwaitedInput,
    budget::Budget,
    byte_stream::{
        ByteStream, Change, Direction, Mode, PeerEnd, Readiness, ReadinessListener,
        ReadinessNotifier, ReadinessSource, SendResult,
    },
    expiry::{is_own_pong, Expiry},
    flusher::Flusher,
    lock_waiters::LockWaiters,
    outbox::{Delivery, LaterDelivery, Outbox, Pushed, SharedFrame, SlowPolicy},
    reactor::{CallerId, Reactor, ReactorToken, Registration, Remote},
    read_buffer::ReadBuffer,
    receive_half::{Buffered, ReceiveError, ReceiveHalf, Received},
    send_half::AfterServerClose,
    slice::TimeSlice,
    socket::{PlainSocket, TlsSocket},
    transport::{
        Account, Half, Insertion, Outcome, Phase, ReadOutcome, ReceiveGoal, ServerClose, Traffic,
        Transport, Volume,
    },
    wait::{Park, Wait},
};
pub(crate) use self::{
    drain::Drains,
    expiry::{DEFAULT_CLOSE_TIME, KEEPALIVE_MARK},
    flusher::{HoldsFrames, NextLook},
};
