//! Converts a stream's request to the form that the rest of the server uses.

use std::fmt::Write;

use h2::ext::Protocol;
use http::{
    header::{COOKIE, HOST},
    uri::{Authority, PathAndQuery},
    Method, Request, Uri,
};

use crate::{
    protocol::head::{latin1, Fields, HeadError, HeadLimits, RequestHead, MAX_HEADER_LINE},
    server::http::Framing,
};

/// Makes a head from a request of this version, so that other code need not know both.
///
/// Beside `fields`, it has the lines that HTTP/1.1 would have: some code passes them on or counts
/// them.
pub(super) fn read<T>(request: &Request<T>, version: &str) -> RequestHead {
    let method = request.method().as_str().to_owned();
    let target = target(request.uri());
    let headers = fields(request);
    let bytes = lines(&method, &target, version, &headers);
    RequestHead { method, target, version: version.to_owned(), headers, bytes: bytes.into() }
}

/// The path with the query; the authority where there is none, as in a plain CONNECT.
fn target(uri: &Uri) -> String {
    let target = uri.path_and_query().map(PathAndQuery::as_str).or(authority(uri));
    let target = target.unwrap_or_default();
    match target.strip_prefix("//") {
        Some(rest) => format!("/{}", rest.trim_start_matches('/')),
        None => target.to_owned(),
    }
}

fn authority(uri: &Uri) -> Option<&str> {
    uri.authority().map(Authority::as_str)
}

/// The fields, with `Host` from `:authority`, and one `Cookie` from several (RFC 9113 8.2.3).
///
/// The request of a WebSocket keeps its pseudo-headers: under their names and, as handlers for
/// web-platform-tests know all but `:protocol`, without the colon.
fn fields<T>(request: &Request<T>) -> Fields {
    let (uri, authority) = (request.uri(), authority(request.uri()));
    let mut fields = Fields::default();
    if let Some(protocol) = request.extensions().get::<Protocol>() {
        for (name, value) in [
            (":method", request.method().as_str()),
            (":scheme", uri.scheme_str().unwrap_or_default()),
            (":authority", authority.unwrap_or_default()),
            (":path", uri.path_and_query().map_or("", PathAndQuery::as_str)),
        ] {
            fields.push(name, value);
            let bare = &name[1..];
            // a header of the client's own is what it is
            if !request.headers().contains_key(bare) {
                fields.push(bare, value);
            }
        }
        fields.push(":protocol", protocol.as_str());
    }
    if let Some(authority) = authority {
        fields.push("host", authority);
    }
    let mut cookies = String::new();
    for (name, value) in request.headers() {
        let value = latin1(value.as_bytes());
        if *name == COOKIE {
            let separator = if cookies.is_empty() { "" } else { "; " };
            cookies = cookies + separator + &value;
            continue;
        }
        let is_known = *name == HOST
            && authority.is_some_and(|authority| authority.eq_ignore_ascii_case(&value));
        if !is_known {
            fields.push(name.as_str(), &value);
        }
    }
    if !cookies.is_empty() {
        fields.push("cookie", &cookies);
    }
    fields
}

/// The head as HTTP/1.1 writes it, a byte for each character.
fn lines(method: &str, target: &str, version: &str, fields: &Fields) -> Vec<u8> {
    let mut text = format!("{method} {target} {version}\r\n");
    for (name, value) in fields.iter() {
        // writing to a string does not fail
        let _ = write!(text, "{name}: {value}\r\n");
    }
    text.push_str("\r\n");
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect()
}

/// Whether a request is malformed in a way that `h2` lets pass: a `:protocol` with characters that
/// no field may have, a value with white space around it (RFC 9113 8.2.1), or a `:path` that is none
/// (RFC 9113 8.3.1).
pub(super) fn is_malformed<T>(request: &Request<T>) -> bool {
    let protocol = request.extensions().get::<Protocol>();
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let mut values = request.headers().values().map(http::HeaderValue::as_bytes);
    let is_padded = values.any(|value| is_space(value.first()) || is_space(value.last()));
    let is_path = request.uri().path_and_query().is_none_or(|path| {
        let path = path.as_str();
        path.starts_with('/') || path == "*" && request.method() == Method::OPTIONS
    });
    is_padded
        || !is_path
        || protocol.is_some_and(|protocol| protocol.as_str().contains(char::is_control))
}

/// Checks the size of a head by the rules for HTTP/1.1.
pub(super) fn check(head: &RequestHead, limits: &HeadLimits) -> Result<(), HeadError> {
    let mut lines = head.lines().map(<[u8]>::len);
    if lines.next().is_some_and(|length| length > limits.request_line_bytes) {
        return Err(HeadError::UriTooLong);
    }
    let (mut count, mut bytes) = (0, 0);
    for length in lines {
        if length > MAX_HEADER_LINE {
            return Err(HeadError::LineTooLong);
        }
        count += 1;
        bytes += length;
    }
    // count the empty line as well, as for HTTP/1.1
    if count > limits.header_lines {
        return Err(HeadError::TooManyHeaders);
    }
    if bytes > limits.header_bytes {
        return Err(HeadError::HeadersTooLarge);
    }
    Ok(())
}

/// How long the body is, as far as it is known before the end.
pub(super) fn framing<T>(head: &RequestHead, request: &Request<T>, has_body: bool) -> Framing {
    match Framing::of(head) {
        Framing::None if has_body && request.method() != Method::CONNECT => Framing::Chunked,
        framing => framing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::head::{HTTP_2, HTTP_3};

    fn request(headers: &[(&str, &str)]) -> Request<()> {
        let mut request = Request::builder().method("GET").uri("https://h:1//a?b=c");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).expect("valid")
    }

    #[test]
    fn a_head_has_what_one_of_http_1_1_has() {
        let fields = [("cookie", "a=b"), ("host", "H:1"), ("x-y", "1"), ("cookie", "c=d")];
        let head = read(&request(&fields), HTTP_2);
        assert_eq!(head.target, "/a?b=c");
        assert_eq!(head.header("Host"), Some("h:1"));
        assert!(head.names_one_host());
        assert_eq!(head.header("Cookie"), Some("a=b; c=d"));
        assert_eq!(head.lines().next(), Some(&b"GET /a?b=c HTTP/2\r\n"[..]));
        assert_eq!(Framing::of(&head), Framing::None);
        let other = read(&request(&[("host", "other")]), HTTP_3);
        assert!(other.is_on_stream() && other.bytes.starts_with(b"GET /a?b=c HTTP/3\r\n"));
        assert!(!other.names_one_host());
    }

    #[test]
    fn limits_are_those_of_http_1_1() {
        let head = read(&request(&[("a", "1"), ("b", "2")]), HTTP_2);
        let limits = HeadLimits::NONE;
        assert_eq!(check(&head, &limits), Ok(()));
        let lines = |header_lines| check(&head, &HeadLimits { header_lines, ..limits });
        assert_eq!((lines(4), lines(3)), (Ok(()), Err(HeadError::TooManyHeaders)));
        let short = HeadLimits { request_line_bytes: 9, ..limits };
        assert_eq!(check(&head, &short), Err(HeadError::UriTooLong));
        let small = HeadLimits { header_bytes: 9, ..limits };
        assert_eq!(check(&head, &small), Err(HeadError::HeadersTooLarge));
    }
}
