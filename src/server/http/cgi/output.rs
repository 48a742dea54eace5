//! The header of a program's response (RFC 3875 6.3).

use http::{header, HeaderName, HeaderValue, StatusCode};
use thiserror::Error;

/// Longest header; pywebsocket's users set large cookies.
pub(super) const MAX_HEADER_BYTES: usize = 256 * 1024;

/// The reason phrase that pywebsocket gives to every response of a program.
const USUAL_REASON: &str = "Script output follows";

/// Headers of the program that are not passed on: those for the connection, which belongs to the
/// server, and the length, which may be wrong.
const NOT_PASSED: [HeaderName; 6] = [
    header::CONNECTION,
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// A header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScriptHead {
    pub(super) status: StatusCode,
    pub(super) reason: Option<String>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// A path on this server with which to answer instead.
    pub(super) local_redirect: Option<String>,
}

/// Why the output is not a response.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum BadOutput {
    /// No output, and an exit status that says why.
    #[error("no output, {0}")]
    Nothing(String),
    /// Neither a header line nor a blank one.
    #[error("not a header line: {0:?}")]
    NoHeader(String),
    /// No final status code.
    #[error("not a status: {0:?}")]
    BadStatus(String),
    /// The header does not end.
    #[error("header longer than {MAX_HEADER_BYTES} bytes")]
    TooLong,
}

impl ScriptHead {
    /// The header for a program that writes nothing and ends successfully.
    pub(super) fn of_nothing() -> Self {
        Self {
            status: StatusCode::OK,
            reason: Some(USUAL_REASON.to_owned()),
            headers: Vec::new(),
            local_redirect: None,
        }
    }

    /// Reads a header and its length. Returns `None` if the header is incomplete.
    ///
    /// # Errors
    /// If the output is not a header.
    pub(super) fn parse(output: &[u8]) -> Result<Option<(Self, usize)>, BadOutput> {
        let (mut lines, mut told) = (Vec::new(), None);
        let mut start = 0;
        while let Some(found) = output[start..].iter().position(|byte| *byte == b'\n') {
            let line = &output[start..start + found];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            start += found + 1;
            if start > MAX_HEADER_BYTES {
                return Err(BadOutput::TooLong);
            }
            if line.is_empty() {
                return Self::read(&lines, told).map(|head| Some((head, start)));
            }
            match status_line(line) {
                // from programs that were written for "non-parsed headers" (RFC 3875 5)
                Some(status) if lines.is_empty() && told.is_none() => told = Some(status),
                _ => lines.push(parse_line(line)?),
            }
        }
        if output.len() > MAX_HEADER_BYTES {
            return Err(BadOutput::TooLong);
        }
        Ok(None)
    }

    fn read(lines: &[(HeaderName, HeaderValue)], line: Option<&[u8]>) -> Result<Self, BadOutput> {
        let mut head = Self::of_nothing();
        let mut told = line.is_some();
        if let Some(status) = line {
            (head.status, head.reason) = parse_status(status)?;
        }
        for (name, value) in lines {
            if name.as_str() == "status" {
                (head.status, head.reason) = parse_status(value.as_bytes())?;
                told = true;
            } else if is_passed(name, value) {
                head.headers.push((name.clone(), value.clone()));
            }
        }
        let location = head.headers.iter().find(|(name, _)| name == header::LOCATION);
        if let (Some((_, location)), false) = (location, told) {
            let local = location.to_str().ok().filter(|location| {
                location.starts_with('/') && !location.starts_with("//") && head.headers.len() == 1
            });
            head.local_redirect = local.map(str::to_owned);
            (head.status, head.reason) = (StatusCode::FOUND, None);
        }
        Ok(head)
    }
}

fn parse_line(line: &[u8]) -> Result<(HeaderName, HeaderValue), BadOutput> {
    let bad = || BadOutput::NoHeader(String::from_utf8_lossy(&line[..line.len().min(80)]).into());
    let colon = line.iter().position(|byte| *byte == b':').ok_or_else(bad)?;
    let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| bad())?;
    let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| bad())?;
    Ok((name, value))
}

/// The part of a status line after the version (RFC 9112 4).
fn status_line(line: &[u8]) -> Option<&[u8]> {
    let version = line.strip_prefix(b"HTTP/")?;
    let space = version.iter().position(|byte| *byte == b' ')?;
    let is_version = version[..space].iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    is_version.then(|| version[space..].trim_ascii())
}

fn parse_status(value: &[u8]) -> Result<(StatusCode, Option<String>), BadOutput> {
    let bad =
        || BadOutput::BadStatus(String::from_utf8_lossy(&value[..value.len().min(80)]).into());
    let text = std::str::from_utf8(value).map_err(|_| bad())?;
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    let status = StatusCode::from_bytes(code.as_bytes()).map_err(|_| bad())?;
    // an interim answer (1xx) must be followed by a final one, which a program cannot give
    if !(200..600).contains(&status.as_u16()) {
        return Err(bad());
    }
    let reason = reason.trim();
    Ok((status, (!reason.is_empty()).then(|| reason.to_owned())))
}

fn is_passed(name: &HeaderName, value: &HeaderValue) -> bool {
    if name == header::CONTENT_LENGTH {
        return value.to_str().is_ok_and(|length| length.parse::<u64>().is_ok());
    }
    !NOT_PASSED.contains(name) && name.as_str() != "keep-alive"
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(output: &str) -> Result<Option<(ScriptHead, usize)>, BadOutput> {
        ScriptHead::parse(output.as_bytes())
    }

    fn head(output: &str) -> ScriptHead {
        parse(output).unwrap().unwrap().0
    }

    #[test]
    fn ends_at_the_first_blank_line() {
        let (head, length) =
            parse("Content-Type: text/plain\r\nX-A:1\n\nbody\n\n").unwrap().unwrap();
        assert_eq!(length, "Content-Type: text/plain\r\nX-A:1\n\n".len());
        assert_eq!(head.status, StatusCode::OK);
        assert_eq!(head.reason.as_deref(), Some("Script output follows"));
        assert_eq!(head.headers.len(), 2);
        assert_eq!(
            head.headers[1],
            (HeaderName::from_static("x-a"), HeaderValue::from_static("1"))
        );
        assert_eq!(parse("Content-Type: text/plain\r\n"), Ok(None));
        assert_eq!(parse("\nbody").unwrap().unwrap().1, 1);
    }

    #[test]
    fn honours_status() {
        let found = head("Status: 404 Nope\nA: b\n\n");
        assert_eq!((found.status.as_u16(), found.reason.as_deref()), (404, Some("Nope")));
        assert_eq!(found.headers.len(), 1);
        assert_eq!(head("status: 204\n\n").reason, None);
        for status in ["", "abc", "101 Switching", "99", "600", "1000"] {
            let output = format!("Status: {status}\n\n");
            assert!(matches!(parse(&output), Err(BadOutput::BadStatus(_))), "{status}");
        }
    }

    #[test]
    fn takes_a_status_line_for_the_status() {
        let found = head("HTTP/1.0 200 OK\r\nA: b\r\n\r\n");
        assert_eq!((found.status.as_u16(), found.reason.as_deref()), (200, Some("OK")));
        assert_eq!(found.headers.len(), 1);
        let found = head("HTTP/1.1 404 Not here\n\n");
        assert_eq!((found.status.as_u16(), found.reason.as_deref()), (404, Some("Not here")));
        assert_eq!(head("HTTP/2 302\nLocation: /x\n\n").local_redirect, None);
        assert_eq!(head("HTTP/1.0 200 OK\nStatus: 403 No\n\n").status.as_u16(), 403);
        for line in ["HTTP/1.0 100 Continue", "HTTP/1.0 abc", "HTTP/1.0  "] {
            let output = format!("{line}\n\n");
            assert!(matches!(parse(&output), Err(BadOutput::BadStatus(_))), "{line}");
        }
        for output in ["A: b\nHTTP/1.0 200 OK\n\n", "HTTP/x 200 OK\n\n", "HTTP/1.0\n\n"] {
            assert!(matches!(parse(output), Err(BadOutput::NoHeader(_))), "{output:?}");
        }
    }

    #[test]
    fn honours_location() {
        let found = head("Location: http://h/\n\n");
        assert_eq!((found.status, found.local_redirect), (StatusCode::FOUND, None));
        assert_eq!(head("Location: /x?y\n\n").local_redirect.as_deref(), Some("/x?y"));
        // with a cookie, or to another host, it is for the client to follow
        assert_eq!(head("Location: /x\nSet-Cookie: a=b\n\n").local_redirect, None);
        assert_eq!(head("Location: //host/x\n\n").local_redirect, None);
        let found = head("Status: 303 See\nLocation: /x\n\n");
        assert_eq!((found.status, found.local_redirect), (StatusCode::SEE_OTHER, None));
    }

    #[test]
    fn the_connection_is_not_the_programs() {
        let output = "Connection: close\nTransfer-Encoding: chunked\nKeep-Alive: x\n\
                      Content-Length: -1\nContent-Length: 5\n\n";
        assert_eq!(head(output).headers, [(header::CONTENT_LENGTH, HeaderValue::from_static("5"))]);
    }

    #[test]
    fn refuses_what_is_no_header() {
        for output in ["hello\n\n", "a b: c\n\n", ": x\n\n", "A: \u{1}\n\n"] {
            assert!(matches!(parse(output), Err(BadOutput::NoHeader(_))), "{output:?}");
        }
        assert_eq!(parse(&format!("A: {}", "b".repeat(MAX_HEADER_BYTES))), Err(BadOutput::TooLong));
    }

    proptest! {
        #[test]
        fn more_output_changes_nothing(output in proptest::collection::vec(any::<u8>(), 0..200)) {
            let whole = ScriptHead::parse(&output);
            for end in 0..output.len() {
                match ScriptHead::parse(&output[..end]) {
                    Ok(None) => {}
                    early => { prop_assert_eq!(&early, &whole); }
                }
            }
        }

        #[test]
        fn reads_back_what_was_written(
            names in proptest::collection::vec("x-[a-z]{1,8}", 0..5),
            value in "[!-~]{0,20}",
            body in ".*",
        ) {
            let lines: Vec<_> = names.iter().map(|name| format!("{name}: {value}\r\n")).collect();
            let lines = lines.concat();
            let output = format!("{lines}\r\n{body}");
            let (head, length) = ScriptHead::parse(output.as_bytes()).unwrap().unwrap();
            prop_assert_eq!(&output[length..], body.as_str());
            prop_assert_eq!(head.headers.len(), names.len());
        }
    }
}
