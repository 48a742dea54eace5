//! The header of the PROXY protocol with which the connections of trusted proxies begin.

use tokio::io::AsyncReadExt;

use super::{client_address::ClientAddress, permit::LimitReached};
use crate::{
    protocol::proxy::{self, ProxyError},
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

/// What has become of a header.
#[derive(Debug)]
pub(in crate::server) enum Header {
    /// It was whole, and the client is known by what it says.
    Taken,
    /// More has to come, which it will not if the peer has gone.
    Incomplete,
    /// It is none; the operator has been told. The peer is not: a proxy has no use for an answer
    /// (section 2 of the specification).
    Bad,
    /// As many connections as there may be are open from where this one comes.
    Full(LimitReached),
}

/// Takes a header off the front of `first` if it is whole.
pub(in crate::server) fn take(
    first: &mut Vec<u8>,
    client: &mut ClientAddress,
    shared: &ServerState,
) -> Header {
    match proxy::read(first) {
        Ok(None) => Header::Incomplete,
        Ok(Some((source, length))) => {
            first.drain(..length);
            match client.announce(source, &shared.config.proxies) {
                Ok(()) => Header::Taken,
                Err(full) => Header::Full(full),
            }
        }
        Err(error) => bad(&error, client, shared),
    }
}

/// Reads behind `first` until the header is whole, and not a byte more: what follows may be TLS's.
pub(in crate::server) async fn receive(
    stream: &mut Stream,
    mut first: Vec<u8>,
    client: &mut ClientAddress,
    shared: &ServerState,
) -> Header {
    let mut piece = [0; USUAL_SIZE];
    loop {
        let Ok(count) = stream.peek(&mut piece).await else { return Header::Incomplete };
        if count == 0 && !first.is_empty() {
            return bad(&ProxyError::CutShort, client, shared);
        }
        first.extend_from_slice(&piece[..count]);
        let header = take(&mut first, client, shared);
        let used = match &header {
            Header::Incomplete => count,
            Header::Taken | Header::Full(_) => count.saturating_sub(first.len()),
            Header::Bad => return header,
        };
        if count == 0 || stream.read_exact(&mut piece[..used]).await.is_err() {
            return Header::Incomplete;
        }
        if !matches!(header, Header::Incomplete) {
            return header;
        }
    }
}

fn bad(error: &ProxyError, client: &ClientAddress, shared: &ServerState) -> Header {
    if let Some(count) = shared.without_header.happened() {
        shared.events.line(Level::Warning, SERVER_LOG, || {
            let (peer, more) = (describe(client.address), and_more(count));
            format!("Connection of {peer} closed: {error} (--proxy-protocol){more}")
        });
    }
    Header::Bad
}
