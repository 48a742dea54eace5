//! How much of the server's time and memory a peer may take.

use std::time::Duration;

use crate::protocol::head::HeadLimits;

/// Limits of a server; `None` is no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionLimits {
    /// Size of a request head.
    pub head: HeadLimits,
    /// Time for the TLS handshake and a request head.
    pub head_time: Option<Duration>,
    /// Connections at a time.
    pub connections: Option<usize>,
    /// Connections at a time from one address.
    pub connections_per_address: Option<usize>,
    /// Time that a peer has for answering our close frame while a handler waits for it.
    pub close_time: Option<Duration>,
    /// Bytes of a request's body.
    pub http_body_bytes: Option<u64>,
    /// Time for which a peer of the fallback may neither send what it owes nor take what it asked
    /// for.
    pub http_time: Option<Duration>,
}

/// What is done for connections whose peer or handler is silent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keepalive {
    /// A ping goes to a peer that has sent nothing for so long.
    pub ping_interval: Option<Duration>,
    /// A peer that has sent nothing for so long after it is gone.
    pub ping_timeout: Option<Duration>,
    /// A connection on which nothing is sent or received for so long is closed.
    pub idle_timeout: Option<Duration>,
    /// Pings are answered also while the handler does not receive.
    pub answers_pings: bool,
}
