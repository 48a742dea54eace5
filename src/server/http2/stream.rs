//! One stream from its request to its end.

use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc};

use h2::{ext::Protocol, server::SendResponse, Reason, RecvStream};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::{oneshot, watch};

use super::{
    answer::{AnswerSlot, StreamAnswer},
    byte_stream::Http2ByteStream,
    driver::Driver,
    ending, head,
    page::{self, Patience},
    piece::Piece,
    request_body::RequestBody,
};
use crate::{
    connection::Transport,
    protocol::{
        handshake::Opening,
        head::{RequestHead, HTTP_2, HTTP_3},
    },
    server::{
        admission::{
            client_address::ClientAddress,
            permit::{ConnectionPermit, LimitReached},
        },
        http::{awaits_continue, refusal::Refusal, AnsweredBy, HttpRequest, PageRequest},
        log::escape::printable,
        opening::{
            decision::{decide, note_refusal, Decision, HandlerMatch, Route},
            hand_over::{hand_over, Request as HandlerRequest},
        },
        registry::HttpVersion,
        state::ServerState,
    },
};

/// The common state of the streams of a connection.
pub(super) struct StreamContext {
    pub(super) version: HttpVersion,
    pub(super) state: Arc<ServerState>,
    pub(super) client: ClientAddress,
    pub(super) local: Option<SocketAddr>,
    pub(super) tls: bool,
    pub(super) stop: watch::Receiver<bool>,
}

impl StreamContext {
    /// How long to wait for a client of this connection that reads nothing.
    fn patience<'a>(&'a self, driver: &'a Driver) -> Patience<'a> {
        Patience { time_limit: self.state.config.limits.http_time, stop: &self.stop, driver }
    }

    /// The value of `Alt-Svc` for an answer.
    fn alternative(&self, version: &str) -> Option<String> {
        self.state.alternative(version, self.tls, || self.local)
    }
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
    driver: &Arc<Driver>,
    common: &StreamContext,
) -> Ended {
    if head::is_malformed(&request) {
        respond.send_reset(Reason::PROTOCOL_ERROR);
        return Ended::Unanswered;
    }
    let is_3 = common.version == HttpVersion::Three;
    let head = head::read(&request, if is_3 { HTTP_3 } else { HTTP_2 });
    // what answers with a page is boxed: this future lasts as long as a WebSocket, and would be five
    // times as large
    match find_reply(&head, request.extensions().get::<Protocol>(), common) {
        Reply::Refuse(refusal) => {
            // what still comes of its body need not be kept
            drop(request);
            let refusal = refusal.with_alternative(common.alternative(&head.version));
            let (response, has_body) = (page::refusal(&refusal), head.method != "HEAD");
            Box::pin(page::send(respond, response, has_body, common.patience(driver))).await;
            Ended::Answered
        }
        Reply::Handler(handler, permit) => {
            let wanted = HandlerRequest::new(head, handler, permit, common.tls);
            let peer = common.client.address;
            let stream = Http2ByteStream::new(driver.clone(), peer, request.into_body(), respond);
            open(wanted, stream, common, driver).await
        }
        Reply::Page(http_request) => {
            let has_body = !request.body().is_end_stream();
            let framing = head::framing(&head, &request, has_body);
            let (time_limit, stop) = (common.state.config.limits.http_time, common.stop.clone());
            let mut body = RequestBody::new(request.into_body(), driver.clone(), time_limit, stop);
            let body_wanted = awaits_continue(&head).then(|| body.first_wait());
            let (body, local, tls) = (body.boxed_unsync(), common.local, common.tls);
            let request = PageRequest { head, http_request, framing, body, local, tls };
            let exchange = PageExchange { request, body_wanted, respond };
            Box::pin(serve_page(exchange, common, driver)).await
        }
    }
}

/// Who answers a request.
enum Reply {
    Refuse(Refusal),
    Handler(HandlerMatch, ConnectionPermit),
    Page(HttpRequest),
}

/// Finds out who answers a request, and tells the operator of a refusal. `protocol` is that of an
/// extended CONNECT (RFC 8441 4).
fn find_reply(head: &RequestHead, protocol: Option<&Protocol>, common: &StreamContext) -> Reply {
    let StreamContext { state, client, .. } = common;
    if let Err(error) = head::check(head, &state.config.limits.head) {
        let (status, reason) = error.answer();
        state.events.warn_refused(client.address, status, "", || reason.clone());
        return Reply::Refuse(Refusal { reason: Some(reason), ..Refusal::new(status) });
    }
    let is_opening = Opening::is_meant(head);
    if let Some(protocol) = protocol.filter(|_| !is_opening) {
        let protocol = printable(protocol.as_str());
        state.events.warn_refused(client.address, 501, "", || {
            format!("{} by the protocol {protocol}", printable(&head.target))
        });
        return Reply::Refuse(Refusal::new(501));
    }
    let refusal = match decide(head, Route::find(head, state), client, state) {
        AnsweredBy::Http(http_request) if is_opening => {
            let HttpRequest { resource, peer } = http_request;
            state
                .events
                .warn_refused(peer, 404, "", || format!("no handler for {}", printable(&resource)));
            state.events.refused(peer, &resource, 404, &head.version);
            // the page of HTTP/1.1, where the request might be for a file
            let reason = Some("File not found".to_owned());
            return Reply::Refuse(Refusal { reason, ..Refusal::new(404) });
        }
        AnsweredBy::Http(http_request) => return Reply::Page(http_request),
        AnsweredBy::Other(Decision::Handler(handler)) => match take_permit(handler.peer, common) {
            Ok(permit) => return Reply::Handler(handler, permit),
            Err(full) => {
                state.log_refused(handler.peer, full);
                LimitReached::refusal()
            }
        },
        AnsweredBy::Other(Decision::Refuse(refusal)) => refusal,
    };
    note_refusal(head, &refusal, client, state);
    Reply::Refuse(refusal)
}

/// A request for the fallback, and where its answers go.
struct PageExchange {
    request: PageRequest,
    /// Where it arrives that the client is to send the body, if it waits for that.
    body_wanted: Option<oneshot::Receiver<()>>,
    respond: SendResponse<Piece>,
}

/// Answers a request for the fallback, unless the peer resets the stream before.
async fn serve_page(exchange: PageExchange, common: &StreamContext, driver: &Driver) -> Ended {
    let PageExchange { request, mut body_wanted, mut respond } = exchange;
    let wants_body = request.head.method != "HEAD";
    let mut answering = pin!(common.state.http.answer_page(request));
    let response = loop {
        tokio::select! {
            response = answering.as_mut() => break response,
            // a peer that breaks off needs no answer
            _ = poll_fn(|context| respond.poll_reset(context)) => return Ended::Unanswered,
            is_wanted = wait_for(&mut body_wanted) => if is_wanted {
                // this fails if the peer has reset the stream
                let _ = respond.send_informational(continuing());
            },
        }
    };
    page::send(respond, response, wants_body, common.patience(driver)).await;
    Ended::Answered
}

/// Waits for the message, once. Returns whether it has come.
async fn wait_for(message: &mut Option<oneshot::Receiver<()>>) -> bool {
    let Some(receiver) = message else { return std::future::pending().await };
    let has_come = receiver.await.is_ok();
    *message = None;
    has_come
}

fn continuing() -> Response<()> {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::CONTINUE;
    response
}

/// Takes a permit for a WebSocket, in addition to that of its connection.
fn take_permit(
    peer: Option<SocketAddr>,
    common: &StreamContext,
) -> Result<ConnectionPermit, LimitReached> {
    let permit = common.state.admission.take()?;
    permit.assign(peer)?;
    Ok(permit)
}

/// Lets go of a stream when it is dropped, however its task ends.
struct ReleaseGuard(Arc<Http2ByteStream>);

impl Drop for ReleaseGuard {
    fn drop(&mut self) {
        self.0.release_stream();
    }
}

/// Gives a stream to its handler, and waits until it has ended.
async fn open(
    wanted: HandlerRequest,
    stream: Arc<Http2ByteStream>,
    common: &StreamContext,
    driver: &Driver,
) -> Ended {
    let time_limit = common.state.config.limits.http_time;
    let wants_body = wanted.head.method != "HEAD";
    let held = ReleaseGuard(stream.clone());
    let Some((transport, answer)) = hand_to_handler(&stream, wanted, common) else {
        // the server is stopping
        stream.send_reset(Reason::REFUSED_STREAM);
        return Ended::Answered;
    };
    let answer = tokio::select! {
        biased;
        answer = answer => answer,
        // the handler will find the end of its stream
        () = poll_fn(|context| stream.poll_reset(context)) => {
            return if stream.is_answered() { Ended::Answered } else { Ended::Unanswered };
        }
    };
    match answer {
        Ok(StreamAnswer::Opened) => {
            ending::end(&stream, &transport, time_limit, &common.stop).await;
        }
        Ok(StreamAnswer::Refuse(refusal)) => {
            if let Some(respond) = stream.take_respond() {
                let patience = common.patience(driver);
                Box::pin(page::send(respond, page::refusal(&refusal), wants_body, patience)).await;
            }
        }
        // the handler has dropped the connection
        Err(_) => stream.send_reset(Reason::CANCEL),
    }
    drop(held);
    Ended::Answered
}

type HandedOver = (Arc<Transport>, oneshot::Receiver<StreamAnswer>);

/// Gives a stream to the place where the handler runs. Returns `None` if the server is stopping.
fn hand_to_handler(
    stream: &Arc<Http2ByteStream>,
    wanted: HandlerRequest,
    common: &StreamContext,
) -> Option<HandedOver> {
    let alternative = common.alternative(&wanted.head.version);
    let (slot, answer) = AnswerSlot::new(stream.clone());
    let request = HandlerRequest { alternative, answer_slot: Some(slot), ..wanted };
    let transport = hand_over(stream.clone(), Vec::new(), request, &common.state)?;
    Some((transport, answer))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Serves<'a, Serving> =
        fn(Request<RecvStream>, SendResponse<Piece>, &'a Arc<Driver>, &'a StreamContext) -> Serving;

    fn size_of_future<Serving>(_: Serves<'_, Serving>) -> usize {
        size_of::<Serving>()
    }

    #[test]
    fn an_open_websocket_keeps_no_room_for_a_page() {
        // with the answers that are pages, about 14,000
        assert!(size_of_future(serve) < 4096, "{} bytes", size_of_future(serve));
    }
}
