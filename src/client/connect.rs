//! Opens a connection to a target.

mod http2;
mod reach;

use std::{
    future::Future, io, net::SocketAddr, os::fd::OwnedFd, path::Path, sync::Arc, time::Instant,
};

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout_at,
};
use tokio_rustls::{client::TlsStream, TlsConnector};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        error::{ProtocolError, SubProtocolError},
        Error,
    },
};

use super::{
    answer::{list, read_body, Answer},
    error::{has_no_descriptors, ConnectError},
    first_bytes::FirstBytes,
    head::{is_not_http, HeadTap},
    request::{self, Options},
    tls,
    url::{Endpoint, Target},
};
use crate::{
    connection::{ByteStream, PlainSocket, TlsSocket},
    os_error::strerror,
    protocol::{deflate::Agreement, handshake::compute_accept, negotiate},
};

/// How a TLS record begins (an alert, or a handshake message): the server expects TLS.
const TLS_RECORD: &[u8] = b"\x16\x03";

/// How much to show of what is no answer.
const SHOWN_BYTES: usize = 40;

const WRONG_SUBPROTOCOL: &str = "it chose a subprotocol that was not offered, or several";

const EXPECTS_TLS: &str = "it speaks TLS; use wss:// there";

/// An open connection.
#[derive(Debug)]
pub struct Connected {
    /// The socket, no longer registered with tokio.
    pub socket: Arc<dyn ByteStream>,
    /// Bytes that were received after the head of the answer.
    pub rest: Vec<u8>,
    /// Names, in lower case, and values of the answer, in order.
    pub headers: Vec<(String, String)>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// permessage-deflate, if the server agreed to it.
    pub deflate: Option<Agreement>,
}

/// Connects, speaks TLS if the URL says so, and does the opening handshake.
///
/// Dropping the future closes whatever has been opened.
///
/// # Errors
/// A sentence for the user; nothing is left open.
pub async fn connect(target: &Target, options: &Options) -> Result<Connected, ConnectError> {
    if options.http2 {
        return http2::connect(target, options).await;
    }
    let attempt = Attempt::new(target, options);
    let request = request::make(target, options)?;
    match &target.endpoint {
        Endpoint::Unix(path) => {
            let mut stream = attempt.reach_unix(path).await?;
            let opened = attempt.open(&mut stream, request).await?;
            let descriptor = stream.into_std().map(OwnedFd::from);
            let descriptor = descriptor.map_err(|error| attempt.unreachable(&error))?;
            Ok(opened.with_socket(Arc::new(PlainSocket::new(descriptor, None))))
        }
        Endpoint::Tcp { host, port, tls: false } => {
            let mut stream = attempt.connect_tcp(host, *port).await?;
            let peer = stream.peer_addr().ok();
            let opened = attempt.open(&mut stream, request).await?;
            let stream = stream.into_std().map_err(|error| attempt.unreachable(&error))?;
            Ok(opened.with_socket(Arc::new(PlainSocket::new(stream.into(), peer))))
        }
        Endpoint::Tcp { host, port, tls: true } => {
            let (mut stream, peer) = attempt.encrypt(host, *port).await?;
            let opened = attempt.open(&mut stream, request).await?;
            let (stream, connection) = stream.into_inner();
            let stream = stream.into_inner();
            let stream = stream.into_std().map_err(|error| attempt.unreachable(&error))?;
            let socket = TlsSocket::new(stream.into(), peer, connection.into(), Vec::new());
            Ok(opened.with_socket(Arc::new(socket)))
        }
    }
}

/// Where bytes come from and go to: TCP, TLS or a Unix socket. The opening handshake does not know
/// which, so that its code, that of HTTP/2 above all, exists once in the binary.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// The result of the opening handshake.
struct Opened {
    rest: Vec<u8>,
    headers: Vec<(String, String)>,
    subprotocol: Option<String>,
    deflate: Option<Agreement>,
}

impl Opened {
    fn with_socket(self, socket: Arc<dyn ByteStream>) -> Connected {
        let Self { rest, headers, subprotocol, deflate } = self;
        Connected { socket, rest, headers, subprotocol, deflate }
    }
}

struct Attempt<'a> {
    target: &'a Target,
    options: &'a Options,
    deadline: Option<Instant>,
}

impl<'a> Attempt<'a> {
    fn new(target: &'a Target, options: &'a Options) -> Self {
        let deadline = options.open_timeout.and_then(|limit| Instant::now().checked_add(limit));
        Self { target, options, deadline }
    }
}

impl Attempt<'_> {
    async fn reach_unix(&self, path: &Path) -> Result<UnixStream, ConnectError> {
        if self.options.proxy.is_some() {
            return Err(ConnectError::ProxyUrl {
                of: String::new(),
                reason: "a Unix socket is not behind a proxy; leave one of them out".to_owned(),
            });
        }
        let stream = self.within("accept the connection", UnixStream::connect(path)).await?;
        stream.map_err(|error| self.unreachable(&error))
    }

    /// Connects, and does the TLS handshake.
    async fn encrypt(
        &self,
        host: &str,
        port: u16,
    ) -> Result<(TlsStream<FirstBytes<TcpStream>>, Option<SocketAddr>), ConnectError> {
        // load the files before connecting, so that a wrong file is reported without a server
        let config = tls::load(&self.options.tls, self.options.http2)?;
        let name = self.options.tls.server_name.as_deref().unwrap_or(host);
        let server = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Url {
            url: self.target.address(),
            reason: format!("no certificate can be for {name:?}"),
        })?;
        let stream = self.connect_tcp(host, port).await?;
        let peer = stream.peer_addr().ok();
        let stream = FirstBytes::of(stream);
        let encrypting = TlsConnector::from(config).connect(server, stream).into_fallible();
        let stream = self.within("finish the TLS handshake", encrypting).await?;
        let stream = stream.map_err(|(error, stream)| {
            tls::explain(&error, self.target.address(), name, &stream.received().bytes())
        })?;
        Ok((stream, peer))
    }

    /// Does the opening handshake and checks the answer.
    async fn open(
        &self,
        stream: &mut dyn Duplex,
        request: http::Request<()>,
    ) -> Result<Opened, ConnectError> {
        if let Some(head) = &self.options.head {
            return self.send_head(stream, head).await;
        }
        let mut tap = HeadTap::new(stream, self.options.trace.as_ref());
        let key = request.headers().get("sec-websocket-key").cloned();
        let step = "answer the opening handshake";
        let outcome = self.within(step, client_async_with_config(request, &mut tap, None)).await?;
        // whether tungstenite has accepted the Connection header and everything that it checks
        // after that
        let is_accepted = match outcome.map(drop) {
            Ok(())
            // not an error: a server may choose none of the offered subprotocols (RFC 6455 4.1 item
            // 6)
            | Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
                SubProtocolError::NoSubProtocol,
            ))) => true,
            // the header may contain more than `Upgrade` (RFC 6455 4.1 item 3), so it is checked
            // below
            Err(Error::Protocol(ProtocolError::MissingConnectionUpgradeHeader)) => false,
            Err(error) => return Err(self.refused(error, tap).await),
        };
        let (_, head, rest) = tap.into_parts();
        let wrong = |reason: String| self.wrong_answer(reason);
        let Some(Answer { headers, .. }) = head.as_deref().and_then(Answer::parse) else {
            return Err(wrong("its head cannot be read".to_owned()));
        };
        if !is_accepted {
            let connection = list(&headers, "connection").unwrap_or_default();
            if !negotiate::upgrades(&connection) {
                return Err(wrong("No \"Connection: upgrade\" header".to_owned()));
            }
        }
        // tungstenite looks at the first one, and there must be only one (RFC 6455 11.3.3)
        let accept = key.map(|key| compute_accept(key.as_bytes()));
        if accept != list(&headers, "sec-websocket-accept") {
            return Err(wrong("Key mismatch in \"Sec-WebSocket-Accept\" header".to_owned()));
        }
        let (subprotocol, deflate) = self.agreed(&headers)?;
        Ok(Opened { rest, headers, subprotocol, deflate })
    }

    /// The subprotocol and the parameters of permessage-deflate that the server has chosen.
    fn agreed(
        &self,
        headers: &[(String, String)],
    ) -> Result<(Option<String>, Option<Agreement>), ConnectError> {
        let extensions = list(headers, "sec-websocket-extensions");
        let deflate = negotiate::agreed(extensions.as_deref(), self.options.compression)
            .map_err(|error| self.wrong_answer(error.to_string()))?;
        let subprotocol = list(headers, "sec-websocket-protocol");
        if subprotocol.as_ref().is_some_and(|name| !self.options.subprotocols.contains(name)) {
            return Err(self.wrong_answer(WRONG_SUBPROTOCOL.to_owned()));
        }
        Ok((subprotocol, deflate))
    }

    /// Sends a request that the caller has written. The caller reads the answer.
    async fn send_head(
        &self,
        stream: &mut dyn Duplex,
        head: &[u8],
    ) -> Result<Opened, ConnectError> {
        let sending = async {
            stream.write_all(head).await?;
            stream.flush().await
        };
        let sent = self.within("take the opening handshake", sending).await?;
        sent.map_err(|error| ConnectError::Ended {
            address: self.target.address(),
            reason: strerror(&error),
        })?;
        Ok(Opened { rest: Vec::new(), headers: Vec::new(), subprotocol: None, deflate: None })
    }

    /// The error for an answer that does not open the connection.
    async fn refused(&self, error: Error, tap: HeadTap<'_, &mut dyn Duplex>) -> ConnectError {
        let answer = tap.head().and_then(Answer::parse);
        match (error, answer) {
            // this includes HTTP/1.0, which tungstenite does not read
            (_, Some(answer)) if answer.status != 101 => {
                let (stream, _, mut body) = tap.into_parts();
                read_body(stream, &answer, &mut body).await;
                self.refusal(answer, body)
            }
            (error, _) => self.no_answer(error, &tap),
        }
    }

    /// The error for an answer with another status.
    fn refusal(&self, answer: Answer, body: Vec<u8>) -> ConnectError {
        let address = self.target.address();
        let mut sent = self.options.headers.iter().map(|(name, _)| name);
        let had_credentials = self.target.credentials.is_some()
            || sent.any(|name| name.eq_ignore_ascii_case("authorization"));
        let hint = answer.hint(&body, self.is_plain(), had_credentials);
        let Answer { status, phrase, headers } = answer;
        ConnectError::Status { address, status, phrase, hint, headers, body }
    }

    /// The error for an opening handshake that ends without an answer.
    fn no_answer(&self, error: Error, tap: &HeadTap<'_, &mut dyn Duplex>) -> ConnectError {
        let address = self.target.address();
        match error {
            // the alert of a TLS server to a client that does not begin with a ClientHello (RFC
            // 8446 6)
            _ if tap.bytes().starts_with(b"\x15\x03") => self.wrong_answer(EXPECTS_TLS.to_owned()),
            Error::Io(error) if tls::is_cause(&error) => {
                tls::explain(&error, address.clone(), &address, TLS_RECORD)
            }
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.wrong_answer(error.to_string())
            }
            Error::Io(error) => ConnectError::Ended { address, reason: strerror(&error) },
            Error::Protocol(ProtocolError::HandshakeIncomplete) if tap.bytes().is_empty() => {
                let reason = "it sent nothing".to_owned();
                ConnectError::Ended { address, reason }
            }
            Error::Protocol(
                ProtocolError::HandshakeIncomplete | ProtocolError::HttparseError(_),
            ) if is_not_http(tap.bytes()) => {
                let sent = tap.bytes();
                let sent = sent[..sent.len().min(SHOWN_BYTES)].trim_ascii().escape_ascii();
                self.wrong_answer(format!("it does not speak HTTP, and began with \"{sent}\""))
            }
            Error::Protocol(ProtocolError::HandshakeIncomplete) => ConnectError::Ended {
                address,
                reason: "the head of its answer has no end".to_owned(),
            },
            Error::Protocol(ProtocolError::HttparseError(error)) => {
                self.wrong_answer(format!("its head is malformed: {error}"))
            }
            Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(_)) => {
                self.wrong_answer(WRONG_SUBPROTOCOL.to_owned())
            }
            Error::Protocol(error) => self.wrong_answer(error.to_string()),
            other => self.wrong_answer(other.to_string()),
        }
    }

    /// Does one step of opening within the time limit; `step` is what the server has not done if the
    /// time is over first.
    async fn within<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        self.within_as(|| self.target.address(), step, work).await
    }

    async fn within_as<T>(
        &self,
        who: impl Fn() -> String,
        step: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        match self.deadline {
            None => Ok(work.await),
            Some(deadline) => {
                timeout_at(deadline.into(), work).await.map_err(|_| self.timed_out(who(), step))
            }
        }
    }

    fn timed_out(&self, address: String, step: &'static str) -> ConnectError {
        let limit = self.options.open_timeout.unwrap_or_default();
        ConnectError::TimedOut { address, step, limit }
    }

    fn unreachable(&self, error: &io::Error) -> ConnectError {
        unreachable(error, self.target.address())
    }

    fn is_plain(&self) -> bool {
        matches!(self.target.endpoint, Endpoint::Tcp { tls: false, .. })
    }

    fn wrong_answer(&self, reason: String) -> ConnectError {
        ConnectError::Answer { address: self.target.address(), reason }
    }
}

fn unreachable(error: &io::Error, address: String) -> ConnectError {
    if has_no_descriptors(error) {
        return ConnectError::of_system(error);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ConnectError::Refused { address },
        _ => ConnectError::Unreachable { address, reason: strerror(error) },
    }
}
