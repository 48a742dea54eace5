//! Decides what answers a request: a handler, the HTTP server (the "fallback"), or a refusal.

use std::net::SocketAddr;

use subtle::ConstantTimeEq;
use tokio::task::block_in_place;

use crate::{
    locks::read,
    protocol::{
        handshake::Opening,
        head::RequestHead,
        uri::{self, Target},
    },
    server::{
        admission::{client_address::ClientAddress, permit::LimitReached},
        http::{refusal::Refusal, AnsweredBy, Framing, HttpRequest},
        log::{
            escape::printable,
            event::{Level, HANDLER_LOG},
        },
        metrics::totals::Handshake,
        routes::{Concurrency, Destination},
        state::ServerState,
    },
};

/// The decision about a request that the fallback does not answer.
pub(in crate::server) enum Decision {
    Handler(HandlerMatch),
    Refuse(Refusal),
}

/// The handler of a request, and the client that it serves.
pub(in crate::server) struct HandlerMatch {
    pub(in crate::server) resource: String,
    pub(in crate::server) concurrency: Concurrency,
    pub(in crate::server) peer: Option<SocketAddr>,
}

/// Where a request's target leads, as far as that is known without asking Python.
pub(in crate::server) struct Route {
    target: Target,
    destination: Option<Destination>,
}

impl Route {
    pub(in crate::server) fn find(head: &RequestHead, state: &ServerState) -> Self {
        let target = uri::parse(&head.target);
        let resource = match &target {
            Target::Relative => Some(&head.target),
            Target::Absolute { resource, .. } => Some(resource),
            Target::Invalid | Target::BadIpv6 => None,
        };
        let destination = resource.and_then(|resource| {
            state.routes.find(uri::split_resource(resource).0, Opening::is_meant(head))
        });
        Self { target, destination }
    }

    /// Whether it leads to a handler, and says where that runs. If so, [`decide`] does not wait.
    pub(in crate::server) fn has_handler(&self) -> bool {
        matches!(self.destination, Some(Destination::Handler(_)))
    }
}

/// Decides what answers a request, and finds the client's address. May wait for Python, and then
/// blocks a thread of the runtime.
pub(in crate::server) fn decide(
    head: &RequestHead,
    route: Route,
    client: &ClientAddress,
    state: &ServerState,
) -> AnsweredBy<Decision> {
    let refuse = |refusal| AnsweredBy::Other(Decision::Refuse(refusal));
    let events = &state.events;
    let peer = client.client(head, &state.config.proxies);
    if let Err(full) = client.count_for(peer) {
        state.log_refused(peer, full);
        return refuse(LimitReached::refusal());
    }
    if !head.names_one_host() {
        return refuse(Refusal::new(400));
    }
    // the log lines here and below are pywebsocket's
    if lacks_credential(head, state) {
        events.line(Level::Info, HANDLER_LOG, || "Request basic authentication".to_owned());
        let mut refusal = Refusal::without_page(401);
        refusal.headers.push(("WWW-Authenticate".into(), "Basic realm=\"Pywebsocket\"".to_owned()));
        return refuse(refusal);
    }
    let to_http =
        |resource: &str| to_http(HttpRequest { resource: resource.to_owned(), peer }, state);
    let resource = match route.target {
        Target::Relative => head.target.clone(),
        Target::BadIpv6 => return refuse(Refusal::new(400)),
        // pywebsocket takes a `ws:` URI that it cannot use for the path of a file
        Target::Invalid => {
            events.line(Level::Info, HANDLER_LOG, || format!("Invalid URI: '{}'", head.target));
            return to_http(&head.target);
        }
        Target::Absolute { host, port, .. } if !names_this_server(&host, port, state) => {
            return to_http(&head.target);
        }
        Target::Absolute { resource, .. } => resource,
    };
    decide_for(HttpRequest { resource, peer }, route.destination, head, state)
}

/// Decides what answers a request for a resource of this server, as [`decide`] does.
fn decide_for(
    asked: HttpRequest,
    destination: Option<Destination>,
    head: &RequestHead,
    state: &ServerState,
) -> AnsweredBy<Decision> {
    let refuse = |refusal| AnsweredBy::Other(Decision::Refuse(refusal));
    let resource = &asked.resource;
    let (path, fragment) = uri::split_resource(resource);
    // this may wait for Python; `block_in_place` lets other connections go on
    let ask = |may_have_handler| block_in_place(|| state.acceptor.find(resource, may_have_handler));
    let found = match destination {
        Some(Destination::Handler(concurrency)) => Some(concurrency),
        Some(Destination::Undecided) => ask(true),
        None => ask(Opening::is_meant(head)),
    };
    match found {
        Some(_) if !fragment.is_empty() => {
            state.events.line(Level::Info, HANDLER_LOG, || {
                "Dispatch failed for error: Fragment identifiers MUST NOT be used on WebSocket URIs"
                    .to_owned()
            });
            refuse(Refusal::new(400))
        }
        // the server could not tell whether the next bytes are the body or frames
        Some(_) if Framing::of(head).has_body() && !state.acceptor.takes_body(path) => {
            refuse(Refusal::new(400))
        }
        Some(concurrency) => {
            let HttpRequest { resource, peer } = asked;
            AnsweredBy::Other(Decision::Handler(HandlerMatch { resource, concurrency, peer }))
        }
        // the log line for a missing handler depends on whether a WebSocket connection was wanted
        None => {
            let upgrade = Opening::is_meant(head);
            if upgrade {
                state.registry.note_handshake(Handshake::NoHandler);
            }
            state.events.no_handler(resource, upgrade);
            to_http(asked, state)
        }
    }
}

/// Leaves a request to the fallback.
fn to_http(asked: HttpRequest, state: &ServerState) -> AnsweredBy<Decision> {
    state.events.line(Level::Info, HANDLER_LOG, || "Fallback to CGIHTTPRequestHandler".to_owned());
    AnsweredBy::Http(asked)
}

/// Whether an absolute target names the host and the port that the operator requires.
fn names_this_server(host: &str, port: u16, state: &ServerState) -> bool {
    let (config, events) = (&state.config, &state.events);
    if let Some(expected) = config.validation_host.as_ref().filter(|name| *name != host) {
        events.line(Level::Info, HANDLER_LOG, || {
            format!("Invalid host: '{host}' (expected: '{expected}')")
        });
        return false;
    }
    if let Some(expected) = config.validation_port.filter(|number| *number != port) {
        events.line(Level::Info, HANDLER_LOG, || {
            format!("Invalid port: {port} (expected: {expected})")
        });
        return false;
    }
    true
}

/// Whether the operator requires an Authorization header and the request has another one, or none.
fn lacks_credential(head: &RequestHead, state: &ServerState) -> bool {
    let credential = read(&state.credential);
    credential.as_deref().is_some_and(|wanted| !is_same(wanted, head.header("Authorization")))
}

/// Tells the operator of a refused request for a WebSocket connection.
pub(in crate::server) fn note_refusal(
    head: &RequestHead,
    refusal: &Refusal,
    client: &ClientAddress,
    state: &ServerState,
) {
    if Opening::is_meant(head) {
        let status = refusal.status;
        state.registry.note_handshake(Handshake::Answered(status));
        let peer = client.client(head, &state.config.proxies);
        state.events.refused(peer, &head.target, status, &head.version);
        // these two statuses have log lines of their own
        if !matches!(status, 401 | 503) {
            state.events.warn_refused(peer, status, "", || printable(&head.target));
        }
    }
}

/// Compares a secret in constant time, so that the time does not reveal where the difference is.
fn is_same(secret: &str, given: Option<&str>) -> bool {
    given.is_some_and(|given| secret.as_bytes().ct_eq(given.as_bytes()).into())
}
