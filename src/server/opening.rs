//! A connection from its first byte to who serves it: TLS, the request head, the fallback.

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::{
    accept::{Candidate, Shared, HANDLER_LOG, SERVER_LOG},
    answer::Refusal,
    config::Concurrency,
    decision::{decide, Decision},
    drain::drain,
    event::{Event, Level},
    fallback::{End, Visit},
    metrics::Handshake,
    seats::Seat,
    socket::Socket,
    stream::Stream,
    transport::Transport,
};
use crate::protocol::{
    handshake::Opening,
    head::{HeadError, HeadReader, RequestHead},
};

/// A connection of which the beginning may have been read.
pub(super) struct Arrival {
    pub(super) stream: Stream,
    pub(super) peer: Option<SocketAddr>,
    pub(super) first: Vec<u8>,
    pub(super) seat: Seat,
}

/// A request for a handler.
pub(super) struct Request {
    pub(super) head: RequestHead,
    pub(super) resource: String,
    pub(super) concurrency: Concurrency,
    pub(super) tls: bool,
    pub(super) peer: Option<SocketAddr>,
    pub(super) seat: Seat,
}

/// Gives a connection to who runs its handler.
pub(super) fn hand_over(socket: Socket, rest: Vec<u8>, request: Request, shared: &Shared) {
    let Request { head, resource, concurrency, tls, peer, seat } = request;
    let transport = Arc::new(Transport::new(socket, rest, shared.flusher.clone(), peer));
    let Some(id) = shared.registry.add(transport.clone(), concurrency, seat) else { return };
    let candidate = Candidate { transport, id, head, resource, concurrency, tls };
    shared.acceptor.clone().accept(candidate);
}

/// Serves a connection until it is somebody else's, or over.
pub(super) async fn serve(arrival: Arrival, shared: Arc<Shared>, stop: watch::Receiver<bool>) {
    let Arrival { stream, peer, first, seat } = arrival;
    let opening = open(stream, peer, first, &shared);
    let opened = match shared.config.limits.head_time {
        Some(limit) => timeout(limit, opening).await.unwrap_or(None),
        None => opening.await,
    };
    let Some((stream, mut buffer, read)) = opened else { return };
    let (head, length) = match read {
        Ok(whole) => whole,
        Err(error) => return Box::pin(refuse_head(stream, peer, &shared, &error)).await,
    };
    let mut rest = buffer.split_off(length);
    let (stream, head, decision) = match decide(&head, &shared) {
        Err(decision) => (stream, head, decision),
        Ok(resource) => {
            let visit = Visit { stream, peer, head, resource, rest };
            let judge = shared.clone();
            let judge = Box::new(move |head: &RequestHead| decide(head, &judge));
            let visitor = shared.registry.visit();
            // boxed, as all that few connections need: every task has room for its largest part
            let end = Box::pin(shared.fallback.serve(visit, judge, stop)).await;
            drop(visitor);
            match end {
                End::Other { stream, head, verdict, rest: behind } => {
                    rest = behind;
                    (stream, head, verdict)
                }
                End::BadHead { stream, error } => {
                    return Box::pin(refuse_head(stream, peer, &shared, &error)).await;
                }
                End::Finished(Some(stream)) => return Box::pin(send_and_drain(stream, &[])).await,
                End::Finished(None) => return,
            }
        }
    };
    match decision {
        Decision::Handler { resource, concurrency } => {
            let tls = stream.is_tls();
            let Ok(socket) = stream.into_socket() else { return };
            let request = Request { head, resource, concurrency, tls, peer, seat };
            hand_over(socket, rest, request, &shared);
        }
        Decision::Refuse(refusal) => {
            if Opening::is_meant(&head) {
                let status = refusal.status;
                shared.registry.note_handshake(Handshake::Answered(status));
                let resource = head.target.clone();
                shared.events.send(Event::Refused { peer, resource, status });
            }
            let body = head.method != "HEAD";
            Box::pin(send_and_drain(stream, &refusal.format(body))).await;
        }
    }
}

type HeadResult = Result<(RequestHead, usize), HeadError>;

/// Does the TLS handshake if there is to be one, and reads behind `first` until the request head is
/// whole; `None` if the peer sent nothing or went away.
async fn open(
    stream: Stream,
    peer: Option<SocketAddr>,
    first: Vec<u8>,
    shared: &Shared,
) -> Option<(Stream, Vec<u8>, HeadResult)> {
    let config = shared.tls.read().unwrap_or_else(PoisonError::into_inner).clone();
    let mut stream = match (stream, config) {
        (Stream::Tcp(stream), Some(config)) => {
            if is_plain_text(&stream).await {
                return Some((Stream::Tcp(stream), first, Err(HeadError::PlainText)));
            }
            match Box::pin(TlsAcceptor::from(config).accept(stream)).await {
                Ok(stream) => Stream::Tls(Box::new(stream)),
                Err(error) => {
                    shared.events.line(Level::Info, SERVER_LOG, || {
                        format!("TLS handshake with {} failed: {error}", describe(peer))
                    });
                    return None;
                }
            }
        }
        (stream, _) => stream,
    };
    let mut buffer = first;
    let mut reader = HeadReader::new(shared.config.limits.head);
    match reader.poll(&buffer) {
        Ok(None) => {}
        Ok(Some(whole)) => return Some((stream, buffer, Ok(whole))),
        Err(error) => return Some((stream, buffer, Err(error))),
    }
    loop {
        buffer.reserve(1024);
        let read = match stream.read_buf(&mut buffer).await {
            Ok(0) if buffer.is_empty() => return None,
            Ok(0) => reader.finish(&buffer),
            Ok(_) => match reader.poll(&buffer) {
                Ok(None) => continue,
                Ok(Some(whole)) => Ok(whole),
                Err(error) => Err(error),
            },
            Err(_) => return None,
        };
        return Some((stream, buffer, read));
    }
}

/// Whether the peer speaks HTTP where TLS is spoken: its first byte is a letter.
async fn is_plain_text(stream: &TcpStream) -> bool {
    let mut first = [0];
    matches!(stream.peek(&mut first).await, Ok(1)) && first[0].is_ascii_alphabetic()
}

async fn refuse_head(stream: Stream, peer: Option<SocketAddr>, shared: &Shared, error: &HeadError) {
    let (status, reason) = error.answer();
    shared.events.line(Level::Warning, HANDLER_LOG, || {
        format!("{} - code {status}, message {reason}", describe(peer))
    });
    let refusal = Refusal { reason: Some(reason), ..Refusal::new(status) };
    send_and_drain(stream, &refusal.format(true)).await;
}

async fn send_and_drain(mut stream: Stream, bytes: &[u8]) {
    if stream.write_all(bytes).await.is_ok() && stream.shutdown().await.is_ok() {
        if let Ok(socket) = stream.into_socket() {
            drain(Arc::new(socket)).await;
        }
    }
}

/// An address for a log line.
pub(super) fn describe(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "a local peer".to_owned(), |peer| peer.ip().to_string())
}
