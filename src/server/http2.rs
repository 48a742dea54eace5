//! HTTP/2 (RFC 9113): pages, and WebSocket connections by extended CONNECT (RFC 8441).
//!
//! The crate `h2`, which hyper uses too, speaks the protocol. hyper's own server cannot be used here:
//! it gives a stream of an extended CONNECT away without the means to reset it.
//!
//! Each stream is a task. A request for a page is answered by the same code as over HTTP/1.1. A
//! request for a handler gets a pair of connected sockets: the handler uses one as it uses the
//! socket of a connection of its own, and the task carries bytes between the other and the stream.
//! So handlers run in threads, the hub and the event loop as they are.

mod answer;
mod connection;
mod head;
mod page;
mod piece;
mod replayed;
mod stream;
mod tunnel;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncReadExt;

pub use self::answer::AnswerSlot;
pub(super) use self::connection::serve;
use super::listen::stream::Stream;

/// What a client's connection begins with (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol's name in TLS's negotiation (RFC 9113 3.2).
const ALPN: &[u8] = b"h2";

/// Offers HTTP/2 before what `config` offers already.
pub(super) fn offer(config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(config);
    config.alpn_protocols.insert(0, ALPN.to_vec());
    Arc::new(config)
}

/// Whether a connection speaks HTTP/2: agreed upon with TLS, and otherwise told by its first bytes
/// (RFC 9113 3.3), of which more are read behind `first` for as long as they leave it open.
pub(super) async fn is_spoken(stream: &mut Stream, first: &mut Vec<u8>) -> bool {
    if let Stream::Tls(stream) = stream {
        return stream.get_ref().1.alpn_protocol() == Some(ALPN);
    }
    loop {
        if first.starts_with(PREFACE) {
            return true;
        }
        if !PREFACE.starts_with(first) {
            return false;
        }
        // an error is met again by who reads next
        if !matches!(stream.read_buf(first).await, Ok(1..)) {
            return false;
        }
    }
}
