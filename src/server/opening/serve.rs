//! A connection from its first byte until a handler or the HTTP server serves it: the PROXY header,
//! TLS and the request head.

use std::{
    future::{poll_fn, Future},
    net::SocketAddr,
    sync::Arc,
};

use rustls::{ProtocolVersion, ServerConfig};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    decision::{decide, note_refusal, Decision, Route},
    hand_over::{hand_over, Request},
};
use crate::{
    locks::read,
    os_error::describe_handshake,
    protocol::head::{empty_lines, HeadError, HeadReader, RequestHead},
    server::{
        admission::{
            client_address::ClientAddress,
            permit::LimitReached,
            proxy_header::{self, Header},
        },
        http::{idle_timeout::IdleTimeout, refusal::Refusal, AnsweredBy, End, HttpConnection},
        http2,
        listen::{late_records::LateRecords, stream::Stream},
        log::event::{describe, Level, SERVER_LOG},
        registry::HttpVersion,
        state::ServerState,
    },
    tls_error::Peer,
};

/// A new connection. Its first bytes may have been read already.
pub(in crate::server) struct Arrival {
    pub(in crate::server) stream: Stream,
    pub(in crate::server) client: ClientAddress,
    pub(in crate::server) received: Received,
}

/// What has been received on a new connection.
pub(in crate::server) enum Received {
    /// Some bytes, or none.
    Bytes(Vec<u8>),
    /// A request, and the bytes after its head.
    Request { head: Box<RequestHead>, rest: Vec<u8>, answered_by: MaybeDecided },
}

/// What answers a request, if that is known without waiting for Python.
pub(in crate::server) enum MaybeDecided {
    Decided(AnsweredBy<Decision>),
    /// Not yet, but where its target leads.
    Routed(Route),
}

/// Serves a connection until it is handed over to a handler, or has ended.
pub(in crate::server) async fn serve(
    arrival: Arrival,
    state: Arc<ServerState>,
    stop: watch::Receiver<bool>,
) {
    let Arrival { stream, mut client, received } = arrival;
    let (stream, head, mut rest, answered_by) = match received {
        Received::Request { head, rest, answered_by } => (stream, *head, rest, answered_by),
        Received::Bytes(first) => {
            let opening = open(stream, &mut client, first, &state);
            // one time limit for the PROXY header, TLS and the head: a peer that sends a byte a
            // minute must not get a new one for each step
            let opened = match state.config.limits.head_time {
                Some(limit) => timeout(limit, opening).await.unwrap_or(None),
                None => opening.await,
            };
            let Some((stream, mut buffer, read)) = opened else { return };
            let (head, length) = match read {
                FirstRead::Head(head, length) => (head, length),
                FirstRead::Http2 => {
                    return Box::pin(http2::serve(stream, buffer, client, state, stop)).await;
                }
                FirstRead::Bad(error) => {
                    return Box::pin(refuse_head(stream, client.address, &state, &error)).await;
                }
            };
            let rest = buffer.split_off(length);
            let route = Route::find(&head, &state);
            (stream, head, rest, MaybeDecided::Routed(route))
        }
    };
    let answered_by = match answered_by {
        MaybeDecided::Decided(answered_by) => answered_by,
        MaybeDecided::Routed(route) => decide(&head, route, &client, &state),
    };
    let (stream, head, decision) = match answered_by {
        AnsweredBy::Other(decision) => (stream, head, decision),
        AnsweredBy::Http(http_request) => {
            let connection = HttpConnection { stream, head, http_request, rest };
            // boxed, because only few connections need it: every task is as large as its largest
            // state
            let other = Box::pin(answer_pages(connection, &client, &state, stop)).await;
            let Some(OtherRequest { stream, head, decision, rest: behind }) = other else { return };
            rest = behind;
            (stream, head, decision)
        }
    };
    match decision {
        Decision::Handler(handler) => {
            let alternative = alternative(&stream, &head.version, &state);
            let request = Request::new(head, handler, client.into_permit(), stream.is_tls());
            let request = Request { alternative, ..request };
            let Ok(socket) = stream.into_socket() else { return };
            hand_over(socket, rest, request, &state);
        }
        Decision::Refuse(refusal) => {
            Box::pin(refuse(stream, &head, refusal, &client, &state)).await;
        }
    }
}

/// A request that plain HTTP does not answer.
struct OtherRequest {
    stream: Stream,
    head: RequestHead,
    decision: Decision,
    /// What was read after the head.
    rest: Vec<u8>,
}

/// Answers the requests of a connection by plain HTTP, until one is for a handler, so that the
/// connection leaves hyper; `None` if the connection has ended.
async fn answer_pages(
    connection: HttpConnection,
    client: &ClientAddress,
    state: &Arc<ServerState>,
    stop: watch::Receiver<bool>,
) -> Option<OtherRequest> {
    let (sender, shared) = (client.clone(), state.clone());
    // each further request of this connection is decided on anew: it may be for a handler, and a
    // proxy may send it for another client
    let decide_again = Box::new(move |head: &RequestHead| {
        decide(head, Route::find(head, &shared), &sender, &shared)
    });
    let http_guard = state.registry.count_http(HttpVersion::One);
    match state.http.serve(connection, decide_again, stop.clone()).await {
        End::Other { stream, head, decision, rest } => {
            return Some(OtherRequest { stream, head, decision, rest });
        }
        End::BadHead { stream, error } => {
            drop(http_guard);
            Box::pin(refuse_head(stream, client.address, state, &error)).await;
        }
        End::Finished(Some(stream)) => {
            let limit = IdleTimeout::until(state.config.limits.http_time, stop);
            let drain = Box::pin(send_and_end(stream, &[], limit, state)).await;
            // not before, because a server that ends waits for either
            drop(http_guard);
            if let Some(drain) = drain {
                drain.await;
            }
        }
        End::Finished(None) => {}
    }
    None
}

/// What a connection begins with.
enum FirstRead {
    /// A head, of this length.
    Head(RequestHead, usize),
    /// No head that can be used.
    Bad(HeadError),
    Http2,
}

type HeadResult = Result<(RequestHead, usize), HeadError>;

impl From<HeadResult> for FirstRead {
    fn from(read: HeadResult) -> Self {
        match read {
            Ok((head, length)) => Self::Head(head, length),
            Err(error) => Self::Bad(error),
        }
    }
}

/// Reads the PROXY header and does the TLS handshake, if the connection has them, and then reads
/// until the request head is complete. Returns `None` if the connection ends before.
async fn open(
    mut stream: Stream,
    client: &mut ClientAddress,
    mut first: Vec<u8>,
    state: &ServerState,
) -> Option<(Stream, Vec<u8>, FirstRead)> {
    if client.owes_header {
        let first = std::mem::take(&mut first);
        stream = Box::pin(read_proxy_header(stream, client, first, state)).await?;
    }
    let config = read(&state.tls).clone();
    let mut stream = match (stream, config) {
        (Stream::Tcp(stream), Some(config)) => {
            // a browser that opens http:// on this port gets an answer that says what is wrong
            let first_byte = peek_first(&stream).await;
            if first_byte.first().is_some_and(u8::is_ascii_alphabetic) {
                return Some((Stream::Tcp(stream), first, FirstRead::Bad(HeadError::PlainText)));
            }
            Box::pin(accept_tls(stream, config, &first_byte, client, state)).await?
        }
        (stream, _) => stream,
    };
    if state.config.http2 && http2::is_spoken(&mut stream, &mut first).await {
        return Some((stream, first, FirstRead::Http2));
    }
    let read = read_head(&mut stream, &mut first, state).await?;
    Some((stream, first, read.into()))
}

/// Does the TLS handshake; `None` if it fails.
async fn accept_tls(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    first_byte: &[u8],
    client: &ClientAddress,
    state: &ServerState,
) -> Option<Stream> {
    let accept = TlsAcceptor::from(config).accept(LateRecords::new(stream));
    match accept.into_fallible().await {
        Ok(mut stream) => {
            let (records, connection) = stream.get_mut();
            let peer_waits = connection.protocol_version() != Some(ProtocolVersion::TLSv1_3);
            records.end_handshake(peer_waits).await.ok()?;
            Some(Stream::Tls(Box::new(stream)))
        }
        Err((error, mut records)) => {
            // an alert (RFC 8446 6.2), if the peer still takes it
            let _ = records.end_handshake(true).await;
            state.events.line(Level::Info, SERVER_LOG, || {
                let peer = describe(client.address);
                let reason = describe_handshake(&error, Peer::Client, first_byte);
                format!("TLS handshake with {peer} failed: {reason}")
            });
            None
        }
    }
}

/// Reads until the head at the front of `buffer` is complete; `None` if the connection ends before.
async fn read_head(
    stream: &mut Stream,
    buffer: &mut Vec<u8>,
    state: &ServerState,
) -> Option<HeadResult> {
    let mut reader = HeadReader::new(state.config.limits.head);
    let mut polled = poll_behind_empty_lines(&mut reader, buffer, state);
    loop {
        match polled {
            Ok(None) => {}
            read => return read.transpose(),
        }
        buffer.reserve(1024);
        polled = match stream.read_buf(buffer).await {
            Ok(0) if buffer.is_empty() => return None,
            // the peer has ended its direction; as in http.server, the head may end there, too
            Ok(0) => return Some(reader.finish(buffer)),
            Ok(_) => poll_behind_empty_lines(&mut reader, buffer, state),
            Err(_) => return None,
        };
    }
}

fn poll_behind_empty_lines(
    reader: &mut HeadReader,
    buffer: &mut Vec<u8>,
    state: &ServerState,
) -> Result<Option<(RequestHead, usize)>, HeadError> {
    let empty = empty_lines(buffer);
    if empty > 0 {
        buffer.drain(..empty);
        // the reader remembers positions in the buffer, which are wrong now
        *reader = HeadReader::new(state.config.limits.head);
    }
    reader.poll(buffer)
}

/// Reads the client's address from the PROXY header. Returns the connection unless it ends here.
async fn read_proxy_header(
    mut stream: Stream,
    client: &mut ClientAddress,
    first: Vec<u8>,
    state: &ServerState,
) -> Option<Stream> {
    match proxy_header::receive(&mut stream, first, client, state).await {
        Header::Taken => Some(stream),
        Header::Incomplete | Header::Bad => None,
        Header::Full(full) => {
            state.log_refused(client.address, full);
            // before the TLS handshake, the peer could not read an answer
            if !(state.uses_tls() && matches!(stream, Stream::Tcp(_))) {
                send_and_drain(stream, &LimitReached::refusal().format(true), state).await;
            }
            None
        }
    }
}

/// The first byte, or nothing if the peer ends before. A letter on a TLS port is plain HTTP.
async fn peek_first(stream: &TcpStream) -> Vec<u8> {
    let mut first = vec![0];
    let count = stream.peek(&mut first).await.unwrap_or(0);
    first.truncate(count);
    first
}

/// Answers a request with a refusal, and ends the connection.
pub(in crate::server) async fn refuse(
    stream: Stream,
    head: &RequestHead,
    refusal: Refusal,
    client: &ClientAddress,
    state: &ServerState,
) {
    note_refusal(head, &refusal, client, state);
    let refusal = refusal.with_alternative(alternative(&stream, &head.version, state));
    send_and_drain(stream, &refusal.format(head.method != "HEAD"), state).await;
}

async fn refuse_head(
    stream: Stream,
    peer: Option<SocketAddr>,
    state: &ServerState,
    error: &HeadError,
) {
    let (status, reason) = error.answer();
    state.events.warn_refused(peer, status, "", || reason.clone());
    let refusal = Refusal { reason: Some(reason), ..Refusal::new(status) }
        .with_alternative(alternative(&stream, "HTTP/1.1", state));
    send_and_drain(stream, &refusal.format(true), state).await;
}

fn alternative(stream: &Stream, version: &str, state: &ServerState) -> Option<String> {
    state.alternative(version, stream.is_tls(), || stream.local_addr())
}

async fn send_and_drain(stream: Stream, bytes: &[u8], state: &ServerState) {
    let limit = IdleTimeout::new(state.config.limits.http_time);
    if let Some(drain) = send_and_end(stream, bytes, limit, state).await {
        drain.await;
    }
}

/// Sends the last bytes and ends our direction, if the peer takes them in time. The future lets the
/// peer finish.
async fn send_and_end(
    mut stream: Stream,
    bytes: &[u8],
    mut limit: IdleTimeout,
    state: &ServerState,
) -> Option<impl Future<Output = ()>> {
    let mut ended = Box::pin(async {
        stream.write_all(bytes).await?;
        // with TLS, this waits for room too
        stream.shutdown().await
    });
    poll_fn(|context| limit.check(ended.as_mut().poll(context), context)).await.ok()?;
    drop(ended);
    Some(state.drains.drain(stream.into_socket().ok()?))
}
