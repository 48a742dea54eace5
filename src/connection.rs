//! A connection, as the server and the client use it: the socket with or without TLS, the receiving
//! half with its bounded buffer, the sending half, and the ways to wait for them. This module knows
//! nothing of Python, listening or HTTP.

mod closing;
pub(crate) mod drain;
mod expiry;
mod flusher;
mod inbound;
mod lock_waiters;
mod outbound;
mod reactor;
mod slice;
pub(crate) mod socket;
mod transport;
mod wait;

pub(crate) use self::{drain::drain, expiry::MARK};
pub use self::{
    expiry::{is_own_pong, Expiry},
    flusher::Flusher,
    inbound::Inbound,
    lock_waiters::LockWaiters,
    outbound::AfterServerClose,
    reactor::{CallerId, Reactor, ReactorToken, Registration, Remote},
    slice::Slice,
    socket::Socket,
    transport::{
        Account, Half, Outcome, Phase, Readiness, ServerClose, Traffic, Transport, Volume,
    },
    wait::{Park, Wait},
};
