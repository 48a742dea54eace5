//! Gives a request, and the connection that it came by, to its handler.

use std::{net::SocketAddr, sync::Arc};

use super::decision::HandlerMatch;
use crate::{
    connection::{ByteStream, Transport},
    inspect::WatchedRequest,
    protocol::head::RequestHead,
    server::{
        admission::permit::ConnectionPermit,
        http2::AnswerSlot,
        routes::Concurrency,
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

impl Request {
    /// A request whose answer goes to the socket and names no other service.
    pub(in crate::server) fn new(
        head: RequestHead,
        handler: HandlerMatch,
        permit: ConnectionPermit,
        tls: bool,
    ) -> Self {
        let HandlerMatch { resource, concurrency, peer } = handler;
        let (alternative, answer_slot) = (None, None);
        Self { head, resource, concurrency, tls, peer, permit, alternative, answer_slot }
    }
}

/// Gives a connection to the thread, hub or event loop that its handler runs in; `None` if the server stops.
pub(in crate::server) fn hand_over(
    socket: Arc<dyn ByteStream>,
    rest: Vec<u8>,
    request: Request,
    state: &ServerState,
) -> Option<Arc<Transport>> {
    let Request { head, resource, concurrency, tls, peer, permit, alternative, answer_slot } =
        request;
    let watched = state.config.inspector.as_ref().map(|inspector| {
        let request = WatchedRequest {
            head: &head,
            resource: &resource,
            concurrency: concurrency.name(),
            tls,
            peer,
            answer_is_bytes: answer_slot.is_none(),
        };
        inspector.watch(socket.clone(), &rest, &request)
    });
    let (socket, watched) = match watched {
        Some((watched, stream)) => (stream, Some(watched)),
        None => (socket, None),
    };
    let transport = Arc::new(Transport::new(socket, rest, state.flusher.clone(), peer));
    if let Some(watched) = &watched {
        watched.set_transport(&transport);
        if let Some(slot) = &answer_slot {
            slot.set_watched(watched.clone());
            let slot = Arc::downgrade(slot);
            watched.set_on_reset(move || {
                if let Some(slot) = slot.upgrade() {
                    slot.end();
                }
            });
        }
    }
    let id = state.registry.add(transport.clone(), concurrency, permit, watched)?;
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
