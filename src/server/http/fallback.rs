//! A request for plain HTTP, the fallback of the handlers, and what becomes of its connection.

use std::net::SocketAddr;

use super::framing::Framing;
use crate::{
    protocol::head::{HeadError, RequestHead},
    server::listen::stream::Stream,
};

/// The resource and the client of a request for the fallback.
#[derive(Debug)]
pub(crate) struct HttpRequest {
    /// The request target, or the path and query of an absolute `ws:` URI.
    pub(crate) resource: String,
    /// The client's address; `None` on a Unix socket. If a proxy sends the requests of a
    /// connection, they may come from several clients.
    pub(crate) peer: Option<SocketAddr>,
}

/// A request for the fallback, as it goes to hyper's service.
#[derive(Debug)]
pub(super) struct FallbackRequest {
    pub(super) head: RequestHead,
    pub(super) http_request: HttpRequest,
    pub(super) framing: Framing,
}

/// Why the fallback has finished with a connection.
#[derive(Debug)]
pub(crate) enum End<V> {
    /// All requests were answered.
    Finished(Option<Stream>),
    /// A request that the fallback does not answer, and the bytes that were read after its head.
    Other { stream: Stream, head: RequestHead, decision: V, rest: Vec<u8> },
    /// An invalid head.
    BadHead { stream: Stream, error: HeadError },
}

/// What answers a request.
#[derive(Debug)]
pub(crate) enum AnsweredBy<V> {
    /// The HTTP server.
    Http(HttpRequest),
    /// Something else, as `V` says.
    Other(V),
}
