//! Limits on how much of the server's time and memory a peer may use.

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
    /// Time for which an HTTP client may send nothing of its request or read nothing of an answer.
    pub http_time: Option<Duration>,
    /// Streams at a time on a connection of HTTP/2.
    pub http2_streams: Option<usize>,
    /// Streams of a connection that its peer may reset before they are answered, beyond as many as
    /// were answered.
    pub http2_resets: Option<usize>,
    /// As [`Self::http2_streams`], on a connection of HTTP/3.
    pub http3_streams: Option<usize>,
    /// As [`Self::http2_resets`], on a connection of HTTP/3.
    pub http3_resets: Option<usize>,
}

/// Settings for connections with a silent peer or handler.
#[derive(Debug, Clone, Copy, Default)]
pub struct Keepalive {
    /// Send a ping to a peer that has sent nothing for this time.
    pub ping_interval: Option<Duration>,
    /// Cut a peer that has sent nothing for this time after a ping.
    pub ping_timeout: Option<Duration>,
    /// Close a connection on which nothing was sent or received for this time.
    pub idle_timeout: Option<Duration>,
    /// Answer pings also while the handler does not receive.
    pub answers_pings: bool,
}
