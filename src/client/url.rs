//! Parses URLs (RFC 6455 3), and `ws+unix:` for Unix sockets.

use std::{borrow::Cow, fmt, path::PathBuf};

use base64::{prelude::BASE64_STANDARD, Engine};
use http::Uri;
use percent_encoding::percent_decode_str;

use super::error::ConnectError;

/// The parts of a URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) endpoint: Endpoint,
    /// The request target: path and query.
    pub(super) resource: String,
    /// The value of the Host header.
    pub(super) host_header: String,
    /// For an Authorization header (RFC 3986 3.2.1).
    pub(super) credentials: Option<Credentials>,
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl Credentials {
    /// The value of a header (RFC 7617 2).
    pub(super) fn basic(&self) -> String {
        let Self { user, password } = self;
        format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

impl Target {
    /// Parses a URL: `ws://`, `wss://`, or `ws+unix:///path/of.sock`, which may be followed by
    /// `:/resource`. A user name and a password may precede the host.
    ///
    /// # Errors
    /// [`ConnectError::Url`].
    pub fn parse(url: &str) -> Result<Self, ConnectError> {
        let (userinfo, url) = split_userinfo(url);
        let url = url.as_ref();
        let bad =
            |reason: &str| ConnectError::Url { url: url.to_owned(), reason: reason.to_owned() };
        if !url.is_ascii() || url.chars().any(|c| c <= ' ' || c == '\x7f') {
            return Err(bad(
                "it may have printable ASCII only; percent-encode the path, and write the host \
                 in its xn-- form",
            ));
        }
        if url.contains('#') {
            return Err(bad("a fragment means nothing to a server; leave out what follows the #"));
        }
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(bad("it must begin with ws:// or wss://"));
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "ws" => false,
            "wss" => true,
            "ws+unix" => {
                return Self::unix(rest).ok_or_else(|| bad("the path of a socket is needed"))
            }
            "http" => return Err(bad("use ws:// in place of http://")),
            "https" => return Err(bad("use wss:// in place of https://")),
            _ => return Err(bad("it must begin with ws:// or wss://")),
        };
        if rest.is_empty() || rest.starts_with(['/', '?']) {
            return Err(bad("it has no host"));
        }
        let server = rest.split(['/', '?']).next().unwrap_or_default();
        let colons = server.bytes().filter(|byte| *byte == b':').count();
        if colons > 1 && !(server.starts_with('[') && server.contains(']')) {
            return Err(bad("an IPv6 address stands in brackets, as in ws://[::1]:80/"));
        }
        let parsed: Uri = url.parse().map_err(|error| bad(&format!("{error}")))?;
        let authority = parsed.authority().map_or("", http::uri::Authority::as_str);
        let default = if tls { 443 } else { 80 };
        let (host, port) = split_authority(authority, default).map_err(bad)?;
        let literal = parsed.host().unwrap_or_default();
        let host_header =
            if port == default { literal.to_owned() } else { format!("{literal}:{port}") };
        let credentials = userinfo.map(credentials).transpose().map_err(bad)?.flatten();
        if credentials.as_ref().is_some_and(|of| of.user.contains(':')) {
            return Err(bad("a user name with a colon cannot be sent; use another one"));
        }
        let resource = match parsed.query() {
            None => parsed.path().to_owned(),
            Some(query) => format!("{}?{query}", parsed.path()),
        };
        Ok(Self { endpoint: Endpoint::Tcp { host, port, tls }, resource, host_header, credentials })
    }

    fn unix(rest: &str) -> Option<Self> {
        let (path, resource) = match rest.split_once(":/") {
            None => (rest, "/".to_owned()),
            Some((path, resource)) => (path, format!("/{resource}")),
        };
        path.starts_with('/').then(|| Self {
            endpoint: Endpoint::Unix(path.into()),
            resource,
            host_header: "localhost".to_owned(),
            credentials: None,
        })
    }

    /// The path and query of the request.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Host and port, or path, for messages.
    pub(super) fn address(&self) -> String {
        match &self.endpoint {
            Endpoint::Tcp { host, port, .. } => authority(host, *port),
            Endpoint::Unix(path) => path.display().to_string(),
        }
    }
}

/// The user information before the host, and the URL without it, which may be shown.
fn split_userinfo(url: &str) -> (Option<&str>, Cow<'_, str>) {
    let Some((scheme, rest)) = url.split_once("://") else { return (None, url.into()) };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    // the URL of a Unix socket has only a path
    match rest[..end].rsplit_once('@') {
        Some((userinfo, _)) => {
            let rest = &rest[userinfo.len() + 1..];
            (Some(userinfo), format!("{scheme}://{rest}").into())
        }
        None => (None, url.into()),
    }
}

/// User name and password of the part of a URL before `@`; `None` if it is empty.
pub(super) fn credentials(userinfo: &str) -> Result<Option<Credentials>, &'static str> {
    let decoded = |text| {
        let decoded = percent_decode_str(text).decode_utf8().map_err(|_| {
            "user name and password must be percent-encoded UTF-8, such as %40 for an @"
        });
        decoded.map(Cow::into_owned)
    };
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    if userinfo.is_empty() {
        return Ok(None);
    }
    Ok(Some(Credentials { user: decoded(user)?, password: decoded(password)? }))
}

/// `host:port`, an IPv6 address in brackets.
pub(super) fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Host, without brackets, and port of `host[:port]`.
pub(super) fn split_authority(
    authority: &str,
    default: u16,
) -> Result<(String, u16), &'static str> {
    let end = match authority.strip_prefix('[') {
        Some(_) => authority.find(']').ok_or("its address has no ]")? + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (host, behind) = authority.split_at(end);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        return Err("it has no host");
    }
    let port = match behind {
        "" | ":" => default,
        text => text
            .strip_prefix(':')
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|port| *port > 0)
            .ok_or("the port must be a number from 1 to 65535")?,
    };
    Ok((host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Endpoint, String, String) {
        let target = Target::parse(url).expect(url);
        (target.endpoint, target.resource, target.host_header)
    }

    fn tcp(host: &str, port: u16, tls: bool) -> Endpoint {
        Endpoint::Tcp { host: host.into(), port, tls }
    }

    #[test]
    fn takes_urls_apart() {
        assert_eq!(parsed("ws://h"), (tcp("h", 80, false), "/".into(), "h".into()));
        assert_eq!(parsed("WSS://h:/a?b"), (tcp("h", 443, true), "/a?b".into(), "h".into()));
        assert_eq!(parsed("ws://h:443?x"), (tcp("h", 443, false), "/?x".into(), "h:443".into()));
        assert_eq!(
            parsed("ws://[::1]:81/"),
            (tcp("::1", 81, false), "/".into(), "[::1]:81".into())
        );
        assert_eq!(
            parsed("ws+unix:///run/a.sock:/b?c"),
            (Endpoint::Unix("/run/a.sock".into()), "/b?c".into(), "localhost".into())
        );
        assert_eq!(parsed("ws+unix:///run/a.sock").1, "/");
    }

    #[test]
    fn user_names_and_passwords_are_decoded() {
        for (url, found) in [
            ("ws://h/@a", None),
            ("ws://@h/", None),
            ("ws://u@h/", Some(("u", ""))),
            ("ws://u:p@h/", Some(("u", "p"))),
            ("ws://u:p:q@h:81/", Some(("u", "p:q"))),
            ("ws://a%40b:%2F%C3%BC@h/x@y", Some(("a@b", "/\u{fc}"))),
            ("ws://u:p@q@h/", Some(("u", "p@q"))),
        ] {
            let target = Target::parse(url).expect(url);
            let of = target.credentials.as_ref();
            assert_eq!(of.map(|of| (of.user.as_str(), of.password.as_str())), found, "{url}");
            assert!(target.host_header.starts_with('h'));
        }
        let aladdin = Target::parse("ws://Aladdin:open%20sesame@h/").expect("valid").credentials;
        // the example of RFC 7617 2
        let sent = aladdin.expect("some").basic();
        assert_eq!(sent, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        for (url, reason) in [
            ("h:80", "ws://"),
            ("ftp://h", "ws://"),
            ("http://h", "ws://"),
            ("https://h", "wss://"),
            ("ws:///x", "no host"),
            ("ws://?x", "no host"),
            ("ws://", "no host"),
            ("ws://h/#x", "#"),
            ("ws://u%ff@h/", "UTF-8"),
            ("ws://u%3a:p@h/", "colon"),
            ("ws://u:p@/", "host"),
            ("ws://u:p@h:x/", "port"),
            ("ws://[::1/", ""),
            ("ws://h:99999/", "port"),
            ("ws://h:0/", "port"),
            ("ws://h/ x", "ASCII"),
            ("ws://\u{fc}/", "ASCII"),
            ("ws+unix://a", "path"),
        ] {
            let error = Target::parse(url).expect_err(url).to_string();
            assert!(error.contains(reason) && error.contains("cannot use the URL"), "{error}");
        }
    }
}
