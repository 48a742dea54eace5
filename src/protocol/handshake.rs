//! The opening handshake on the server's side (RFC 6455 4.2).

mod answer;
mod header;

use base64::{engine::general_purpose::STANDARD, Engine};
use sha1::{Digest, Sha1};

pub use self::{
    answer::{opens, Answer, OPENED, SWITCHING_PROTOCOLS},
    header::{check_header, is_header_safe, HeaderFault},
};
use super::{
    error::HandshakeError,
    extension::{self, Extension},
    grammar,
    head::RequestHead,
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
        if head.is_on_stream() {
            return asks_for_websocket(head);
        }
        let is_ours = |value: &str| {
            // nearly always, and quicker to see
            value.eq_ignore_ascii_case("websocket")
                || value.to_ascii_lowercase().contains("websocket")
        };
        head.header("Upgrade").is_some_and(is_ours)
    }

    /// Checks a request head, in pywebsocket's order.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn check(head: &RequestHead) -> Result<Self, HandshakeError> {
        if head.is_on_stream() {
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

    /// Checks a request of HTTP/2 or HTTP/3. Extended CONNECT replaces Upgrade, Connection and
    /// Sec-WebSocket-Key (RFC 8441 5, RFC 9220 3).
    fn check_connect(head: &RequestHead) -> Result<Self, HandshakeError> {
        if head.method != "CONNECT" {
            return Err(HandshakeError::NoConnect(head.method.clone()));
        }
        if !asks_for_websocket(head) {
            return Err(HandshakeError::Missing(PROTOCOL));
        }
        // `:authority` stands for it
        head.header("Host").ok_or(HandshakeError::Missing("Host"))?;
        check_version(head)?;
        let (protocols, extensions) = offers(head)?;
        Ok(Self { accept: String::new(), protocols, extensions })
    }
}

/// Whether extended CONNECT asks for a WebSocket. The names are those of Upgrade, which have no case
/// (RFC 9110 7.8), and a proxy passes them on as they are.
fn asks_for_websocket(head: &RequestHead) -> bool {
    head.header(PROTOCOL).is_some_and(|name| name.eq_ignore_ascii_case("websocket"))
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
            let head = RequestHead {
                method: method.into(),
                target: "/echo".into(),
                version: "HTTP/2".into(),
                headers: headers.iter().copied().collect(),
                bytes: Box::default(),
            };
            (Opening::is_meant(&head), Opening::check(&head))
        };
        let (protocol, version) = ((":protocol", "websocket"), ("sec-websocket-version", "13"));
        let offer = ("sec-websocket-protocol", "chat");
        let host = ("host", "h");
        let (is_meant, opening) = check("CONNECT", &[protocol, host, version, offer]);
        assert!(is_meant);
        assert_eq!(opening.map(|opening| opening.protocols), Ok(Some(vec!["chat".into()])));
        let missing = HandshakeError::Missing("Sec-WebSocket-Version");
        assert_eq!(check("CONNECT", &[protocol, host]), (true, Err(missing)));
        let old = check("CONNECT", &[protocol, host, ("sec-websocket-version", "8")]).1;
        assert_eq!(old.map_err(|error| error.supported_versions()), Err(Some("13")));
        let no_connect = HandshakeError::NoConnect("GET".into());
        assert_eq!(check("GET", &[version]), (false, Err(no_connect)));
        assert!(!check("GET", &[("upgrade", "websocket")]).0);
        assert!(check("CONNECT", &[(":protocol", "WebSocket"), host, version]).1.is_ok());
        let no_host = Err(HandshakeError::Missing("Host"));
        assert_eq!(check("CONNECT", &[protocol, version]).1, no_host);
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
