//! How long a request's body is (RFC 9112 6.3), and the head from which hyper learns it.
//!
//! hyper and httparse refuse many heads that `RequestHead` accepts. So hyper gets a head that we
//! write, with only the headers that concern framing, and the service reads the real head.

use std::fmt::Write;

use crate::protocol::head::RequestHead;

/// The body of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Framing {
    /// None.
    None,
    /// A body of this length.
    Length(u64),
    /// A chunked body. Only hyper knows where it ends, so this is the last request of the
    /// connection.
    Chunked,
    /// The headers contradict each other, or cannot be understood.
    Bad,
}

impl Framing {
    /// Whether a body follows the head, or may follow.
    pub(in crate::server) fn has_body(self) -> bool {
        !matches!(self, Self::None | Self::Length(0))
    }

    /// Reads the headers.
    pub(in crate::server) fn of(head: &RequestHead) -> Self {
        if hides_length(head) {
            return Self::Bad;
        }
        match (head.list_header("Transfer-Encoding"), head.list_header("Content-Length")) {
            (None, None) => Self::None,
            (None, Some(lengths)) => {
                let mut lengths = lengths.split(',').map(|length| parse_length(trim(length)));
                match lengths.next().flatten() {
                    Some(length) if lengths.all(|other| other == Some(length)) => {
                        Self::Length(length)
                    }
                    _ => Self::Bad,
                }
            }
            (Some(coding), None)
                if coding.eq_ignore_ascii_case("chunked") && head.is_http_1_1() =>
            {
                Self::Chunked
            }
            // both headers at once are a means of request smuggling (RFC 9112 6.1)
            _ => Self::Bad,
        }
    }
}

/// Whether a line looks like a length header but is not valid, as with white space before the
/// colon. A proxy in between may have taken it for a header (RFC 9112 5.1).
fn hides_length(head: &RequestHead) -> bool {
    let is_length = |name: &[u8]| {
        let names: [&[u8]; 2] = [b"content-length", b"transfer-encoding"];
        names.iter().any(|known| name.eq_ignore_ascii_case(known))
    };
    let lines = head.bytes.split(|byte| matches!(byte, b'\r' | b'\n')).skip(1);
    // most lines are not looked through for a colon
    let may_be =
        |line: &&[u8]| matches!(line.trim_ascii_start().first(), Some(b'C' | b'c' | b'T' | b't'));
    let names = lines.filter(may_be).filter_map(|line| line.split(|byte| *byte == b':').next());
    let said = names.filter(|name| is_length(name.trim_ascii())).count();
    said > head.headers.iter().filter(|(name, _)| is_length(name.as_bytes())).count()
}

/// Writes a head for hyper.
pub(super) fn head_for_hyper(head: &RequestHead, framing: Framing) -> Vec<u8> {
    let method = if head.method == "HEAD" { "HEAD" } else { "GET" };
    let version = if head.is_http_1_1() { "HTTP/1.1" } else { "HTTP/1.0" };
    let mut text = format!("{method} / {version}\r\n");
    let asks_for = |option: &str| {
        let options = head.list_header("Connection").unwrap_or_default();
        options.split(',').any(|word| trim(word).eq_ignore_ascii_case(option))
    };
    let last = matches!(framing, Framing::Chunked | Framing::Bad) || asks_for("close");
    if last {
        text.push_str("Connection: close\r\n");
    } else if asks_for("keep-alive") {
        text.push_str("Connection: keep-alive\r\n");
    }
    match framing {
        Framing::Length(length) => {
            // writing to a string does not fail
            let _ = write!(text, "Content-Length: {length}\r\n");
        }
        Framing::Chunked => text.push_str("Transfer-Encoding: chunked\r\n"),
        Framing::None | Framing::Bad => {}
    }
    if head.is_http_1_1() && awaits_continue(head) {
        text.push_str("Expect: 100-continue\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

/// Whether the client may keep the body back until it is told to send it (RFC 9110 10.1.1).
pub(in crate::server) fn awaits_continue(head: &RequestHead) -> bool {
    head.header("Expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue"))
}

/// Without the white space that a list may have (RFC 9110 5.6.3). `str::trim` would also remove
/// characters that a proxy in between takes for a part of the value, such as a vertical tab.
fn trim(element: &str) -> &str {
    element.trim_matches([' ', '\t'])
}

fn parse_length(digits: &str) -> Option<u64> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    // hyper uses the largest numbers for other purposes
    plain.then(|| digits.parse().ok()).flatten().filter(|length| *length < u64::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::head::HeadReader;

    fn head(version: &str, headers: &str) -> RequestHead {
        let bytes = format!("POST /x {version}\r\n{headers}\r\n\r\n");
        HeadReader::default().poll(bytes.as_bytes()).unwrap().unwrap().0
    }

    fn framing(headers: &str) -> Framing {
        Framing::of(&head("HTTP/1.1", headers))
    }

    #[test]
    fn reads_the_length_of_the_body() {
        assert_eq!(framing("A: b"), Framing::None);
        assert_eq!(framing("Content-Length: 5"), Framing::Length(5));
        assert_eq!(framing("Content-Length: 5, 5\r\ncontent-length: 5"), Framing::Length(5));
        assert_eq!(framing("Transfer-Encoding: Chunked"), Framing::Chunked);
    }

    #[test]
    fn refuses_headers_that_leave_the_length_open() {
        for headers in [
            "Content-Length: 5, 6",
            "Content-Length: \u{b}5",
            "Content-Length: 5\u{c}",
            "Content-Length: 5,\u{a0}5",
            "Content-Length: \u{85}5",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: +5",
            "Content-Length: ",
            "Content-Length: 99999999999999999999",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity",
            "Content-Length : 5",
            "A: b\r\n\tContent-Length: 5",
            "no header\r\nTransfer-Encoding: chunked",
        ] {
            assert_eq!(framing(headers), Framing::Bad, "{headers}");
        }
        let old = head("HTTP/1.0", "Transfer-Encoding: chunked");
        assert_eq!(Framing::of(&old), Framing::Bad);
    }

    #[test]
    fn tells_hyper_the_framing_and_nothing_else() {
        let written = |version: &str, headers: &str| {
            let head = head(version, headers);
            String::from_utf8(head_for_hyper(&head, Framing::of(&head))).unwrap()
        };
        assert_eq!(written("HTTP/1.2", "X: \u{1}"), "GET / HTTP/1.1\r\n\r\n");
        assert_eq!(
            written("HTTP/1.0", "Connection: x, Keep-Alive\r\nContent-Length: 3"),
            "GET / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\n"
        );
        assert_eq!(
            written("HTTP/1.1", "Transfer-Encoding: chunked\r\nExpect: 100-Continue"),
            "GET / HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\
             Expect: 100-continue\r\n\r\n"
        );
    }
}
