//! The opening request (RFC 6455 4.1).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};

use super::{error::ConnectError, head::Trace, proxy::Proxy, tls::TlsOptions, url::Target};
use crate::protocol::{grammar::is_token, negotiate};

/// The options for opening a connection.
#[derive(Debug, Clone)]
pub struct Options {
    /// Headers to add to the request, in order.
    pub headers: Vec<(String, String)>,
    /// Subprotocols to offer, in order of preference.
    pub subprotocols: Vec<String>,
    /// Whether to offer permessage-deflate.
    pub compression: bool,
    /// Whether to speak HTTP/2, by RFC 8441, in place of HTTP/1.1.
    pub http2: bool,
    /// The time limit for connecting, TLS and the opening handshake together; `None` means no
    /// limit.
    pub open_timeout: Option<Duration>,
    /// TLS options, for `wss://`.
    pub tls: TlsOptions,
    /// The proxy to connect through.
    pub proxy: Option<Proxy>,
    /// Is called with each head that is sent or received.
    pub trace: Option<Trace>,
    /// A request that the caller has written. If it is set, nothing is read: the caller reads and
    /// checks the answer.
    pub head: Option<Vec<u8>>,
}

/// Headers that the opening handshake sets itself.
const OWN: [&str; 7] = [
    "host",
    "connection",
    "upgrade",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-extensions",
    "sec-websocket-protocol",
];

/// Makes the opening request.
///
/// # Errors
/// [`ConnectError::Url`], [`ConnectError::Header`] or [`ConnectError::Subprotocol`].
pub(super) fn make(target: &Target, options: &Options) -> Result<Request<()>, ConnectError> {
    let bad = |reason: String| ConnectError::Url { url: target.resource.clone(), reason };
    // tungstenite reads the scheme, and sends path and query
    let uri = Uri::builder()
        .scheme("ws")
        .authority(target.host_header.as_str())
        .path_and_query(target.resource.as_str())
        .build()
        .map_err(|error| bad(error.to_string()))?;
    let mut request = Request::new(());
    *request.uri_mut() = uri;
    let headers = request.headers_mut();
    let host =
        HeaderValue::from_str(&target.host_header).map_err(|error| bad(error.to_string()))?;
    headers.insert("host", host);
    headers.insert("connection", HeaderValue::from_static("Upgrade"));
    headers.insert("upgrade", HeaderValue::from_static("websocket"));
    headers.insert("sec-websocket-version", HeaderValue::from_static("13"));
    let mut set = |name: &'static str, value: &str| -> Result<(), ConnectError> {
        let value = HeaderValue::from_str(value)
            .map_err(|_| ConnectError::Header { name: name.to_owned(), reason: ILLEGAL })?;
        headers.insert(name, value);
        Ok(())
    };
    set("sec-websocket-key", &tokio_tungstenite::tungstenite::handshake::client::generate_key())?;
    if options.compression {
        set("sec-websocket-extensions", &negotiate::offer())?;
    }
    let own = options.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if let (false, Some(credentials)) = (own, &target.credentials) {
        set("authorization", &credentials.basic())?;
    }
    for (number, name) in options.subprotocols.iter().enumerate() {
        if !is_token(name) || options.subprotocols[..number].contains(name) {
            return Err(ConnectError::Subprotocol(name.clone()));
        }
    }
    if !options.subprotocols.is_empty() {
        set("sec-websocket-protocol", &options.subprotocols.join(", "))?;
    }
    add_headers(headers, &options.headers)?;
    Ok(request)
}

/// Adds the caller's headers; one of them may replace Host.
fn add_headers(headers: &mut HeaderMap, added: &[(String, String)]) -> Result<(), ConnectError> {
    for (name, value) in added {
        let refuse = |reason| ConnectError::Header { name: name.clone(), reason };
        let key = HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| refuse("its name must be a token, without spaces or a colon"))?;
        let is_host = key == "host";
        if OWN.contains(&key.as_str()) && !is_host {
            return Err(refuse("the opening handshake sets it itself"));
        }
        let value = HeaderValue::from_str(value).map_err(|_| refuse(ILLEGAL))?;
        if !is_host {
            headers.append(key, value);
        } else if value.to_str().is_ok() {
            headers.insert(key, value);
        } else {
            return Err(refuse("its value must be ASCII"));
        }
    }
    Ok(())
}

const ILLEGAL: &str = "its value must have no control characters";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tls::Verification;

    fn options() -> Options {
        Options {
            headers: Vec::new(),
            subprotocols: Vec::new(),
            compression: true,
            http2: false,
            open_timeout: None,
            tls: TlsOptions {
                verification: Verification::Authorities(None),
                identity: None,
                server_name: None,
            },
            proxy: None,
            trace: None,
            head: None,
        }
    }

    fn made(options: &Options) -> Result<Request<()>, ConnectError> {
        make(&Target::parse("ws://h:81/a?b").expect("valid"), options)
    }

    #[test]
    fn offers_what_is_asked_for() {
        let mut options = options();
        options.subprotocols = vec!["a".into(), "b".into()];
        options.headers = vec![("X".into(), "1".into()), ("X".into(), "2".into())];
        let request = made(&options).expect("valid");
        assert_eq!(request.headers()["sec-websocket-protocol"], "a, b");
        assert_eq!(
            request.headers()["sec-websocket-extensions"],
            "permessage-deflate; client_max_window_bits"
        );
        assert_eq!(request.headers()["host"], "h:81");
        assert_eq!(request.headers().get_all("x").iter().count(), 2);
        assert_eq!(request.uri().path_and_query().map(ToString::to_string), Some("/a?b".into()));
    }

    #[test]
    fn refuses_what_would_break_the_request() {
        for (name, value) in [
            ("Host", "\u{fc}"),
            ("A b", "c"),
            ("A", "b\r\nC: d"),
            ("Upgrade", "h2c"),
            ("Sec-WebSocket-Key", "x"),
        ] {
            let mut options = options();
            options.headers = vec![(name.into(), value.into())];
            assert!(matches!(made(&options), Err(ConnectError::Header { .. })), "{name}");
        }
        for names in [vec!["a b"], vec!["a", "a"], vec![""]] {
            let mut options = options();
            options.subprotocols = names.into_iter().map(Into::into).collect();
            assert!(matches!(made(&options), Err(ConnectError::Subprotocol(_))));
        }
    }
}
