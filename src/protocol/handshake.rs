//! The opening handshake on the server's side (RFC 6455 4.2).

use base64::{engine::general_purpose::STANDARD, Engine};
use sha1::{Digest, Sha1};

use super::{
    error::HandshakeError,
    extension::{self, Extension},
    grammar,
    head::RequestHead,
    uri,
};

/// The pseudo-header that names the requested protocol (RFC 8441 4).
const PROTOCOL: &str = ":protocol";

/// RFC 6455 1.3.
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// An acceptable opening handshake, before a handler has seen it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// The Sec-WebSocket-Accept value to answer with.
    pub accept: String,
    /// `None`: the client named no subprotocol.
    pub protocols: Option<Vec<String>>,
    /// `None`: the client offered no extension.
    pub extensions: Option<Vec<Extension>>,
}

impl Opening {
    /// Whether a request is meant to open a WebSocket connection, even if it is not valid.
    pub fn is_meant(head: &RequestHead) -> bool {
        if head.is_http_2() {
            return head.header(PROTOCOL) == Some("websocket");
        }
        let is_ours = |value: &str| value.to_ascii_lowercase().contains("websocket");
        head.header("Upgrade").is_some_and(is_ours)
    }

    /// Checks a request head, in pywebsocket's order.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(head: &RequestHead) -> Result<Self, HandshakeError> {
        if head.is_http_2() {
            return Self::check_connect(head);
        }
        if head.method != "GET" {
            return Err(HandshakeError::Method(head.method.clone()));
        }
        if head.version != "HTTP/1.1" {
            return Err(HandshakeError::HttpVersion(head.version.clone()));
        }
        let upgrade = head.header("Upgrade").ok_or(HandshakeError::Missing("Upgrade"))?;
        if !upgrade.eq_ignore_ascii_case("websocket") {
            return Err(HandshakeError::Upgrade(upgrade.to_owned()));
        }
        check_connection(head)?;
        head.header("Host").ok_or(HandshakeError::Missing("Host"))?;
        check_version(head)?;
        let (protocols, extensions) = offers(head)?;
        let key =
            head.header("Sec-WebSocket-Key").ok_or(HandshakeError::Missing("Sec-WebSocket-Key"))?;
        decode_key(key).ok_or_else(|| HandshakeError::Key(key.to_owned()))?;
        Ok(Self { accept: compute_accept(key.as_bytes()), protocols, extensions })
    }

    /// Checks a request of HTTP/2. Extended CONNECT replaces Upgrade, Connection and
    /// Sec-WebSocket-Key (RFC 8441 5).
    fn check_connect(head: &RequestHead) -> Result<Self, HandshakeError> {
        if head.method != "CONNECT" {
            return Err(HandshakeError::NoConnect(head.method.clone()));
        }
        if head.header(PROTOCOL) != Some("websocket") {
            return Err(HandshakeError::Missing(PROTOCOL));
        }
        check_version(head)?;
        let (protocols, extensions) = offers(head)?;
        Ok(Self { accept: String::new(), protocols, extensions })
    }
}

/// The subprotocols and extensions that a request offers.
fn offers(head: &RequestHead) -> Result<Offers, HandshakeError> {
    let protocols = head
        .list_header("Sec-WebSocket-Protocol")
        .map(|value| token_list("Sec-WebSocket-Protocol", &value))
        .transpose()?;
    let extensions = match head.list_header("Sec-WebSocket-Extensions") {
        Some(value) if !value.is_empty() => {
            Some(extension::parse(&value).map_err(HandshakeError::Extensions)?)
        }
        _ => None,
    };
    Ok((protocols, extensions))
}

type Offers = (Option<Vec<String>>, Option<Vec<Extension>>);

/// The status of an opening handshake that succeeds (RFC 6455 1.3).
pub const SWITCHING_PROTOCOLS: u16 = 101;

/// The status of one that succeeds over HTTP/2 (RFC 8441 5).
pub const OPENED: u16 = 200;

/// Whether a status opens a connection.
pub fn opens(status: u16) -> bool {
    matches!(status, SWITCHING_PROTOCOLS | OPENED)
}

/// The content of our answer 101.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// See [`Opening::accept`].
    pub accept: &'a str,
    /// The subprotocol that was chosen.
    pub protocol: Option<&'a str>,
    /// The value of the Sec-WebSocket-Extensions header.
    pub extensions: Option<&'a str>,
    /// Headers that the handler adds, in order.
    pub extra: &'a [(String, String)],
}

impl Answer<'_> {
    /// Formats the answer. This does not check extra headers: see [`is_header_safe`].
    pub fn format(&self) -> Vec<u8> {
        let mut text = String::with_capacity(160);
        text.push_str("HTTP/1.1 101 Switching Protocols\r\n");
        let mut header = |name: &str, value: &str| {
            text.push_str(name);
            text.push_str(": ");
            text.push_str(value);
            text.push_str("\r\n");
        };
        header("Upgrade", "websocket");
        header("Connection", "Upgrade");
        header("Sec-WebSocket-Accept", self.accept);
        if let Some(protocol) = self.protocol {
            header("Sec-WebSocket-Protocol", protocol);
        }
        if let Some(extensions) = self.extensions {
            header("Sec-WebSocket-Extensions", extensions);
        }
        for (name, value) in self.extra {
            header(name, value);
        }
        text.push_str("\r\n");
        text.into_bytes()
    }
}

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

/// RFC 6455 4.2.2 item 5.4.
pub fn compute_accept(key: &[u8]) -> String {
    let mut hash = Sha1::new();
    hash.update(key);
    hash.update(ACCEPT_GUID);
    STANDARD.encode(hash.finalize())
}

/// The 16 bytes of a Sec-WebSocket-Key, if its value is the canonical base64 of 16 bytes.
pub fn decode_key(key: &str) -> Option<[u8; 16]> {
    STANDARD.decode(key).ok()?.try_into().ok()
}

fn check_connection(head: &RequestHead) -> Result<(), HandshakeError> {
    let connection = head.list_header("Connection").ok_or(HandshakeError::Missing("Connection"))?;
    if connection.eq_ignore_ascii_case("Upgrade") {
        return Ok(());
    }
    let tokens = token_list("Connection", &connection)?;
    if tokens.iter().any(|token| token.eq_ignore_ascii_case("Upgrade")) {
        Ok(())
    } else {
        Err(HandshakeError::Connection)
    }
}

fn check_version(head: &RequestHead) -> Result<(), HandshakeError> {
    match head.header("Sec-WebSocket-Version") {
        Some("13") => Ok(()),
        Some(versions) if versions.contains(',') => {
            Err(HandshakeError::Versions(versions.to_owned()))
        }
        Some(version) => Err(HandshakeError::Version(version.to_owned())),
        None if head.header("Sec-WebSocket-Key1").is_some() => Err(HandshakeError::Draft76),
        None => Err(HandshakeError::Missing("Sec-WebSocket-Version")),
    }
}

fn token_list(header: &'static str, value: &str) -> Result<Vec<String>, HandshakeError> {
    grammar::parse_token_list(value).map_err(|reason| HandshakeError::TokenList { header, reason })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::head::HeadReader;

    fn check(changes: &[(&str, Option<&str>)]) -> Result<Opening, HandshakeError> {
        let mut headers = vec![
            ("Host", "localhost"),
            ("Upgrade", "WebSocket"),
            ("Connection", "keep-alive, Upgrade"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("Sec-WebSocket-Version", "13"),
        ];
        for (name, value) in changes {
            headers.retain(|(key, _)| key != name);
            headers.extend(value.map(|value| (*name, value)));
        }
        let lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let lines = lines.concat();
        let bytes = format!("GET /echo HTTP/1.1\r\n{lines}\r\n").into_bytes();
        let (head, _) = HeadReader::default().poll(&bytes).expect("valid").expect("whole");
        Opening::check(&head)
    }

    #[test]
    fn answers_the_example_of_rfc_6455_1_3() {
        let opening = check(&[]).expect("valid");
        assert_eq!(opening.accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let answer = Answer {
            accept: &opening.accept,
            protocol: Some("chat"),
            extensions: None,
            extra: &[("X-A".into(), "b".into())],
        };
        assert_eq!(
            String::from_utf8(answer.format()).as_deref(),
            Ok("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\
                Sec-WebSocket-Protocol: chat\r\nX-A: b\r\n\r\n")
        );
    }

    #[test]
    fn a_request_of_http_2_needs_extended_connect_and_the_version() {
        let check = |method: &str, headers: &[(&str, &str)]| {
            let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
            let head = RequestHead {
                method: method.into(),
                target: "/echo".into(),
                version: "HTTP/2".into(),
                headers: headers.iter().map(pair).collect(),
                bytes: Box::default(),
            };
            (Opening::is_meant(&head), Opening::check(&head))
        };
        let (protocol, version) = ((":protocol", "websocket"), ("sec-websocket-version", "13"));
        let offer = ("sec-websocket-protocol", "chat");
        let (is_meant, opening) = check("CONNECT", &[protocol, version, offer]);
        assert!(is_meant);
        assert_eq!(opening.map(|opening| opening.protocols), Ok(Some(vec!["chat".into()])));
        let missing = HandshakeError::Missing("Sec-WebSocket-Version");
        assert_eq!(check("CONNECT", &[protocol]), (true, Err(missing)));
        let old = check("CONNECT", &[protocol, ("sec-websocket-version", "8")]).1;
        assert_eq!(old.map_err(|error| error.supported_versions()), Err(Some("13")));
        let no_connect = HandshakeError::NoConnect("GET".into());
        assert_eq!(check("GET", &[version]), (false, Err(no_connect)));
        assert!(!check("GET", &[("upgrade", "websocket")]).0);
    }

    #[test]
    fn keys_are_canonical_base64_of_16_bytes() {
        for key in [
            "YQ==",
            "dGhlIHNhbXBsZSBub25jZQ==AAAA",
            "dGhlIHNhbXBsZSBub25jZR==", // non-zero padding bits
            "dGhlIHNhbXBsZSBub2*jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ",
            "",
        ] {
            assert!(decode_key(key).is_none(), "{key}");
        }
        assert!(decode_key("+/+/+/+/+/+/+/+/+/+/+w==").is_some());
    }

    #[test]
    fn another_version_is_told_which_one_is_spoken() {
        let error = check(&[("Sec-WebSocket-Version", Some("8"))]).expect_err("version 8");
        assert_eq!(error.supported_versions(), Some("13"));
        let error = check(&[("Sec-WebSocket-Version", Some("13, 8"))]).expect_err("two versions");
        assert_eq!(error.supported_versions(), None);
    }

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

    #[test]
    fn each_mandatory_header_is_missed() {
        for name in ["Host", "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version"]
        {
            assert_eq!(check(&[(name, None)]), Err(HandshakeError::Missing(name)));
        }
    }

    #[test]
    fn a_client_of_draft_76_is_recognised() {
        let error = check(&[
            ("Sec-WebSocket-Version", None),
            ("Sec-WebSocket-Key", None),
            ("Sec-WebSocket-Key1", Some("4 @1  46546xW%0l 1 5")),
            ("Sec-WebSocket-Key2", Some("12998 5 Y3 1  .P00")),
        ]);
        assert_eq!(error, Err(HandshakeError::Draft76));
    }

    #[test]
    fn subprotocols_and_extensions_are_lists() {
        let opening = check(&[
            ("Sec-WebSocket-Protocol", Some("chat, superchat,")),
            ("Sec-WebSocket-Extensions", Some("")),
        ]);
        let opening = opening.expect("valid");
        assert_eq!(opening.protocols, Some(vec!["chat".into(), "superchat".into()]));
        assert_eq!(opening.extensions, None);
        assert!(check(&[("Sec-WebSocket-Protocol", Some(""))]).is_err());
        assert!(check(&[("Sec-WebSocket-Extensions", Some("a;"))]).is_err());
    }
}
