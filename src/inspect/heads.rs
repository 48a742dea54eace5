//! Both heads of an opening handshake.

use std::{net::SocketAddr, sync::OnceLock};

use crate::protocol::head::RequestHead;

/// The request of a connection that is to be watched.
#[derive(Debug, Clone, Copy)]
pub struct WatchedRequest<'a> {
    /// Its head.
    pub head: &'a RequestHead,
    /// The path with its query.
    pub resource: &'a str,
    /// Where its handler runs.
    pub concurrency: &'static str,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// Whether the answer is sent as bytes of the connection, as in HTTP/1.1.
    pub answer_is_bytes: bool,
}

/// The heads of an opening handshake, and what else is known of a connection from its beginning.
#[derive(Debug)]
pub struct Heads {
    /// The path with its query.
    pub resource: String,
    /// The method of the request.
    pub method: String,
    /// The version of HTTP.
    pub version: String,
    /// The headers of the request.
    pub request: Vec<(String, String)>,
    /// Where the handler runs.
    pub concurrency: &'static str,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The client's address.
    pub peer: Option<SocketAddr>,
    /// When the request came, in seconds since 1970.
    pub started: f64,
    answer: OnceLock<(u16, Vec<(String, String)>)>,
}

impl Heads {
    pub(super) fn new(request: &WatchedRequest<'_>, started: f64) -> Self {
        let head = request.head;
        Self {
            resource: request.resource.to_owned(),
            method: head.method.clone(),
            version: head.version.clone(),
            request: head.headers.to_pairs(),
            concurrency: request.concurrency,
            tls: request.tls,
            peer: request.peer,
            started,
            answer: OnceLock::new(),
        }
    }

    /// Keeps the answer; the first one counts.
    pub(super) fn set_answer(&self, status: u16, headers: Vec<(String, String)>) {
        let _ = self.answer.set((status, headers));
    }

    /// Status and headers of the answer, once it has been sent.
    pub fn answer(&self) -> Option<(u16, &[(String, String)])> {
        self.answer.get().map(|(status, headers)| (*status, &headers[..]))
    }

    /// A header of the answer, or nothing.
    pub fn answer_header(&self, name: &str) -> &str {
        let headers = self.answer().map_or(&[][..], |(_, headers)| headers);
        let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map_or("", |(_, value)| value)
    }
}

/// Reads the head of an answer; what cannot be understood is left out.
pub(super) fn parse_answer(head: &[u8]) -> (u16, Vec<(String, String)>) {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    (status.unwrap_or_default(), headers.collect())
}
