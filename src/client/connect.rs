//! From a target to an open connection.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use http::HeaderMap;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::{lookup_host, TcpStream, UnixStream},
    time::{timeout, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        error::{ProtocolError, SubProtocolError},
        handshake::{client::Response, machine::TryParse},
        Error,
    },
};

use super::{
    error::ConnectError,
    head::HeadTap,
    request::{self, Options},
    tls,
    url::{Place, Target},
};
use crate::{
    protocol::{deflate::Agreement, handshake::compute_accept, negotiate},
    server::{answer::strerror, Socket},
};

/// Of the body of an answer that opens nothing, so much is told.
const MAX_BODY: usize = 4096;

/// For that body, which may never end.
const BODY_PATIENCE: Duration = Duration::from_secs(1);

/// An open connection.
#[derive(Debug)]
pub struct Connected {
    /// Out of tokio.
    pub socket: Socket,
    /// What came behind the head of the answer.
    pub rest: Vec<u8>,
    /// The server's address; `None` on a Unix socket.
    pub peer: Option<SocketAddr>,
    /// Names, in lower case, and values of the answer, in order.
    pub headers: Vec<(String, String)>,
    /// The subprotocol that the server chose.
    pub subprotocol: Option<String>,
    /// permessage-deflate, if the server agreed to it.
    pub deflate: Option<Agreement>,
}

/// Connects, speaks TLS if the URL says so, and does the opening handshake.
///
/// Dropping the future gives everything up.
///
/// # Errors
/// A sentence for the user; nothing is left open.
pub async fn connect(target: &Target, options: &Options) -> Result<Connected, ConnectError> {
    let attempt = Attempt {
        target,
        options,
        deadline: options.open_timeout.and_then(|limit| Instant::now().checked_add(limit)),
    };
    let request = request::make(target, options)?;
    match &target.place {
        Place::Unix(path) => {
            let stream = attempt.within("accept the connection", UnixStream::connect(path)).await?;
            let stream = stream.map_err(|error| attempt.unreachable(&error))?;
            let (stream, opened) = attempt.open(stream, request).await?;
            let descriptor = stream.into_std().map(OwnedFd::from);
            let descriptor = descriptor.map_err(|error| attempt.unreachable(&error))?;
            Ok(opened.over(Socket::plain(descriptor), None))
        }
        Place::Tcp { host, port, tls: false } => {
            let stream = attempt.reach(host, *port).await?;
            let peer = stream.peer_addr().ok();
            let (stream, opened) = attempt.open(stream, request).await?;
            let stream = stream.into_std().map_err(|error| attempt.unreachable(&error))?;
            Ok(opened.over(Socket::plain(stream.into()), peer))
        }
        Place::Tcp { host, port, tls: true } => {
            // before connecting: what is wrong with a file needs no server
            let config = tls::load(&options.tls)?;
            let name = options.tls.server_name.as_deref().unwrap_or(host);
            let server = ServerName::try_from(name.to_owned()).map_err(|_| ConnectError::Url {
                url: target.address(),
                reason: format!("no certificate can be for {name:?}"),
            })?;
            let stream = attempt.reach(host, *port).await?;
            let peer = stream.peer_addr().ok();
            let encrypting = TlsConnector::from(config).connect(server, stream);
            let stream = attempt.within("finish the TLS handshake", encrypting).await?;
            let stream = stream.map_err(|error| tls::explain(&error, target.address(), name))?;
            let (stream, opened) = attempt.open(stream, request).await?;
            let (stream, connection) = stream.into_inner();
            let stream = stream.into_std().map_err(|error| attempt.unreachable(&error))?;
            Ok(opened.over(Socket::encrypted(stream.into(), connection.into()), peer))
        }
    }
}

/// What the answer said.
struct Opened {
    rest: Vec<u8>,
    headers: Vec<(String, String)>,
    subprotocol: Option<String>,
    deflate: Option<Agreement>,
}

impl Opened {
    fn over(self, socket: Socket, peer: Option<SocketAddr>) -> Connected {
        let Self { rest, headers, subprotocol, deflate } = self;
        Connected { socket, rest, peer, headers, subprotocol, deflate }
    }
}

struct Attempt<'a> {
    target: &'a Target,
    options: &'a Options,
    deadline: Option<Instant>,
}

impl Attempt<'_> {
    /// Tries all addresses of a name, one after the other; each has its share of the time.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let unknown = |reason| ConnectError::UnknownHost { host: host.to_owned(), reason };
        let found = self.within("turn up in the name service", lookup_host((host, port))).await?;
        let found: Vec<_> = found.map_err(|error| unknown(resolving(&error)))?.collect();
        let mut last = unknown("it has no address".to_owned());
        for (number, address) in found.iter().enumerate() {
            let connecting = TcpStream::connect(address);
            let share = self.deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                left / u32::try_from(found.len() - number).unwrap_or(u32::MAX)
            });
            let connected = match share {
                None => Ok(connecting.await),
                Some(share) => timeout(share, connecting).await,
            };
            match connected {
                Ok(Ok(stream)) => {
                    // frames are small and awaited; a socket that cannot is only slower
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = self.unreachable(&error),
                Err(_) => last = self.timed_out("accept the connection"),
            }
        }
        Err(last)
    }

    /// Does the opening handshake and judges the answer.
    async fn open<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        request: http::Request<()>,
    ) -> Result<(S, Opened), ConnectError> {
        let mut tap = HeadTap::new(stream);
        let key = request.headers().get("sec-websocket-key").cloned();
        let step = "answer the opening handshake";
        let outcome = self.within(step, client_async_with_config(request, &mut tap, None)).await?;
        // whether tungstenite has judged the Connection header and what it looks at behind that
        let judged = match outcome.map(drop) {
            Ok(())
            // a server may choose none of those offered (RFC 6455 4.1 item 6)
            | Err(Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
                SubProtocolError::NoSubProtocol,
            ))) => true,
            // it may say more than Upgrade (RFC 6455 4.1 item 3)
            Err(Error::Protocol(ProtocolError::MissingConnectionUpgradeHeader)) => false,
            Err(error) => return Err(self.refused(error, tap).await),
        };
        let (stream, head, rest) = tap.into_parts();
        let wrong = |reason: String| self.answer(reason);
        let parsed = head.as_deref().map(Response::try_parse);
        let Some(Ok(Some((_, response)))) = parsed else {
            return Err(wrong("its head cannot be read".to_owned()));
        };
        let headers = fields(response.headers());
        if !judged {
            let connection = list(&headers, "connection").unwrap_or_default();
            if !negotiate::upgrades(&connection) {
                return Err(wrong("No \"Connection: upgrade\" header".to_owned()));
            }
            let accept = key.map(|key| compute_accept(key.as_bytes()));
            if accept != list(&headers, "sec-websocket-accept") {
                return Err(wrong("Key mismatch in \"Sec-WebSocket-Accept\" header".to_owned()));
            }
        }
        let extensions = list(&headers, "sec-websocket-extensions");
        let deflate = negotiate::agreed(extensions.as_deref(), self.options.compression)
            .map_err(|error| wrong(error.to_string()))?;
        let subprotocol = list(&headers, "sec-websocket-protocol");
        if subprotocol.as_ref().is_some_and(|name| !self.options.subprotocols.contains(name)) {
            return Err(wrong(
                "it chose a subprotocol that was not offered, or several".to_owned(),
            ));
        }
        Ok((stream, Opened { rest, headers, subprotocol, deflate }))
    }

    /// What an answer that opens nothing is for the user.
    async fn refused<S: AsyncRead + Unpin>(&self, error: Error, tap: HeadTap<S>) -> ConnectError {
        let address = self.target.address();
        match error {
            Error::Http(response) => {
                let headers = fields(response.headers());
                let status = response.status();
                let (stream, _, mut body) = tap.into_parts();
                read_body(stream, &headers, &mut body).await;
                let hint = if self.is_plain() && mentions_tls(&body) {
                    "; it expects TLS: use wss://".to_owned()
                } else {
                    hint(status.as_u16(), &headers)
                };
                ConnectError::Status {
                    address,
                    status: status.as_u16(),
                    phrase: status.canonical_reason().unwrap_or("(an unknown status)"),
                    hint,
                    headers,
                    body,
                }
            }
            // the alert that a TLS server sends to who does not greet it (RFC 8446 6)
            _ if tap.bytes().starts_with(b"\x15\x03") => {
                self.answer("it speaks TLS; use wss:// there".to_owned())
            }
            Error::Io(error) if tls::is_cause(&error) => {
                tls::explain(&error, address.clone(), &address)
            }
            Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
                self.answer(error.to_string())
            }
            Error::Io(error) => ConnectError::Ended { address, reason: strerror(&error) },
            Error::Protocol(ProtocolError::HandshakeIncomplete) if tap.bytes().is_empty() => {
                let reason = "it sent nothing".to_owned();
                ConnectError::Ended { address, reason }
            }
            Error::Protocol(ProtocolError::HandshakeIncomplete) => ConnectError::Ended {
                address,
                reason: "the head of its answer has no end".to_owned(),
            },
            Error::Protocol(error) => self.answer(error.to_string()),
            other => self.answer(other.to_string()),
        }
    }

    async fn within<T>(
        &self,
        step: &'static str,
        work: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        match self.deadline {
            None => Ok(work.await),
            Some(deadline) => {
                timeout_at(deadline.into(), work).await.map_err(|_| self.timed_out(step))
            }
        }
    }

    fn timed_out(&self, step: &'static str) -> ConnectError {
        let limit = self.options.open_timeout.unwrap_or_default();
        ConnectError::TimedOut { address: self.target.address(), step, limit }
    }

    fn unreachable(&self, error: &io::Error) -> ConnectError {
        let address = self.target.address();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => ConnectError::Refused { address },
            _ => ConnectError::Unreachable { address, reason: strerror(error) },
        }
    }

    fn is_plain(&self) -> bool {
        matches!(self.target.place, Place::Tcp { tls: false, .. })
    }

    fn answer(&self, reason: String) -> ConnectError {
        ConnectError::Answer { address: self.target.address(), reason }
    }
}

/// getaddrinfo(3)'s words without what the standard library puts before them.
fn resolving(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(": ").map_or(text.as_str(), |(_, reason)| reason).to_owned()
}

/// Names and values; bytes beyond ASCII are Latin-1.
fn fields(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| crate::protocol::head::latin1(value);
    headers.iter().map(|(name, value)| (name.to_string(), text(value.as_bytes()))).collect()
}

/// The values of a header, joined (RFC 9110 5.3).
fn list(headers: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<_> =
        headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

fn hint(status: u16, headers: &[(String, String)]) -> String {
    match status {
        301 | 302 | 303 | 307 | 308 => list(headers, "location")
            .map_or_else(String::new, |location| format!("; it points to {location}")),
        401 | 407 => "; credentials are needed in an Authorization header".to_owned(),
        403 => "; it does not let this client in".to_owned(),
        404 => "; check the path".to_owned(),
        _ => String::new(),
    }
}

/// Whether the page of a server says that it was spoken to in plain text.
fn mentions_tls(body: &[u8]) -> bool {
    let text = body.to_ascii_uppercase();
    [&b"HTTPS"[..], b"TLS"].iter().any(|word| text.windows(word.len()).any(|part| part == *word))
}

/// Reads the beginning of a body behind what came with its head.
async fn read_body(
    mut stream: impl AsyncRead + Unpin,
    headers: &[(String, String)],
    body: &mut Vec<u8>,
) {
    let length = list(headers, "content-length").and_then(|length| length.parse().ok());
    let wanted = length.unwrap_or(MAX_BODY).min(MAX_BODY);
    let reading = async {
        let mut chunk = [0; 1024];
        while body.len() < wanted {
            match stream.read(&mut chunk).await {
                Ok(count @ 1..) => body.extend_from_slice(&chunk[..count]),
                // what came is what there is to tell
                Ok(0) | Err(_) => return,
            }
        }
    };
    // who does not end the body in time has said enough
    let _ = timeout(BODY_PATIENCE, reading).await;
    body.truncate(wanted);
}
