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

/// Enough for a header with addresses and a few more values.
const USUAL_SIZE: usize = 512;

/// The result of reading a header.
#[derive(Debug)]
pub(in crate::server) enum Header {
    /// The header was complete, and its address is the client's from now on.
    Taken,
    /// The header is incomplete; the peer may have gone.
    Incomplete,
    /// There is no valid header; the log says so. The peer gets no answer, because a proxy has no
    /// use for one (section 2 of the specification).
    Bad,
    /// The limit of connections from this address is reached.
    Full(LimitReached),
}

/// Takes a header from the front of `first` if it is complete.
pub(in crate::server) fn take(
    first: &mut Vec<u8>,
    client: &mut ClientAddress,
    state: &ServerState,
) -> Header {
    match proxy::read(first) {
        Ok(None) => Header::Incomplete,
        Ok(Some((source, length))) => {
            first.drain(..length);
            match client.set_reported(source, &state.config.proxies) {
                Ok(()) => Header::Taken,
                Err(full) => Header::Full(full),
            }
        }
        Err(error) => bad(&error, client, state),
    }
}

/// Reads until the header, which begins with `first`, is complete, and not one byte more: the next
/// bytes may belong to TLS.
pub(in crate::server) async fn receive(
    stream: &mut Stream,
    mut first: Vec<u8>,
    client: &mut ClientAddress,
    state: &ServerState,
) -> Header {
    let mut piece = [0; USUAL_SIZE];
    loop {
        let Ok(count) = stream.peek(&mut piece).await else { return Header::Incomplete };
        if count == 0 && !first.is_empty() {
            return bad(&ProxyError::CutShort, client, state);
        }
        first.extend_from_slice(&piece[..count]);
        let header = take(&mut first, client, state);
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

fn bad(error: &ProxyError, client: &ClientAddress, state: &ServerState) -> Header {
    if let Some(count) = state.without_header.happened() {
        state.events.line(Level::Warning, SERVER_LOG, || {
            let (peer, more) = (describe(client.address), and_more(count));
            format!("Connection of {peer} closed: {error} (--proxy-protocol){more}")
        });
    }
    Header::Bad
}
