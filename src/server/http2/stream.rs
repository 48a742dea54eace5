//! One stream from its request to its end.

use std::{future::poll_fn, net::SocketAddr, os::fd::OwnedFd, sync::Arc};

use h2::{ext::Protocol, server::SendResponse, Reason, RecvStream};
use http::{Request, Response};
use http_body_util::BodyExt;
use tokio::net::UnixStream;

use super::{
    answer::{AnswerSlot, Answered, StreamAnswer},
    head, page,
    page::StreamBody,
    piece::Piece,
    tunnel::Tunnel,
};
use crate::{
    connection::{PlainSocket, Transport},
    protocol::{
        handshake::Opening,
        head::{RequestHead, HTTP_2, HTTP_3},
    },
    server::{
        admission::{
            client_address::ClientAddress,
            permit::{ConnectionPermit, LimitReached},
        },
        config::Concurrency,
        http::{body::Body, refusal::Refusal, PageRequest, Verdict},
        log::{
            escape::printable,
            event::{Level, SERVER_LOG},
        },
        opening::{
            decision::{decide, note_refusal, Decision, Route},
            hand_over::{hand_over, Request as HandlerRequest},
        },
        registry::HttpVersion,
        state::ServerState,
    },
};

/// The common state of the streams of a connection.
pub(super) struct Common {
    pub(super) version: HttpVersion,
    pub(super) state: Arc<ServerState>,
    pub(super) client: ClientAddress,
    pub(super) local: Option<SocketAddr>,
    pub(super) tls: bool,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    Answered,
    /// The peer has reset it before the answer.
    Unanswered,
}

/// Serves a stream.
pub(super) async fn serve(
    request: Request<RecvStream>,
    mut respond: SendResponse<Piece>,
    common: &Common,
) -> Ended {
    let Common { state, client, .. } = common;
    let is_3 = common.version == HttpVersion::Three;
    let head = head::read(&request, if is_3 { HTTP_3 } else { HTTP_2 });
    if let Err(error) = head::check(&head, &state.config.limits.head) {
        let (status, reason) = error.answer();
        state.events.warn_refused(client.address, status, "", || reason.clone());
        let refusal = Refusal { reason: Some(reason), ..Refusal::new(status) };
        return answer(respond, &head, page::refusal(&refusal), state).await;
    }
    let protocol = request.extensions().get::<Protocol>();
    if let Some(protocol) = protocol.filter(|_| !Opening::is_meant(&head)) {
        let protocol = printable(protocol.as_str());
        state.events.warn_refused(client.address, 501, "", || {
            format!("{} by the protocol {protocol}", printable(&head.target))
        });
        return answer(respond, &head, page::refusal(&Refusal::new(501)), state).await;
    }
    match decide(&head, Route::find(&head, state), client, state) {
        Verdict::Other(Decision::Handler { resource, concurrency, peer }) => {
            let permit = match take_place(peer, common) {
                Ok(permit) => permit,
                Err(full) => {
                    state.tell_refused(peer, full);
                    let refusal = LimitReached::refusal();
                    note_refusal(&head, &refusal, client, state);
                    return answer(respond, &head, page::refusal(&refusal), state).await;
                }
            };
            let wanted = Wanted { head, resource, concurrency, peer, permit };
            open(wanted, request.into_body(), respond, common).await
        }
        Verdict::Other(Decision::Refuse(refusal)) => {
            note_refusal(&head, &refusal, client, state);
            answer(respond, &head, page::refusal(&refusal), state).await
        }
        Verdict::Http(http_request) if Opening::is_meant(&head) => {
            let resource = http_request.resource;
            state.events.warn_refused(http_request.peer, 404, "", || {
                format!("no handler for {}", printable(&resource))
            });
            state.events.refused(http_request.peer, &resource, 404, &head.version);
            answer(respond, &head, page::refusal(&Refusal::new(404)), state).await
        }
        Verdict::Http(http_request) => {
            let has_body = !request.body().is_end_stream();
            let framing = head::framing(&head, &request, has_body);
            let patience = state.config.limits.http_time;
            let wants_body = head.method != "HEAD";
            let body = StreamBody::new(request.into_body(), patience).boxed_unsync();
            let page_request = PageRequest {
                head,
                http_request,
                framing,
                body,
                local: common.local,
                tls: common.tls,
            };
            let response = tokio::select! {
                response = state.http.answer_page(page_request) => response,
                // a peer that breaks off needs no answer
                _ = poll_fn(|context| respond.poll_reset(context)) => return Ended::Unanswered,
            };
            page::send(respond, response, wants_body, patience).await;
            Ended::Answered
        }
    }
}

async fn answer(
    respond: SendResponse<Piece>,
    head: &RequestHead,
    response: Response<Body>,
    state: &ServerState,
) -> Ended {
    let patience = state.config.limits.http_time;
    page::send(respond, response, head.method != "HEAD", patience).await;
    Ended::Answered
}

/// Takes a permit for a WebSocket, in addition to that of its connection.
fn take_place(peer: Option<SocketAddr>, common: &Common) -> Result<ConnectionPermit, LimitReached> {
    let permit = common.state.admission.take()?;
    permit.assign(peer)?;
    Ok(permit)
}

/// A request for a handler.
struct Wanted {
    head: RequestHead,
    resource: String,
    concurrency: Concurrency,
    peer: Option<SocketAddr>,
    permit: ConnectionPermit,
}

/// Gives a stream to its handler, and copies its bytes after the handler has opened it.
async fn open(
    wanted: Wanted,
    receive: RecvStream,
    mut respond: SendResponse<Piece>,
    common: &Common,
) -> Ended {
    let state = &common.state;
    let wants_body = wanted.head.method != "HEAD";
    let (transport, socket, answered) = match hand_to_handler(wanted, common) {
        Ok(Some(given)) => given,
        Ok(None) => {
            // the server is stopping
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ended::Answered;
        }
        Err(error) => {
            state
                .events
                .line(Level::Error, SERVER_LOG, || format!("No sockets for a stream: {error}"));
            respond.send_reset(Reason::REFUSED_STREAM);
            return Ended::Answered;
        }
    };
    let Answered { answer, changed } = answered;
    let answer = tokio::select! {
        answer = answer => answer,
        // the handler will find the end of its socket
        _ = poll_fn(|context| respond.poll_reset(context)) => return Ended::Unanswered,
    };
    let patience = state.config.limits.http_time;
    match answer {
        Ok(StreamAnswer::Open(headers)) => {
            let mut response = Response::new(());
            *response.headers_mut() = headers;
            page::add_date(response.headers_mut());
            match respond.send_response(response, false) {
                Ok(send) => {
                    let tunnel =
                        Tunnel { transport, socket, respond, send, receive, changed, patience };
                    tunnel.run().await;
                }
                // the peer has gone, or a header must not be sent
                Err(_) => respond.send_reset(Reason::INTERNAL_ERROR),
            }
        }
        Ok(StreamAnswer::Refuse(refusal)) => {
            page::send(respond, page::refusal(&refusal), wants_body, patience).await;
        }
        // the handler has dropped the connection
        Err(_) => respond.send_reset(Reason::CANCEL),
    }
    Ended::Answered
}

type Given = (Arc<Transport>, UnixStream, Answered);

/// Gives one end of a pair of sockets to the place where the handler runs. Returns `None` if the
/// server is stopping.
fn hand_to_handler(wanted: Wanted, common: &Common) -> std::io::Result<Option<Given>> {
    let Wanted { head, resource, concurrency, peer, permit } = wanted;
    let (own, handlers) = UnixStream::pair()?;
    let socket = Arc::new(PlainSocket::new(OwnedFd::from(handlers.into_std()?)));
    let (slot, answered) = AnswerSlot::new();
    let request = HandlerRequest {
        head,
        resource,
        concurrency,
        tls: common.tls,
        peer,
        permit,
        answer_slot: Some(slot),
    };
    let transport = hand_over(socket, Vec::new(), request, &common.state);
    Ok(transport.map(|transport| (transport, own, answered)))
}
