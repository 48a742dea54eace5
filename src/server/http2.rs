//! HTTP/2 (RFC 9113): pages, and WebSocket connections by extended CONNECT (RFC 8441).
//!
//! The crate `h2`, which hyper uses too, implements the protocol. hyper's own server cannot be used
//! here: after an extended CONNECT it passes a stream on that cannot be reset.
//!
//! Each stream has a task. The same code answers requests for pages as over HTTP/1.1. A request for a
//! handler becomes a byte stream, which the handler uses like the socket of a TCP connection, in a
//! thread, the hub or the event loop. Its task only ends it. The handler's thread takes what the
//! connection's task has received, and writes what it sends by itself, see [`driver`].
//!
//! HTTP/3 (RFC 9114) has the same streams. Python's aioquic implements it, and passes each
//! connection on as one of HTTP/2, so that both versions have the same rules here.

mod answer;
mod byte_stream;
mod change_waker;
mod connection;
mod driver;
mod ending;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod head;
mod headers;
mod incoming;
mod page;
mod piece;
mod request_body;
mod stream;
mod turns;
mod wire;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::io::AsyncReadExt;

pub use self::answer::AnswerSlot;
pub(super) use self::connection::{serve, serve_http3};
use super::listen::stream::Stream;

/// The first bytes of a client's connection (RFC 9113 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The protocol's name in the negotiation of TLS (RFC 9113 3.2).
const ALPN: &[u8] = b"h2";

/// Offers HTTP/2 in addition to the protocols of `config`, and before them.
pub(super) fn offer(config: &Arc<ServerConfig>) -> Arc<ServerConfig> {
    let mut config = ServerConfig::clone(config);
    config.alpn_protocols.insert(0, ALPN.to_vec());
    Arc::new(config)
}

/// Whether a connection uses HTTP/2. With TLS, this was negotiated. Without, the first bytes decide
/// (RFC 9113 3.3); more are read and appended to `first` until they do.
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
        // the next read will report the error again
        if !matches!(stream.read_buf(first).await, Ok(1..)) {
            return false;
        }
    }
}
