//! Sockets: listeners, request heads, connections, the HTTP fallback. No Python types.
//!
//! tokio accepts and reads the request head. A connection whose resource has a handler leaves tokio
//! and becomes a [`Transport`] that the handler's own thread reads and writes; every other one is
//! answered by the fallback.

mod accept;
pub mod answer;
mod arrivals;
mod config;
mod decision;
mod drain;
pub mod event;
mod fallback;
mod flusher;
mod greeting;
mod guest;
mod inbound;
mod keeper;
mod limits;
mod listen;
mod metrics;
mod opening;
mod outbound;
mod reactor;
mod registry;
mod repeated;
mod seats;
mod shared;
mod slice;
mod socket;
mod stream;
pub mod threads;
pub mod tls;
mod transport;
mod turns;
mod wait;
mod watchdog;

pub use accept::Server;
pub use config::{Concurrency, Config, Routes};
pub use event::{Event, EventSink, Level};
#[cfg(feature = "fuzzing")]
pub(crate) use fallback::fuzzing;
pub use fallback::{CgiConfig, IsExecutable};
pub use flusher::Flusher;
pub use guest::Proxies;
pub use inbound::Inbound;
pub use keeper::{is_own_pong, Expiry};
pub use limits::{Keepalive, Limits};
pub use outbound::AfterFarewell;
pub use reactor::{CallerId, Place, Reactor, Registration, Remote};
pub use registry::Registry;
pub use shared::{Acceptor, Candidate, Workers};
pub use slice::Slice;
pub use socket::Socket;
pub use threads::{Executor, Threads};
pub use transport::{
    Account, Farewell, Half, Outcome, Phase, Readiness, Side, Traffic, Transport, Volume,
};
pub use turns::Turns;
pub use wait::{Park, Wait};
pub use watchdog::{Slices, Watchdog};
