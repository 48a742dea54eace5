//! The WebSocket protocol without I/O, clock or interpreter: RFC 6455 and RFC 7692 as pywebsocket
//! speaks them, and what proxies put in front of it.
//!
//! Bytes go in as slices, events and bytes come out. Nothing here blocks, sleeps or allocates more
//! than the limits it was given.

pub mod close;
pub mod closing;
pub mod deflate;
pub mod error;
pub mod extension;
pub mod forwarded;
pub mod fragment;
pub mod frame;
pub mod grammar;
pub mod handshake;
pub mod head;
pub mod limits;
pub mod mask;
pub mod negotiate;
pub mod proxy;
pub mod receive;
pub mod send;
pub mod trust;
pub mod uri;
pub mod utf8;

pub use error::{AnswerError, HandshakeError, ProtocolError, SendError};
