//! The opening handshake over HTTP/2, by extended CONNECT (RFC 8441 5).

use std::{
    future::{poll_fn, Future},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use h2::{
    client::{Builder, Connection, SendRequest},
    ext::Protocol,
    Ping, Reason, RecvStream, SendStream,
};
use http::{
    header,
    uri::{Authority, PathAndQuery},
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
};
use hyper::body::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};

use super::{unreachable, Attempt, Connected, Duplex, EXPECTS_TLS, TLS_RECORD};
use crate::{
    client::{
        answer::{Answer, BODY_TIMEOUT},
        error::ConnectError,
        first_bytes::{FirstBytes, Received},
        head::HeadDirection,
        http2::{background, Driver, StreamBridge},
        request::{self, Options},
        tls,
        url::{Endpoint, Target},
    },
    os_error::strerror,
};

/// The most bytes that the server may send before the program has received them.
const WINDOW: u32 = 256 * 1024;

/// The most bytes of the headers of an answer, as over HTTP/1.1.
const MAX_HEAD: u32 = 64 * 1024;

/// Headers of a connection with HTTP/1.1, which HTTP/2 does not have (RFC 9113 8.2.2).
const CONNECTION_HEADERS: [&str; 3] = ["keep-alive", "proxy-connection", "transfer-encoding"];

/// What the handshake over HTTP/1.1 has in addition (RFC 8441 5).
const LEFT_OUT: [HeaderName; 4] =
    [header::HOST, header::CONNECTION, header::UPGRADE, header::SEC_WEBSOCKET_KEY];

type Requests = SendRequest<Bytes>;
type Stream = (SendStream<Bytes>, RecvStream);

/// Opens a connection in the background thread, which keeps it.
pub(super) async fn connect(target: &Target, options: &Options) -> Result<Connected, ConnectError> {
    let (target, options) = (target.clone(), options.clone());
    let address = target.address();
    let opening = background::run(async move { open(&target, &options).await });
    opening.map_err(|error| unreachable(&error, address))?.await
}

async fn open(target: &Target, options: &Options) -> Result<Connected, ConnectError> {
    let attempt = Attempt::new(target, options);
    let request = request::make(target, options)?;
    match &target.endpoint {
        Endpoint::Unix(path) => {
            let request = to_http2(request, "http")?;
            let stream = attempt.reach_unix(path).await?;
            attempt.open_http2(Box::new(stream), request, None).await
        }
        Endpoint::Tcp { host, port, tls: false } => {
            let request = to_http2(request, "http")?;
            let stream = attempt.connect_tcp(host, *port).await?;
            let peer = stream.peer_addr().ok();
            attempt.open_http2(Box::new(stream), request, peer).await
        }
        Endpoint::Tcp { host, port, tls: true } => {
            let request = to_http2(request, "https")?;
            let (stream, peer) = attempt.encrypt(host, *port).await?;
            if stream.get_ref().1.alpn_protocol() != Some(tls::HTTP2) {
                return Err(attempt.no_http2(tls::NO_ALPN));
            }
            attempt.open_http2(Box::new(stream), request, peer).await
        }
    }
}

/// Makes an extended CONNECT of the request for HTTP/1.1.
fn to_http2(request: Request<()>, scheme: &str) -> Result<Request<()>, ConnectError> {
    let (mut parts, ()) = request.into_parts();
    let wrong = |name: &str, reason| ConnectError::Header { name: name.to_owned(), reason };
    if let Some(name) = CONNECTION_HEADERS.iter().find(|name| parts.headers.contains_key(**name)) {
        return Err(wrong(name, "HTTP/2 does not have it"));
    }
    if parts.headers.get(header::TE).is_some_and(|value| value != "trailers") {
        return Err(wrong("te", "HTTP/2 allows only \"trailers\" in it"));
    }
    let host = parts.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    let authority = Authority::try_from(host)
        .map_err(|_| wrong("host", "HTTP/2 needs a host there, with or without a port"))?;
    let mut uri = std::mem::take(&mut parts.uri).into_parts();
    uri.scheme = scheme.parse().ok();
    uri.authority = Some(authority);
    parts.uri = Uri::from_parts(uri)
        .map_err(|_| wrong("host", "HTTP/2 cannot send it with the path of the URL"))?;
    for name in LEFT_OUT {
        parts.headers.remove(name);
    }
    parts.method = Method::CONNECT;
    parts.version = Version::HTTP_2;
    parts.extensions.insert(Protocol::from_static("websocket"));
    Ok(Request::from_parts(parts, ()))
}

impl Attempt<'_> {
    /// Does the opening handshake and checks the answer.
    async fn open_http2(
        &self,
        stream: Box<dyn Duplex>,
        request: Request<()>,
        peer: Option<SocketAddr>,
    ) -> Result<Connected, ConnectError> {
        let stream = FirstBytes::of(stream);
        let first = stream.received().clone();
        let begun = self.within("begin HTTP/2", begin(stream)).await?;
        let (requests, connection, has_websockets) =
            begun.map_err(|error| self.no_settings(error.as_ref(), &first))?;
        if !has_websockets {
            // the driver sends GOAWAY (RFC 9113 6.8)
            drop((requests, Driver::start(connection)));
            return Err(
                self.no_http2("its SETTINGS do not have ENABLE_CONNECT_PROTOCOL (RFC 8441)")
            );
        }
        let driver = Driver::start(connection);
        let asking = ask(requests, request, |direction, head| {
            if let Some(trace) = &self.options.trace {
                trace.show(direction, head);
            }
        });
        let asked = self.within("answer the opening handshake", asking).await?;
        let (answer, (send, mut receive)) = asked.map_err(|error| self.unanswered(&error))?;
        if !(200..300).contains(&answer.status) {
            let body = read_body(&mut receive, answer.body_bytes()).await;
            return Err(self.refusal(answer, body));
        }
        let (subprotocol, deflate) = self.agreed(&answer.headers)?;
        let tls = matches!(self.target.endpoint, Endpoint::Tcp { tls: true, .. });
        let socket = StreamBridge { send, receive, driver }.start(tls, peer);
        Ok(Connected {
            socket: Arc::new(socket.map_err(|error| self.unreachable(&error))?),
            rest: Vec::new(),
            headers: answer.headers,
            subprotocol,
            deflate,
        })
    }

    fn no_http2(&self, reason: &str) -> ConnectError {
        ConnectError::NoHttp2 { address: self.target.address(), reason: reason.to_owned() }
    }

    /// The error for a server that does not begin HTTP/2.
    fn no_settings(&self, error: Option<&h2::Error>, first: &Received) -> ConnectError {
        let first = first.bytes();
        match error {
            _ if Answer::parse(&first).is_some_and(|answer| answer.wants_tls(&first)) => {
                self.wrong_answer(EXPECTS_TLS.to_owned())
            }
            _ if first.starts_with(b"HTTP/") => self.no_http2("it speaks HTTP/1"),
            // the alert of a TLS server to a client that does not begin with a ClientHello (RFC
            // 8446 6)
            _ if first.starts_with(b"\x15\x03") => self.wrong_answer(EXPECTS_TLS.to_owned()),
            // neither SETTINGS nor GOAWAY (RFC 9113 3.4)
            _ if first.get(3).is_some_and(|kind| !matches!(kind, 4 | 7)) => {
                self.no_http2("its answer is not HTTP/2")
            }
            Some(error) if !first.is_empty() || has_tls_cause(error) => self.unanswered(error),
            _ => self.no_http2("it ended the connection without an answer"),
        }
    }

    /// The error for a connection or a stream that ends without an answer.
    fn unanswered(&self, error: &h2::Error) -> ConnectError {
        let address = self.target.address();
        let ended = |reason| ConnectError::Ended { address: self.target.address(), reason };
        match (error.get_io(), error.reason()) {
            (Some(io), _) if tls::is_cause(io) => {
                tls::explain(io, address.clone(), &address, TLS_RECORD)
            }
            (Some(io), _) => ended(strerror(io)),
            (None, Some(Reason::HTTP_1_1_REQUIRED)) => {
                self.no_http2("it wants HTTP/1.1 for this path (HTTP_1_1_REQUIRED)")
            }
            (None, Some(reason)) if error.is_remote() && error.is_reset() => {
                ended(format!("it reset the stream with {reason:?}"))
            }
            (None, Some(reason)) if error.is_remote() => {
                ended(format!("it sent GOAWAY with {reason:?}"))
            }
            _ => self.wrong_answer(format!("HTTP/2 does not allow it: {error}")),
        }
    }
}

fn has_tls_cause(error: &h2::Error) -> bool {
    error.get_io().is_some_and(tls::is_cause)
}

/// Begins HTTP/2, and waits for the server's SETTINGS. Returns whether they allow extended CONNECT.
/// There is no error if the server has ended the connection in order.
async fn begin<S>(stream: S) -> Result<(Requests, Connection<S, Bytes>, bool), Option<h2::Error>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        // a burst of small messages is no attack; the window bounds them
        .data_frame_budget(usize::MAX)
        .max_header_list_size(MAX_HEAD);
    let (requests, mut connection) = builder.handshake(stream).await.map_err(Some)?;
    // SETTINGS are the first frame, so a pong comes behind them
    let mut pings = connection.ping_pong();
    if let Some(pings) = &mut pings {
        pings.send_ping(Ping::opaque()).map_err(Some)?;
    }
    let settled = poll_fn(|context| {
        // this poll reads the frames that the two checks below look at
        if let Poll::Ready(ended) = Pin::new(&mut connection).poll(context) {
            return Poll::Ready(Err(ended.err()));
        }
        if requests.is_extended_connect_protocol_enabled() {
            return Poll::Ready(Ok(true));
        }
        match pings.as_mut().map(|pings| pings.poll_pong(context)) {
            Some(Poll::Ready(pong)) => Poll::Ready(pong.map(|_| false).map_err(Some)),
            _ => Poll::Pending,
        }
    });
    let has_websockets = settled.await?;
    Ok((requests, connection, has_websockets))
}

/// Sends the request and waits for the answer.
async fn ask(
    requests: Requests,
    request: Request<()>,
    show: impl Fn(HeadDirection, &[u8]),
) -> Result<(Answer, Stream), h2::Error> {
    let mut requests = requests.ready().await?;
    let head = describe(&request);
    let (response, send) = requests.send_request(request, false)?;
    show(HeadDirection::Sent, &head);
    let response = response.await?;
    let answer = Answer::of_http2(&response);
    let mut head = format!(":status: {}\r\n", answer.status).into_bytes();
    push_fields(&mut head, response.headers());
    show(HeadDirection::Received, &head);
    Ok((answer, (send, response.into_body())))
}

/// The request as lines of names and values, which is how people read it.
fn describe(request: &Request<()>) -> Vec<u8> {
    let uri = request.uri();
    let mut head = Vec::new();
    for (name, value) in [
        ("method", Some(request.method().as_str())),
        ("protocol", Some("websocket")),
        ("scheme", uri.scheme_str()),
        ("authority", uri.authority().map(Authority::as_str)),
        ("path", uri.path_and_query().map(PathAndQuery::as_str)),
    ] {
        let value = value.unwrap_or_default();
        head.extend_from_slice(format!(":{name}: {value}\r\n").as_bytes());
    }
    push_fields(&mut head, request.headers());
    head
}

fn push_fields(head: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
}

/// Reads the beginning of a body.
async fn read_body(stream: &mut RecvStream, wanted: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let reading = async {
        while body.len() < wanted {
            // show what has been received so far
            let Some(Ok(data)) = stream.data().await else { return };
            body.extend_from_slice(&data);
            // this fails if the stream has ended, which the next read will show
            let _ = stream.flow_control().release_capacity(data.len());
        }
    };
    // if the body does not end in time, what has been received is enough
    let _ = timeout(BODY_TIMEOUT, reading).await;
    body.truncate(wanted);
    body
}
