//! The WebSocket protocol without I/O, clock or interpreter: RFC 6455 and RFC 7692 as pywebsocket
//! implements them, and the headers of proxies.
//!
//! Input is slices of bytes; output is events and bytes. Nothing here blocks or sleeps, and nothing
//! allocates more than its limits allow.

pub mod close;
pub mod close_code;
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
