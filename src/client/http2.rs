//! A WebSocket on a stream of HTTP/2, after its opening handshake.
//!
//! The connection stays in the [`background`], where a task copies bytes between the stream and a
//! pair of sockets. The program has the other end of the pair: [`Http2Socket`].

pub(super) mod background;
mod bridge;
mod socket;

pub use self::background::finish;
pub(super) use self::bridge::{Driver, StreamBridge};
