//! Reads the header of the PROXY protocol with which the connections of trusted proxies begin.

use std::net::SocketAddr;

use tokio::io::AsyncReadExt;

use crate::{
    protocol::proxy::{self, ProxyError, Source},
    server::{
        listen::stream::Stream,
        log::{
            event::{describe, Level, SERVER_LOG},
            repeated::and_more,
        },
        state::ServerState,
    },
};

/// What a header with addresses and a few further values has at most.
const USUAL_SIZE: usize = 512;

/// Reads behind `first` until the header is whole, and not a byte more: what follows may be TLS's.
/// `None` if the peer went away before it sent anything.
///
/// # Errors
/// If what comes is no header.
pub(in crate::server) async fn read_header(
    stream: &mut Stream,
    mut first: Vec<u8>,
) -> Result<Option<Source>, ProxyError> {
    let mut piece = [0; USUAL_SIZE];
    loop {
        let Ok(count) = stream.peek(&mut piece).await else { return Ok(None) };
        let before = first.len();
        first.extend_from_slice(&piece[..count]);
        let (source, used) = match proxy::read(&first)? {
            Some((source, length)) => (Some(source), length.saturating_sub(before)),
            None if count == 0 && before == 0 => return Ok(None),
            None if count == 0 => return Err(ProxyError::CutShort),
            None => (None, count),
        };
        if stream.read_exact(&mut piece[..used]).await.is_err() {
            return Ok(None);
        }
        if source.is_some() {
            return Ok(source);
        }
    }
}

/// Tells the operator why a connection is closed. The peer is not told: a proxy has no use for an
/// answer (section 2 of the specification).
pub(in crate::server) fn tell(error: &ProxyError, peer: Option<SocketAddr>, shared: &ServerState) {
    if let Some(count) = shared.without_header.happened() {
        shared.events.line(Level::Warning, SERVER_LOG, || {
            let (peer, more) = (describe(peer), and_more(count));
            format!("Connection of {peer} closed: {error} (--proxy-protocol){more}")
        });
    }
}
