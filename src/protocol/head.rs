//! The request head: request line and headers (RFC 9112), read as leniently as Python's
//! `http.server` and `email` read it, since tests of clients send obsolete folding, bare line feeds,
//! NUL and Latin-1, which httparse refuses.

mod fields;
mod limits;

use std::{borrow::Cow, ops::Range};

pub use fields::Fields;
use limits::USUAL_LINES;
pub use limits::{HeadError, HeadLimits, MAX_HEADER_LINE};

/// A request head, with its bytes decoded as Latin-1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// Such as `GET`.
    pub method: String,
    /// The request target, unchanged except for repeated slashes at its beginning.
    pub target: String,
    /// Such as `HTTP/1.1`.
    pub version: String,
    /// Names and values in order. Values are trimmed; a folded value keeps its line ends.
    pub headers: Fields,
    /// The whole head as received, including line ends.
    pub bytes: Box<[u8]>,
}

/// The version of a request over HTTP/2 (RFC 9113); no request line can have it.
pub const HTTP_2: &str = "HTTP/2";

/// The version of a request over HTTP/3 (RFC 9114).
pub const HTTP_3: &str = "HTTP/3";

impl RequestHead {
    /// The lines as received, including line ends.
    pub fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|byte| *byte == b'\n')
    }

    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.values(name).next()
    }

    /// The values of a header that is a list, joined (RFC 9110 5.3).
    pub fn list_header(&self, name: &str) -> Option<String> {
        let mut values = self.headers.values(name);
        let mut joined = values.next()?.to_owned();
        for value in values {
            joined.push_str(", ");
            joined.push_str(value);
        }
        Some(joined)
    }

    /// Whether the request has exactly one Host header, with the name of a host, if it must have one.
    /// With two, a proxy in between may have used the other one (RFC 9112 3.2).
    pub fn names_one_host(&self) -> bool {
        let mut hosts = self.headers.values("Host");
        match (hosts.next(), hosts.next()) {
            (None, _) => !self.is_http_1_1(),
            (Some(host), None) => may_name_host(host),
            (Some(_), Some(_)) => false,
        }
    }

    /// Whether the request came on a stream of HTTP/2 or HTTP/3, which open WebSocket connections in
    /// the same way.
    pub fn is_on_stream(&self) -> bool {
        self.version == HTTP_2 || self.version == HTTP_3
    }

    /// Whether the client supports HTTP/1.1; a later HTTP/1 version counts as well.
    pub fn is_http_1_1(&self) -> bool {
        let numbers = self.version.strip_prefix("HTTP/").and_then(|text| text.split_once('.'));
        let parse = |digits: &str| digits.parse::<u64>().unwrap_or(0);
        numbers.is_some_and(|(major, minor)| parse(major) == 1 && parse(minor) >= 1)
    }
}

/// Whether a host and a port may have these characters (RFC 3986 3.2.2). A program that takes the
/// value for a part of a URI would read others as the beginning of a path, or as a user's name.
/// Some clients do not encode letters beyond ASCII.
fn may_name_host(value: &str) -> bool {
    value.chars().all(|c| !c.is_ascii() || c.is_ascii_alphanumeric() || HOST_MARKS.contains(c))
}

const HOST_MARKS: &str = "-._~!$&'()*+,;=%:[]";

/// The number of bytes of empty lines before a request. Some clients send them after a body, and a
/// server ignores them (RFC 9112 2.2).
pub fn empty_lines(buffer: &[u8]) -> usize {
    let mut rest = buffer;
    while let [b'\r', b'\n', behind @ ..] | [b'\n', behind @ ..] = rest {
        rest = behind;
    }
    buffer.len() - rest.len()
}

/// Finds the end of a head in a buffer that grows.
#[derive(Debug, Default)]
pub struct HeadReader {
    limits: HeadLimits,
    /// Complete lines so far.
    lines: Vec<Range<usize>>,
    /// Where the next line begins.
    line_start: usize,
    /// Where to continue the search for the end of that line.
    searched: usize,
}

impl HeadReader {
    /// A reader with the operator's limits.
    pub fn new(limits: HeadLimits) -> Self {
        Self { limits, lines: Vec::with_capacity(USUAL_LINES), ..Self::default() }
    }

    /// Reads `buffer`, which begins with the bytes of the last call. Returns the head and its
    /// length when it is complete.
    ///
    /// # Errors
    /// If the head is too large or its request line is invalid.
    pub fn poll(&mut self, buffer: &[u8]) -> Result<Option<(RequestHead, usize)>, HeadError> {
        // these bytes begin every ClientHello (RFC 8446 5.1)
        if self.lines.is_empty() && matches!(buffer, [0x16, 3, 0..=4, ..]) {
            return Err(HeadError::Tls);
        }
        while let Some(found) = buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
            let end = self.searched + found + 1;
            let line = self.line_start..end;
            self.searched = end;
            self.line_start = end;
            let blank = matches!(&buffer[line.clone()], b"\n" | b"\r\n");
            self.lines.push(line);
            self.check_size()?;
            if blank {
                return self.parse(buffer).map(|head| Some((head, self.line_start)));
            }
        }
        self.searched = buffer.len();
        self.check_line(self.lines.len(), self.line_start..buffer.len())?;
        Ok(None)
    }

    /// Takes the bytes so far as the whole head, because the peer will send no more.
    ///
    /// # Errors
    /// As [`Self::poll`].
    pub fn finish(mut self, buffer: &[u8]) -> Result<(RequestHead, usize), HeadError> {
        if let Some(whole) = self.poll(buffer)? {
            return Ok(whole);
        }
        if self.line_start < buffer.len() {
            self.lines.push(self.line_start..buffer.len());
        }
        self.parse(buffer).map(|head| (head, buffer.len()))
    }

    fn check_size(&self) -> Result<(), HeadError> {
        let index = self.lines.len() - 1;
        self.check_line(index, self.lines[index].clone())?;
        if index > self.limits.header_lines {
            return Err(HeadError::TooManyHeaders);
        }
        Ok(())
    }

    /// Checks a line, which may be incomplete; the first one is the request line.
    fn check_line(&self, index: usize, line: Range<usize>) -> Result<(), HeadError> {
        let Some(first) = self.lines.first().filter(|_| index > 0) else {
            let is_too_long = line.len() > self.limits.request_line_bytes;
            return if is_too_long { Err(HeadError::UriTooLong) } else { Ok(()) };
        };
        if line.len() > MAX_HEADER_LINE {
            return Err(HeadError::LineTooLong);
        }
        if line.end - first.end > self.limits.header_bytes {
            return Err(HeadError::HeadersTooLarge);
        }
        Ok(())
    }

    fn parse(&self, buffer: &[u8]) -> Result<RequestHead, HeadError> {
        let bytes = &buffer[..self.lines.last().map_or(0, |line| line.end)];
        // nearly every head is ASCII, which needs no decoding
        let text = std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii());
        let text = text.map_or_else(|| Cow::Owned(latin1(bytes)), Cow::Borrowed);
        let mut lines = text.split_inclusive('\n');
        let (method, target, version) = parse_request_line(lines.next().unwrap_or_default())?;
        let headers = fields::parse(lines, bytes.len(), self.lines.len());
        Ok(RequestHead { method, target, version, headers, bytes: bytes.into() })
    }
}

/// Decodes ISO-8859-1, which gives every byte a character.
pub fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

/// Splits a request line at white space, as Python's `str.split` finds it in Latin-1.
fn parse_request_line(line: &str) -> Result<(String, String, String), HeadError> {
    let line = line.trim_end_matches(['\r', '\n']);
    let is_space = |c: char| matches!(c, '\t'..='\r' | '\x1c'..='\x1f' | ' ' | '\u{85}' | '\u{a0}');
    let words: Vec<&str> = line.split(is_space).filter(|word| !word.is_empty()).collect();
    let [method, target, rest @ ..] = words.as_slice() else {
        return Err(HeadError::BadSyntax(printable(line)));
    };
    let Some(version) = rest.last() else {
        // HTTP/0.9 has no version, and no WebSocket client uses it
        return Err(HeadError::BadSyntax(printable(line)));
    };
    check_version(version)?;
    if rest.len() > 1 {
        return Err(HeadError::BadSyntax(printable(line)));
    }
    let target = match target.strip_prefix("//") {
        Some(rest) => format!("/{}", rest.trim_start_matches('/')),
        None => (*target).to_owned(),
    };
    Ok(((*method).to_owned(), target, (*version).to_owned()))
}

fn check_version(version: &str) -> Result<(), HeadError> {
    let bad = || HeadError::BadVersion(printable(version));
    let numbers = version.strip_prefix("HTTP/").ok_or_else(bad)?;
    let (major, minor) = numbers.split_once('.').ok_or_else(bad)?;
    let number = |digits: &str| {
        let plain = digits.len() <= 10 && digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<u64>().ok()).flatten()
    };
    match (number(major), number(minor)) {
        (Some(2..), Some(_)) => Err(HeadError::UnsupportedVersion(printable(numbers))),
        (Some(_), Some(_)) => Ok(()),
        _ => Err(bad()),
    }
}

/// Prepares a text for an answer or a log line: without control characters, and not too long.
fn printable(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<(RequestHead, usize)>, HeadError> {
        HeadReader::default().poll(bytes)
    }

    fn headers(block: &str) -> Vec<(String, String)> {
        let bytes = format!("GET / HTTP/1.1\r\n{block}\r\n\r\n").into_bytes();
        read(&bytes).expect("valid").expect("whole").0.headers.to_pairs()
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.into(), value.into())
    }

    #[test]
    fn any_partition_gives_the_same_head() {
        let bytes = b"GET /echo?q HTTP/1.1\r\nHost: h\r\nA: 1,\r\n 2\r\n\r\nrest";
        let whole = read(bytes).expect("valid").expect("whole");
        assert_eq!(whole.1, bytes.len() - 4);
        let mut reader = HeadReader::default();
        for end in 0..whole.1 {
            assert_eq!(reader.poll(&bytes[..end]), Ok(None), "{end}");
        }
        assert_eq!(reader.poll(&bytes[..whole.1]), Ok(Some(whole)));
    }

    #[test]
    fn reads_headers_as_the_email_package_does() {
        assert_eq!(headers("A:1\r\nB:  2 \t"), [pair("A", "1"), pair("B", "2")]);
        assert_eq!(headers("A: 1,\r\n\t2"), [pair("A", "1,\r\n\t2")]);
        assert_eq!(headers(": x\r\nA: 1"), [pair("A", "1")]);
        // a name with a space, or with a Latin-1 letter, ends the headers
        assert_eq!(headers("A: 1\r\nB : 2\r\nC: 3"), [pair("A", "1")]);
        assert_eq!(headers("A: 1\r\nno colon\r\nC: 3"), [pair("A", "1")]);
        assert_eq!(headers(" folded\r\nA: 1"), [pair("A", "1")]);
        // a bare CR ends a line
        assert_eq!(headers("A: 1\rB: 2\r\nC: 3"), [pair("A", "1"), pair("B", "2"), pair("C", "3")]);
        assert_eq!(headers("A: x\0y"), [pair("A", "x\0y")]);
    }

    #[test]
    fn joins_list_headers() {
        let bytes = b"GET / HTTP/1.1\nA: 1\nB: 2\na: 3\n\n";
        let (head, _) = read(bytes).expect("valid").expect("whole");
        assert_eq!(head.header("A"), Some("1"));
        assert_eq!(head.list_header("A"), Some("1, 3".into()));
        assert_eq!(head.list_header("C"), None);
    }

    #[test]
    fn limits_lines_and_their_number() {
        let line = |size: usize| [vec![b'x'; size - 2], b"\r\n".to_vec()].concat();
        assert_eq!(read(&line(65537)), Err(HeadError::UriTooLong));
        assert_eq!(read(&vec![b'x'; 65537]), Err(HeadError::UriTooLong));
        let start = b"GET / HTTP/1.1\r\n".to_vec();
        assert_eq!(
            read(&[start.clone(), line(MAX_HEADER_LINE + 1)].concat()),
            Err(HeadError::LineTooLong)
        );
        let many =
            |count: usize| [start.clone(), b"a:b\r\n".repeat(count), b"\r\n".to_vec()].concat();
        assert!(matches!(read(&many(99)), Ok(Some(_))));
        assert_eq!(read(&many(100)), Err(HeadError::TooManyHeaders));
    }

    #[test]
    fn tells_tls_before_a_line_of_it_has_come() {
        assert_eq!(read(b"\x16\x03"), Ok(None));
        assert_eq!(read(b"\x16\x03\x01"), Err(HeadError::Tls));
    }

    #[test]
    fn the_operator_sets_the_limits() {
        let limits = HeadLimits { request_line_bytes: 16, header_bytes: 11, header_lines: 3 };
        let read = |bytes: &str| HeadReader::new(limits).poll(bytes.as_bytes()).map(|_| ());
        // a request line of 16 bytes, headers of 11 with the blank line
        assert_eq!(read("GET / HTTP/1.1\r\na: 1\r\nb:2\n\n"), Ok(()));
        assert_eq!(read("GET /a HTTP/1.1\r\n"), Err(HeadError::UriTooLong));
        assert_eq!(read("GET /aaaaaaaaaaaa"), Err(HeadError::UriTooLong));
        assert_eq!(read("GET / HTTP/1.1\r\na: 1\r\nb: 2\n\n"), Err(HeadError::HeadersTooLarge));
        // before its end has come
        assert_eq!(read("GET / HTTP/1.1\r\na: 1\r\nb: 23456"), Err(HeadError::HeadersTooLarge));
        assert_eq!(read("GET / HTTP/1.1\r\na:\nb:\nc:\n\n"), Err(HeadError::TooManyHeaders));
    }

    #[test]
    fn refuses_request_lines_that_http_server_refuses() {
        let line = |line: &str| read(format!("{line}\r\n\r\n").as_bytes()).map(|_| ());
        assert_eq!(line("GET /  HTTP/1.1 "), Ok(()));
        assert_eq!(line("GET\t/\tHTTP/01.1"), Ok(()));
        assert_eq!(line("GET / HTTP/2.0"), Err(HeadError::UnsupportedVersion("2.0".into())));
        assert_eq!(line("GET / http/1.1"), Err(HeadError::BadVersion("http/1.1".into())));
        assert_eq!(line("GET / HTTP/1.1 x"), Err(HeadError::BadVersion("x".into())));
        assert!(matches!(line("GET /"), Err(HeadError::BadSyntax(_))));
        assert!(matches!(line(""), Err(HeadError::BadSyntax(_))));
    }

    #[test]
    fn a_head_may_end_with_the_stream() {
        let head = HeadReader::default().finish(b"GET // HTTP/1.1\r\nHost: h").expect("valid").0;
        assert_eq!((head.target.as_str(), head.header("host")), ("/", Some("h")));
    }
}
