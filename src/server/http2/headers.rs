//! What differs between the headers of an answer over HTTP/1.1 and over HTTP/2.

use std::time::SystemTime;

use http::{header, HeaderMap, HeaderValue};

/// Headers for a connection of HTTP/1.1, which a stream must not have (RFC 9113 8.2.2).
pub(super) const CONNECTION_HEADERS: [&str; 5] =
    ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"];

/// Adds the date, which every answer must have (RFC 9110 6.6.1). Over HTTP/1.1, hyper does.
pub(super) fn add_date(headers: &mut HeaderMap) {
    if let Ok(date) = HeaderValue::from_str(&httpdate::fmt_http_date(SystemTime::now())) {
        headers.entry(header::DATE).or_insert(date);
    }
}
