//! Explains an answer of a server or a proxy that does not open the connection.

use std::time::Duration;

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use crate::protocol::{grammar::Scanner, head::latin1};

/// The most bytes of the body of such an answer to show.
const MAX_BODY: usize = 4096;

/// The time limit for reading that body, which may never end.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The most headers in an answer: more than any server sends. The bytes of a head are limited as
/// well.
const MAX_HEADERS: usize = 512;

/// Schemes of authentication that a sentence names at most, and their length.
const MAX_SCHEMES: usize = 4;
const MAX_SCHEME_BYTES: usize = 32;

/// Status and headers of an answer in any version of HTTP/1.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// The server's reason phrase.
    pub(super) phrase: String,
    /// Names, in lower case, and values in order; bytes beyond ASCII are Latin-1.
    pub(super) headers: Vec<(String, String)>,
}

impl Answer {
    /// Reads a head; `None` if the bytes are not a head.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        if !matches!(response.parse(head), Ok(httparse::Status::Complete(_))) {
            return None;
        }
        let status = response.code?;
        let phrase = phrase(http::StatusCode::from_u16(status).ok()?, response.reason);
        let fields = response.headers.iter();
        let headers = fields.map(|field| (field.name.to_ascii_lowercase(), latin1(field.value)));
        Some(Self { status, phrase, headers: headers.collect() })
    }

    /// Reads the answer of a server that speaks HTTP/2.
    pub(super) fn of_http2<B>(response: &http::Response<B>) -> Self {
        let fields = response.headers().iter();
        let fields = fields.map(|(name, value)| (name.to_string(), latin1(value.as_bytes())));
        Self {
            status: response.status().as_u16(),
            phrase: phrase(response.status(), None),
            headers: fields.collect(),
        }
    }

    /// How many bytes of the body to read.
    pub(super) fn body_bytes(&self) -> usize {
        let length = self.list("content-length").and_then(|length| length.parse().ok());
        length.unwrap_or(MAX_BODY).min(MAX_BODY)
    }

    /// The values of a header, joined (RFC 9110 5.3).
    pub(super) fn list(&self, name: &str) -> Option<String> {
        list(&self.headers, name)
    }

    /// A hint about what the user can do.
    ///
    /// `is_plain`: the request was sent without TLS; `had_credentials`: it had an Authorization
    /// header.
    pub(super) fn hint(&self, body: &[u8], is_plain: bool, had_credentials: bool) -> String {
        match self.status {
            _ if is_plain && self.wants_tls(body) => "; it expects TLS: use wss://".to_owned(),
            301 | 302 | 303 | 307 | 308 => match self.list("location") {
                None => String::new(),
                Some(location) if is_plain && location.starts_with("https://") => {
                    format!("; it points to {location}, which is wss:// for WebSockets")
                }
                Some(location) => format!("; it points to {location}"),
            },
            401 => match self.schemes_but_basic("www-authenticate") {
                Some(schemes) if had_credentials => {
                    format!("; it does not accept these credentials: it wants some by {schemes}")
                }
                Some(schemes) => format!(
                    "; it wants credentials by {schemes}: send an Authorization header for that"
                ),
                None if had_credentials => "; it does not accept these credentials".to_owned(),
                None => {
                    "; it wants credentials: write USER:PASSWORD@ before the host in the URL, or \
                    send another Authorization header"
                        .to_owned()
                }
            },
            403 => "; it does not let this client in".to_owned(),
            404 => "; check the path".to_owned(),
            407 => "; it wants credentials in a Proxy-Authorization header".to_owned(),
            _ => String::new(),
        }
    }

    /// The schemes of authentication that a header offers (RFC 9110 11.6.1), if Basic is none of
    /// them: "Digest or NTLM".
    pub(super) fn schemes_but_basic(&self, header: &str) -> Option<String> {
        let offered = self.list(header)?;
        let characters: Vec<char> = offered.chars().collect();
        let mut scanner = Scanner::new(&characters, 0);
        let mut schemes: Vec<String> = Vec::new();
        loop {
            scanner.skip_lws();
            if let Some(name) = scanner.token() {
                scanner.skip_lws();
                // no parameter of the scheme before, such as `realm="x"`
                let is_scheme = scanner.peek() != Some('=')
                    && name.len() <= MAX_SCHEME_BYTES
                    && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                if is_scheme && !schemes.iter().any(|known| known.eq_ignore_ascii_case(&name)) {
                    schemes.push(name);
                }
            }
            if !skip_element(&mut scanner) {
                break;
            }
        }
        let has_basic = schemes.iter().any(|name| name.eq_ignore_ascii_case("basic"));
        schemes.truncate(MAX_SCHEMES);
        (!has_basic && !schemes.is_empty()).then(|| schemes.join(" or "))
    }

    /// Whether the server says that this very port speaks TLS.
    pub(super) fn wants_tls(&self, body: &[u8]) -> bool {
        match self.status {
            400 => {
                let words = String::from_utf8_lossy(body).to_ascii_lowercase();
                let text = words.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                SAID_FOR_PLAIN_TEXT.iter().any(|phrase| text.contains(phrase))
            }
            // RFC 2817 4.2
            426 => self.list("upgrade").is_some_and(|to| to.to_ascii_uppercase().contains("TLS/")),
            _ => false,
        }
    }
}

/// The texts by which servers answer a plain request on a TLS port, with the status 400.
const SAID_FOR_PLAIN_TEXT: [&str; 6] = [
    // ours
    "this port speaks tls; use https: or wss:",
    // nginx and its relatives
    "the plain http request was sent to https port",
    // Apache
    "speaking plain http to an ssl-enabled server port",
    // Go, so also Caddy and Traefik
    "client sent an http request to an https server",
    // Tomcat
    "this combination of host and port requires tls",
    // cheroot
    "this server only speaks https on this port",
];

/// The name of a status, or else the server's own words.
fn phrase(status: http::StatusCode, own: Option<&str>) -> String {
    let own = own.filter(|reason| !reason.is_empty());
    status.canonical_reason().or(own).unwrap_or("(an unknown status)").to_owned()
}

/// The values of a header, joined (RFC 9110 5.3).
pub(super) fn list(headers: &[(String, String)], name: &str) -> Option<String> {
    let values: Vec<_> =
        headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// Reads the beginning of a body; `body` has what was received with the head.
pub(super) async fn read_body(
    mut stream: impl AsyncRead + Unpin,
    answer: &Answer,
    body: &mut Vec<u8>,
) {
    let wanted = answer.body_bytes();
    let reading = async {
        let mut chunk = [0; 1024];
        while body.len() < wanted {
            match stream.read(&mut chunk).await {
                Ok(count @ 1..) => body.extend_from_slice(&chunk[..count]),
                // show what has been received so far
                Ok(0) | Err(_) => return,
            }
        }
    };
    // if the body does not end in time, what has been received is enough
    let _ = timeout(BODY_TIMEOUT, reading).await;
    body.truncate(wanted);
}

/// Goes behind the next comma that is in no quoted-string. Returns whether there is one.
fn skip_element(scanner: &mut Scanner<'_>) -> bool {
    while let Some(next) = scanner.peek() {
        match next {
            ',' => return scanner.eat(next),
            // what follows a quotation mark without an end cannot be told apart
            '"' if scanner.quoted_string().is_none() => return false,
            '"' => {}
            _ => {
                scanner.eat(next);
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_headers_of_old_and_odd_answers() {
        for (head, status, phrase) in [
            (&b"HTTP/1.0 503 Busy\r\nA: b\r\n\r\n"[..], 503, "Service Unavailable"),
            (b"HTTP/1.1 200\r\nA: b\r\n\r\n", 200, "OK"),
            (b"HTTP/1.0 200 Connection established\nA: b\n\n", 200, "OK"),
            (b"HTTP/1.1 599 Not today\r\nA: b\r\n\r\n", 599, "Not today"),
            (b"HTTP/1.1 599 \r\nA: b\r\n\r\n", 599, "(an unknown status)"),
        ] {
            let answer = Answer::parse(head).expect("a head");
            assert_eq!((answer.status, answer.phrase.as_str()), (status, phrase));
            assert_eq!(answer.list("a").as_deref(), Some("b"));
        }
        let many = [b"HTTP/1.1 404 x\r\n", "A: b\r\n".repeat(500).as_bytes(), b"\r\n"].concat();
        assert_eq!(Answer::parse(&many).map(|answer| answer.status), Some(404));
        for head in
            [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/2 200\r\n\r\n", b"HTTP/1.1 99 x\r\n\r\n", b""]
        {
            assert_eq!(Answer::parse(head), None);
        }
    }

    #[test]
    fn schemes_are_named_if_basic_is_none_of_them() {
        for (offered, named) in [
            (r#"Digest realm="a, Basic b", nonce = "c", qop="auth""#, Some("Digest")),
            (r#"Digest realm="a\", Basic", NTLM"#, Some("Digest or NTLM")),
            ("Negotiate, NTLM", Some("Negotiate or NTLM")),
            ("Negotiate\r\nA: NTLM\r\nA: negotiate", Some("Negotiate or NTLM")),
            (r#"Digest realm="a", basic realm="b""#, None),
            ("NTLM TlRMTVNTUAAC==", Some("NTLM")),
            ("a, b, c, d, e", Some("a or b or c or d")),
            ("", None),
            (", ,,\u{1b}[2J,\"", None),
        ] {
            let head = format!("HTTP/1.1 407 x\r\nA: {offered}\r\n\r\n");
            let answer = Answer::parse(head.as_bytes());
            let schemes = answer.and_then(|answer| answer.schemes_but_basic("a"));
            assert_eq!(schemes.as_deref(), named, "{offered}");
        }
    }

    #[test]
    fn tls_is_expected_where_the_server_says_so() {
        let hint = |head: &str, body: &str| {
            let head = format!("HTTP/1.1 {head}\r\n\r\n");
            Answer::parse(head.as_bytes()).expect("a head").hint(body.as_bytes(), true, false)
        };
        for body in [
            "This port speaks TLS; use https: or wss:\n",
            "<title>400 The plain HTTP request was sent to HTTPS port</title>",
            "Reason: You're speaking plain HTTP to an SSL-enabled server\n port.<br />",
            "Client sent an HTTP request to an HTTPS server.\n",
            "Bad Request\r\nThis combination of host and port requires TLS.\r\n",
            "The client sent a plain HTTP request, but this server only speaks HTTPS on this port.",
        ] {
            assert_eq!(hint("400 Bad Request", body), "; it expects TLS: use wss://");
            assert_eq!(hint("404 Not Found", body), "; check the path");
        }
        assert!(hint("426 Upgrade Required\r\nUpgrade: TLS/1.2, HTTP/1.1", "").contains("TLS"));
        for body in ["see https://example.org/", "the handshake lacks a title", "HTTPS", "TLS"] {
            assert_eq!(hint("400 Bad Request", body), "");
            assert_eq!(hint("426 Upgrade Required\r\nUpgrade: websocket", body), "");
        }
    }
}
