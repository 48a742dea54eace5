//! What the fuzz target of HTTP/2's heads checks; see [`crate::fuzzing`].

use h2::ext::Protocol;
use http::{HeaderName, HeaderValue, Request};

use super::head::{check, framing, is_malformed, read};
use crate::{
    protocol::head::{latin1, HeadError, HeadLimits, HTTP_2},
    server::http::Framing,
};

/// Reads the head of a stream. The first line of the input has the method, the URI and the
/// `:protocol`; the others are fields, as far as `h2` would pass them on.
///
/// # Panics
/// If an invariant is broken.
pub fn stream_head(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let first = lines.next().map(latin1).unwrap_or_default();
    let mut words = first.splitn(3, ' ');
    let mut request = Request::builder()
        .method(words.next().unwrap_or_default())
        .uri(words.next().unwrap_or_default());
    if let Some(protocol) = words.next() {
        request = request.extension(Protocol::from(protocol));
    }
    for line in lines {
        let end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        let name = HeaderName::from_lowercase(&line[..end]);
        let value = HeaderValue::from_bytes(line.get(end + 1..).unwrap_or_default());
        if let (Ok(name), Ok(value)) = (name, value) {
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(()) else { return };
    if is_malformed(&request) {
        return;
    }

    let head = read(&request, HTTP_2);
    assert!(!head.target.starts_with("//"), "a target without a host");
    assert_eq!(head.lines().count(), head.headers.len() + 2, "each field is one line");
    for line in head.lines() {
        assert!(line.ends_with(b"\r\n") && !line[..line.len() - 2].contains(&b'\r'));
    }
    let named = |name: &str| head.headers.iter().filter(|(key, _)| *key == name).count();
    assert!(named("cookie") <= 1, "cookies are joined (RFC 9113 8.2.3)");
    for name in request.headers().keys() {
        let is_empty_cookie = name == "cookie" && head.header("cookie").is_none();
        assert!(head.header(name.as_str()).is_some() || is_empty_cookie, "{name} is lost");
    }
    assert!(matches!(check(&head, &HeadLimits::NONE), Ok(()) | Err(HeadError::LineTooLong)));
    if request.method() == http::Method::CONNECT {
        assert_eq!(framing(&head, &request, true), Framing::of(&head));
    }
}
