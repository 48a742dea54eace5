//! The client half: connecting, TLS and the opening handshake. No Python types, no frames.
//!
//! tokio-tungstenite does the opening handshake. The socket then leaves tokio and becomes a
//! [`crate::connection::Transport`], on which frames are read and written as the server's are, in the
//! other role.

mod answer;
mod connect;
mod error;
mod head;
mod proxy;
mod request;
mod tls;
mod tunnel;
mod url;

pub use self::{
    connect::{connect, Connected},
    error::{ConnectError, Kind},
    head::{Trace, Way},
    proxy::Proxy,
    request::Options,
    tls::{TlsOptions, Verification},
    url::Target,
};
