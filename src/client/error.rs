//! The errors of opening a connection. The text of each is a sentence with the remedy, which the
//! user sees.

use std::{io, time::Duration};

use rustix::io::Errno;
use thiserror::Error;

use crate::{os_error::strerror, tls_files::TlsError};

/// The side that can do something about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// The caller: an argument cannot be used.
    Argument,
    /// Nothing answered in time.
    Timeout,
    /// The server answered with another status than 101, or over HTTP/2 than 2xx.
    Status,
    /// The proxy does not lead to the server.
    Proxy,
    /// The connection could not be made, or not be trusted.
    Connection,
}

/// Why there is no connection.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not one that a WebSocket client can use.
    #[error("cannot use the URL {url}: {reason}")]
    Url {
        /// The URL as it was given.
        url: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// The URL of a proxy cannot be used.
    #[error("cannot use the proxy{of}: {reason}")]
    ProxyUrl {
        /// The environment variable that contains the URL, or nothing.
        of: String,
        /// What is wrong, and the remedy.
        reason: String,
    },
    /// The proxy cannot be reached.
    #[error("cannot reach the proxy {0}: {1}")]
    ToProxy(String, Box<ConnectError>),
    /// The proxy does not lead to the server.
    #[error("the proxy {proxy} {reason}")]
    Proxy {
        /// Host and port, and where they were set.
        proxy: String,
        /// What the proxy did, and the remedy.
        reason: String,
        /// The status of its answer to CONNECT.
        status: Option<u16>,
    },
    /// A header cannot be sent.
    #[error("cannot send the header {name}: {reason}")]
    Header {
        /// Its name.
        name: String,
        /// What is wrong, and the remedy.
        reason: &'static str,
    },
    /// A subprotocol is no token (RFC 6455 4.1 item 10).
    #[error("cannot ask for the subprotocol {0:?}: it must be a token, and be named once")]
    Subprotocol(String),
    /// A file for TLS cannot be used.
    #[error(transparent)]
    File(#[from] TlsError),
    /// A client certificate cannot be used.
    #[error("cannot use the client certificate: {0}")]
    ClientCertificate(String),
    /// There are no CA certificates to check the server's certificate.
    #[error(
        "no CA certificates on this system to check the server's certificate with; install the \
         package ca-certificates, set SSL_CERT_FILE, or name a CA file"
    )]
    NoAuthorities,
    /// The name has no address.
    #[error("unknown host {host}: {reason}; check the name")]
    UnknownHost {
        /// The name.
        host: String,
        /// The system's words.
        reason: String,
    },
    /// The system lets this process open nothing more.
    #[error("cannot connect: {reason}{remedy}")]
    System {
        /// The system's words.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// No program listens on the address.
    #[error("{address} refused the connection; is the server running, and on this port?")]
    Refused {
        /// Host and port.
        address: String,
    },
    /// The network cannot reach the address.
    #[error("cannot connect to {address}: {reason}")]
    Unreachable {
        /// Host and port, or path.
        address: String,
        /// The system's words.
        reason: String,
    },
    /// A step took too long.
    #[error("{address} did not {step} within {:?}", .limit)]
    TimedOut {
        /// Host and port, or path.
        address: String,
        /// The step.
        step: &'static str,
        /// The time limit.
        limit: Duration,
    },
    /// The server does not speak TLS.
    #[error("{address} does not speak TLS; use ws:// there")]
    NotTls {
        /// Host and port.
        address: String,
    },
    /// The server's certificate is not accepted.
    #[error("the certificate of {host} is not accepted: {reason}; {remedy}")]
    Certificate {
        /// The server's name.
        host: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
    /// TLS failed for another reason.
    #[error("TLS with {address} failed: {reason}")]
    Tls {
        /// Host and port.
        address: String,
        /// What is wrong.
        reason: String,
    },
    /// The server opens no WebSocket over HTTP/2 (RFC 8441).
    #[error("{address} opens no WebSockets over HTTP/2: {reason}; connect over HTTP/1.1")]
    NoHttp2 {
        /// Host and port, or path.
        address: String,
        /// How that showed.
        reason: String,
    },
    /// The connection ended during the opening handshake.
    #[error("{address} ended the connection instead of answering the opening handshake: {reason}")]
    Ended {
        /// Host and port, or path.
        address: String,
        /// How it ended.
        reason: String,
    },
    /// The status of the answer is not 101 (RFC 6455 4.1 item 1), or over HTTP/2 not 2xx.
    #[error("{address} answered {status} {phrase} instead of opening a WebSocket{hint}")]
    Status {
        /// Host and port, or path.
        address: String,
        /// The status.
        status: u16,
        /// Its name.
        phrase: String,
        /// What to do.
        hint: String,
        /// Names and values in order.
        headers: Vec<(String, String)>,
        /// The beginning of the body.
        body: Vec<u8>,
    },
    /// The answer is not an acceptable opening handshake (RFC 6455 4.1).
    #[error("{address} answered no acceptable WebSocket handshake: {reason}")]
    Answer {
        /// Host and port, or path.
        address: String,
        /// The rule that it breaks.
        reason: String,
    },
}

impl ConnectError {
    /// The system refuses what each connection needs.
    pub fn of_system(error: &io::Error) -> Self {
        let remedy = if has_no_descriptors(error) {
            "; close connections or files, or raise the limit (ulimit -n)"
        } else {
            ""
        };
        Self::System { reason: strerror(error), remedy }
    }

    /// The side that can do something about it.
    pub fn kind(&self) -> ConnectErrorKind {
        match self {
            Self::Url { .. }
            | Self::ProxyUrl { .. }
            | Self::Header { .. }
            | Self::Subprotocol(_)
            | Self::File(_)
            | Self::ClientCertificate(_) => ConnectErrorKind::Argument,
            Self::TimedOut { .. } => ConnectErrorKind::Timeout,
            Self::Status { .. } => ConnectErrorKind::Status,
            Self::ToProxy(_, error) if error.kind() == ConnectErrorKind::Timeout => {
                ConnectErrorKind::Timeout
            }
            Self::ToProxy(..) | Self::Proxy { .. } => ConnectErrorKind::Proxy,
            _ => ConnectErrorKind::Connection,
        }
    }
}

/// Whether this process, or the system, may not open more files.
pub(super) fn has_no_descriptors(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}
