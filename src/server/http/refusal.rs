//! HTTP answers that the server writes itself: refusals, with a page for people.

use std::{borrow::Cow, fmt::Write, time::SystemTime};

use super::alternative::ALT_SVC;

/// An answer that refuses a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub status: u16,
    /// The reason phrase; the standard one if `None`.
    pub reason: Option<String>,
    /// Further headers.
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// What it says beside its headers.
    pub content: Content,
}

/// The content of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A page for people.
    Page,
    /// Any bytes. The further headers say what they are.
    Bytes(Vec<u8>),
}

impl Refusal {
    /// A refusal with the standard reason phrase.
    pub fn new(status: u16) -> Self {
        Self { status, reason: None, headers: Vec::new(), content: Content::Page }
    }

    /// A refusal that says everything in its headers.
    pub fn without_page(status: u16) -> Self {
        Self { content: Content::Bytes(Vec::new()), ..Self::new(status) }
    }

    /// Adds where the client finds HTTP/3, if the server supports it.
    #[must_use]
    pub fn with_alternative(mut self, alternative: Option<String>) -> Self {
        self.headers.extend(alternative.map(|value| (ALT_SVC.into(), value)));
        self
    }

    /// The body, and the headers that the server gives it: none that stand in `headers` too.
    pub(in crate::server) fn parts(&self) -> (Vec<u8>, Vec<(&'static str, String)>) {
        let mut headers = vec![
            ("Server", SERVER.to_owned()),
            ("Date", httpdate::fmt_http_date(SystemTime::now())),
        ];
        let body = match &self.content {
            Content::Page => {
                headers.push(("Content-Type", "text/html;charset=utf-8".to_owned()));
                error_page(self.status, self.reason()).into_bytes()
            }
            Content::Bytes(bytes) => bytes.clone(),
        };
        let body = if self.may_have_content() { body } else { Vec::new() };
        headers.retain(|(name, _)| {
            !self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name))
        });
        (body, headers)
    }

    /// Whether an answer with this status may have content (RFC 9110 6.4.1, 15.3.6).
    fn may_have_content(&self) -> bool {
        !matches!(self.status, 204 | 205 | 304)
    }

    fn reason(&self) -> &str {
        self.reason.as_deref().unwrap_or_else(|| standard_reason(self.status))
    }

    /// Formats the whole answer. The connection is closed after it (RFC 9112 9.6).
    pub fn format(&self, with_body: bool) -> Vec<u8> {
        let (body, headers) = self.parts();
        let mut text = format!(
            "HTTP/1.1 {} {}\r\nConnection: close\r\n",
            self.status,
            self.reason().replace(['\r', '\n'], " "),
        );
        // RFC 9110 8.6: a 204 must not have it, and of a 304 it would be the length of the page
        if !matches!(self.status, 204 | 304) {
            let _ = write!(text, "Content-Length: {}\r\n", body.len());
        }
        let own = self.headers.iter().map(|(name, value)| (&**name, value));
        for (name, value) in headers.iter().map(|(name, value)| (*name, value)).chain(own) {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        }
        text.push_str("\r\n");
        let mut bytes = text.into_bytes();
        if with_body {
            bytes.extend_from_slice(&body);
        }
        bytes
    }
}

/// The Server header's value.
pub(in crate::server) const SERVER: &str = concat!("fastwsh/", env!("CARGO_PKG_VERSION"));

/// The page that says why a request was refused, in the words of Python's `http.server`.
pub(in crate::server) fn error_page(status: u16, message: &str) -> String {
    let message = escape_text(message);
    let explanation = explanation(status);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <title>{status} {message}</title>\n</head>\n<body>\n<h1>Error response</h1>\n\
         <p>Error code: {status}</p>\n<p>Message: {message}.</p>\n\
         <p>Error code explanation: {status} - {explanation}.</p>\n</body>\n</html>\n"
    )
}

/// Escapes text that stands between tags; quotation marks stay as they are.
pub(in crate::server) fn escape_text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The reason phrase that goes with a status code.
pub(in crate::server) fn standard_reason(status: u16) -> &'static str {
    http::StatusCode::from_u16(status)
        .ok()
        .and_then(|code| code.canonical_reason())
        .unwrap_or("Error")
}

fn explanation(status: u16) -> &'static str {
    match status {
        400 => "Bad request syntax or unsupported method",
        403 => "Request forbidden -- authorization will not help",
        404 => "Nothing matches the given URI",
        405 => "Specified method is invalid for this resource",
        414 => "URI is too long",
        431 => {
            "The server is unwilling to process the request because its header fields are too large"
        }
        501 => "Server does not support this operation",
        503 => "The server cannot process the request due to a high load",
        505 => "Cannot fulfill request",
        status => standard_reason(status),
    }
}
