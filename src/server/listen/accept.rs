//! Accepts connections and starts to serve them.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{sync::watch, task::block_in_place, time::sleep};

use super::listener::{is_peers_fault, Accepted, Listener};
use crate::{
    connection::PlainSocket,
    protocol::head::{empty_lines, HeadReader, RequestHead},
    runtime::task,
    server::{
        admission::{
            client_address::ClientAddress,
            permit::LimitReached,
            proxy_header::{self, Header},
        },
        http::AnsweredBy,
        log::{
            event::{Level, SERVER_LOG},
            repeated::and_more,
        },
        opening::{
            decision::{decide, Decision, Route},
            hand_over::{hand_over, Request},
            serve::{serve, Arrival, MaybeDecided, Received},
        },
        state::ServerState,
    },
};

/// How long accepting pauses when the process has no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn accept_all(
    listener: Listener,
    state: Arc<ServerState>,
    stop: watch::Receiver<bool>,
) {
    loop {
        match listener.accept().await {
            Ok(accepted) => {
                if state.failing.ended() {
                    state.events.line(Level::Warning, SERVER_LOG, || {
                        "Connections are accepted again".to_owned()
                    });
                }
                admit(accepted, &state, &stop);
            }
            Err(error) if is_peers_fault(&error) => {}
            Err(error) => {
                // new connections wait in the kernel until descriptors are free again
                if let Some(count) = state.failing.happened() {
                    state.events.line(Level::Error, SERVER_LOG, || {
                        let more = and_more(count);
                        format!("Cannot accept a connection: {error}; trying again{more}")
                    });
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Starts to serve a connection, unless the acceptor refuses it.
pub(super) fn admit(accepted: Accepted, state: &Arc<ServerState>, stop: &watch::Receiver<bool>) {
    let acceptor = &state.acceptor;
    // this may wait for Python; `block_in_place` lets other connections go on
    if !acceptor.asks_admission()
        || block_in_place(|| acceptor.admits(accepted.as_fd(), accepted.peer))
    {
        start_serving(accepted, state, stop);
    }
}

/// Starts to serve a connection. Most requests have arrived already. If such a request is for a
/// handler, the socket is not registered with tokio, only to be taken out again.
fn start_serving(accepted: Accepted, state: &Arc<ServerState>, stop: &watch::Receiver<bool>) {
    state.arrivals.note_accepted();
    let mut client =
        match ClientAddress::new(accepted.peer, &state.config.proxies, &state.admission) {
            Ok(client) => client,
            Err(full) => return refuse_overload(&accepted, accepted.peer, full, state),
        };
    // with TLS, the first bytes are a ClientHello, which tokio-rustls must read
    let mut first = if state.uses_tls() {
        Vec::new()
    } else {
        match read_first(&accepted, &mut client, state) {
            Some(first) => first,
            None => return,
        }
    };
    let Some((head, length)) = first_head(&client, &first, state) else {
        return serve_in_task(accepted, client, Received::Bytes(first), state, stop);
    };
    let rest = first.split_off(length);
    let route = Route::find(&head, state);
    // if no route says where a handler runs, `decide` may wait for Python, and that must not keep
    // this task from accepting
    let answered_by = if route.has_handler() {
        match decide(&head, route, &client, state) {
            AnsweredBy::Other(Decision::Handler(handler)) => {
                let address = accepted.peer;
                let socket = Arc::new(PlainSocket::new(accepted.into_socket(), address));
                // without TLS, the answer does not name HTTP/3
                let request = Request::new(head, handler, client.into_permit(), false);
                hand_over(socket, rest, request, state);
                return;
            }
            answered_by => MaybeDecided::Decided(answered_by),
        }
    } else {
        MaybeDecided::Routed(route)
    };
    // not for a handler, or refused: the task need not parse the head again
    let received = Received::Request { head: Box::new(head), rest, answered_by };
    serve_in_task(accepted, client, received, state, stop);
}

/// Reads what has arrived, without the PROXY header; `None` if the connection ends here.
fn read_first(
    accepted: &Accepted,
    client: &mut ClientAddress,
    state: &ServerState,
) -> Option<Vec<u8>> {
    let mut first = accepted.read_first()?;
    if client.owes_header {
        match proxy_header::take(&mut first, client, state) {
            Header::Taken | Header::Incomplete => {}
            Header::Bad => return None,
            Header::Full(full) => {
                refuse_overload(accepted, client.address, full, state);
                return None;
            }
        }
    }
    Some(first)
}

fn serve_in_task(
    accepted: Accepted,
    client: ClientAddress,
    received: Received,
    state: &Arc<ServerState>,
    stop: &watch::Receiver<bool>,
) {
    match accepted.into_stream() {
        Ok(stream) => {
            let arrival = Arrival { stream, client, received };
            tokio::spawn(task(serve(arrival, state.clone(), stop.clone())));
        }
        Err(error) => state
            .events
            .line(Level::Error, SERVER_LOG, || format!("Cannot serve a connection: {error}")),
    }
}

/// The request that has arrived already, and the length of its head.
fn first_head(
    client: &ClientAddress,
    first: &[u8],
    state: &ServerState,
) -> Option<(RequestHead, usize)> {
    if client.owes_header || first.is_empty() || empty_lines(first) > 0 {
        return None;
    }
    HeadReader::new(state.config.limits.head).poll(first).ok()?
}

/// Tells a peer that there are too many connections, if that is possible without TLS and without
/// waiting.
fn refuse_overload(
    accepted: &Accepted,
    peer: Option<SocketAddr>,
    full: LimitReached,
    state: &ServerState,
) {
    state.log_refused(peer, full);
    if !state.uses_tls() {
        // read the request first: closing a socket with unread bytes resets the connection, and the
        // peer might not get the answer
        let _ = accepted.read_first();
        accepted.send_last(&LimitReached::refusal().format(true));
    }
}
