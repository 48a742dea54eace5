//! Headers that a handler adds to the answer, and why some are not sent.

use crate::protocol::{grammar, uri};

/// Whether a header's name or value contains nothing that could end its line (RFC 9110 5.5).
pub fn is_header_safe(text: &str) -> bool {
    !text.contains(['\r', '\n', '\0'])
}

/// Why a handler's header is not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderFault {
    /// No header may contain a NUL (RFC 9110 5.5).
    #[error("has a NUL character")]
    Nul,
    /// The text after the line end is not a header. An empty line would end the head of the answer.
    #[error("has a line end that is not followed by another header line")]
    LineEnd,
    /// The line end may come from the client: a handler that copies a part of the URI into a header
    /// would let clients add headers (CWE-113).
    #[error("has a line end, and so has the request's URI: the client may have put it there")]
    FromUri,
}

/// Checks a header that a handler adds to the answer. pywebsocket writes it unchanged, and some
/// handlers put a second header after a line end in the value of the first: that is allowed.
///
/// # Errors
/// If the header would not become one or more complete header lines.
pub fn check_header(name: &str, value: &str, target: &str) -> Result<(), HeaderFault> {
    if is_header_safe(name) && is_header_safe(value) {
        return Ok(());
    }
    if name.contains('\0') || value.contains('\0') {
        return Err(HeaderFault::Nul);
    }
    let lines = format!("{name}: {value}");
    let mut lines = lines.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let is_line = |line: &str| {
        let name = line.split_once(':').map(|(name, _)| name);
        !line.contains('\r') && name.is_some_and(grammar::is_token)
    };
    // some clients take a CR without LF for a line end, others do not
    if value.ends_with('\r') || !lines.all(is_line) {
        return Err(HeaderFault::LineEnd);
    }
    if has_line_end(target) {
        return Err(HeaderFault::FromUri);
    }
    Ok(())
}

/// Whether a URI contains a line end after decoding it any number of times.
///
/// A decoded character may complete another escape, for instance in `%%30a`. Escapes cannot
/// overlap, because `%` is not a hexadecimal digit. So one pass with a stack finds the same as any
/// number of passes.
fn has_line_end(target: &str) -> bool {
    let mut decoded: Vec<u8> = Vec::with_capacity(target.len());
    for byte in target.bytes() {
        decoded.push(byte);
        while let [.., b'%', high, low] = decoded[..] {
            let Some(byte) = uri::hex_byte([high, low]) else { break };
            decoded.truncate(decoded.len() - 3);
            decoded.push(byte);
        }
        if let Some(b'\r' | b'\n') = decoded.last() {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_must_begin_another_header_line() {
        let check = |value| check_header("Set-Cookie", value, "/a?b=c");
        for value in ["a=b", "", "a=b\r\nX-Origin: c", "a=b\nX: ", "a\r\nB:c\r\nD: e: f"] {
            assert_eq!(check(value), Ok(()), "{value:?}");
        }
        for value in [
            "a\r\n",
            "a\r\n\r\nbody",
            "a\nb",
            "a\rB: c",
            "a\r\r\nB: c",
            "a\r",
            "a\r\nB : c",
            "a\r\n folded: c",
            "a\r\n: c",
            "\r\nHTTP/1.1 200 OK",
        ] {
            assert_eq!(check(value), Err(HeaderFault::LineEnd), "{value:?}");
        }
        assert_eq!(check("a\0\r\nB: c"), Err(HeaderFault::Nul));
        assert_eq!(check_header("A: b\r\nC", "d", "/"), Ok(()));
        assert_eq!(check_header("A\r\nC", "d", "/"), Err(HeaderFault::LineEnd));
        assert_eq!(check_header("A\0", "d", "/"), Err(HeaderFault::Nul));
    }

    #[test]
    fn a_line_end_that_may_be_the_clients_is_refused() {
        for target in [
            "/?a=b%0d%0aX:%20c",
            "/%0A",
            "/a\nb",
            "/%250D",
            "/%25250a",
            "/%%30a",
            "/%25%30%61",
            "/%0%61",
            "/%2%35%30%44",
            "/%%3250a",
        ] {
            let fault = check_header("A", "b\r\nX: c", target);
            assert_eq!(fault, Err(HeaderFault::FromUri), "{target:?}");
            assert_eq!(check_header("A", "b", target), Ok(()), "{target:?}");
        }
        for target in
            ["/", "/%", "/%0", "/%0g", "/%2", "/%%0", "/0a", "/%09%0b", "/%c4%8a", "/%+0a"]
        {
            assert_eq!(check_header("A", "b\r\nX: c", target), Ok(()), "{target:?}");
        }
    }

    #[test]
    fn a_uri_that_is_encoded_thousands_of_times_is_judged_in_one_pass() {
        // one pass for each time would take 500,000 over a megabyte: minutes
        let target = format!("/?%{}", "25".repeat(500_000));
        assert!(!has_line_end(&target));
        assert!(has_line_end(&(target + "0a")));
    }
}
