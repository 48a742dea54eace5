//! The state that all parts of a server share: settings, the registry, and the acceptor of
//! connections with a handler.

use std::{
    net::SocketAddr,
    os::fd::BorrowedFd,
    sync::{Arc, RwLock},
};

use rustls::ServerConfig;

use super::{
    admission::{
        arrivals::Arrivals,
        permit::{Admission, LimitReached},
    },
    config::Config,
    http::{alternative::alternative, HttpServer},
    http2::AnswerSlot,
    keepalive::KeepaliveThread,
    log::{
        event::{describe, EventSink, Level, SERVER_LOG},
        repeated::{and_more, RepeatedEvent},
    },
    registry::Registry,
    routes::{Concurrency, Routes},
};
use crate::{
    connection::{Drains, Flusher, Transport},
    locks::read,
    protocol::head::RequestHead,
    topics::Broker,
};

/// Counts of what runs the handlers: threads, and turns in the hub.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HandlerCounts {
    /// Threads that have a handler.
    pub busy_threads: usize,
    /// Threads that wait for one.
    pub idle_threads: usize,
    /// Turns of handlers in the hub.
    pub turns: u64,
    /// Time slices of such turns that took so long that others had to wait noticeably.
    pub stalls: u64,
}

/// A connection for which there is a handler. Its opening handshake has not been checked yet.
#[derive(Debug)]
pub struct PendingConnection {
    /// The connection.
    pub transport: Arc<Transport>,
    /// Its number in the server's registry, from which the acceptor must remove it.
    pub id: u64,
    /// The request.
    pub head: RequestHead,
    /// The path with its query: the request target, or what an absolute one contains.
    pub resource: String,
    /// Where its handler runs.
    pub concurrency: Concurrency,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The value of `Alt-Svc` for the answer to the opening handshake.
    pub alternative: Option<String>,
    /// Takes the answer to the opening handshake if that is not one of the transport's bytes: the
    /// transport is a stream of HTTP/2.
    pub answer_slot: Option<Arc<AnswerSlot>>,
}

/// Takes connections for which there is a handler.
pub trait Acceptor: Send + Sync {
    /// Takes a connection; must not block.
    fn accept(self: Arc<Self>, pending: PendingConnection);

    /// Counts of what runs the handlers.
    fn handler_counts(&self) -> HandlerCounts;

    /// Whether the server must call [`Self::admits`].
    fn asks_admission(&self) -> bool {
        false
    }

    /// Whether a connection may be served; may block.
    fn admits(&self, _socket: BorrowedFd<'_>, _peer: Option<SocketAddr>) -> bool {
        true
    }

    /// Where the handler of a resource runs, if there is one; may block. Asked for resources of which
    /// no route says so. `_may_have_handler` is false for a request without a route that asks for no
    /// WebSocket: only some acceptors have handlers for these.
    fn find(&self, _resource: &str, _may_have_handler: bool) -> Option<Concurrency> {
        None
    }

    /// Whether the handler of a path answers requests with a body itself.
    fn takes_body(&self, _path: &str) -> bool {
        false
    }
}

/// The state that all connections of a server share.
pub(super) struct ServerState {
    pub(super) config: Config,
    pub(super) routes: Arc<Routes>,
    pub(super) credential: RwLock<Option<String>>,
    pub(super) tls: RwLock<Option<Arc<ServerConfig>>>,
    pub(super) acceptor: Arc<dyn Acceptor>,
    pub(super) events: Arc<EventSink>,
    pub(super) registry: Arc<Registry>,
    pub(super) drains: Arc<Drains>,
    pub(super) flusher: Arc<Flusher>,
    pub(super) keepalive_thread: Arc<KeepaliveThread>,
    pub(super) http: HttpServer,
    pub(super) admission: Arc<Admission>,
    pub(super) arrivals: Arrivals,
    pub(super) broker: Arc<Broker>,
    /// Connections beyond the limits.
    pub(super) refused: RepeatedEvent,
    /// Connections without the PROXY header with which they must begin.
    pub(super) without_header: RepeatedEvent,
    /// Errors of accepting.
    pub(super) failing: RepeatedEvent,
}

impl ServerState {
    /// The value of `Alt-Svc` for an answer; `local` is the server's address on this connection.
    pub(super) fn alternative(
        &self,
        version: &str,
        tls: bool,
        local: impl FnOnce() -> Option<SocketAddr>,
    ) -> Option<String> {
        alternative(self.config.http3_port, version, tls, local)
    }

    pub(super) fn uses_tls(&self) -> bool {
        read(&self.tls).is_some()
    }

    /// Tells the operator of a connection beyond the limits.
    pub(super) fn log_refused(&self, peer: Option<SocketAddr>, full: LimitReached) {
        self.arrivals.note_refused(full.option);
        if let Some(count) = self.refused.happened() {
            let LimitReached { option, limit } = full;
            self.events.line(Level::Warning, SERVER_LOG, || {
                let (peer, more) = (describe(peer), and_more(count));
                format!("Connection of {peer} refused: {limit} are open ({option}){more}")
            });
        }
    }
}
