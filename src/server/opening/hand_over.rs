//! Gives a request, and the connection that it came by, to its handler.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    connection::{ByteStream, Transport},
    protocol::head::RequestHead,
    server::{
        admission::permit::ConnectionPermit,
        config::Concurrency,
        http2::AnswerSlot,
        state::{PendingConnection, ServerState},
    },
};

/// A request for a handler.
pub(in crate::server) struct Request {
    pub(in crate::server) head: RequestHead,
    pub(in crate::server) resource: String,
    pub(in crate::server) concurrency: Concurrency,
    pub(in crate::server) tls: bool,
    pub(in crate::server) peer: Option<SocketAddr>,
    pub(in crate::server) permit: ConnectionPermit,
    /// See [`PendingConnection::alternative`].
    pub(in crate::server) alternative: Option<String>,
    /// Where the answer goes if it is not one of the socket's bytes.
    pub(in crate::server) answer_slot: Option<Arc<AnswerSlot>>,
}

/// Gives a connection to the place where its handler runs; `None` if the server stops.
pub(in crate::server) fn hand_over(
    socket: Arc<dyn ByteStream>,
    rest: Vec<u8>,
    request: Request,
    state: &ServerState,
) -> Option<Arc<Transport>> {
    let Request { head, resource, concurrency, tls, peer, permit, alternative, answer_slot } =
        request;
    let transport = Arc::new(Transport::new(socket, rest, state.flusher.clone(), peer));
    let id = state.registry.add(transport.clone(), concurrency, permit)?;
    let pending = PendingConnection {
        transport: transport.clone(),
        id,
        head,
        resource,
        concurrency,
        tls,
        alternative,
        answer_slot,
    };
    state.acceptor.clone().accept(pending);
    Some(transport)
}
