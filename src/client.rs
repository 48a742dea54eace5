//! The client: connecting, TLS and the opening handshake. This module knows nothing of Python or
//! frames.
//!
//! tokio-tungstenite does the opening handshake. The socket then leaves tokio and becomes a
//! [`crate::connection::Transport`], which reads and writes frames as on the server, in the other
//! role. Over HTTP/2 the crate `h2` does it, and the connection stays with tokio: [`http2`].

mod answer;
mod connect;
mod error;
mod first_bytes;
mod head;
mod http2;
mod proxy;
mod request;
mod tls;
mod tunnel;
mod url;

pub use self::{
    connect::{connect, Connected},
    error::{ConnectError, ConnectErrorKind},
    head::{HeadDirection, Trace},
    http2::finish,
    proxy::Proxy,
    request::Options,
    tls::{TlsOptions, Verification},
    url::Target,
};
