//! Where a URL leads (RFC 6455 3), and `ws+unix:` for sockets in the file system.

use std::path::PathBuf;

use http::Uri;

use super::error::ConnectError;

/// What a URL says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    pub(super) place: Place,
    /// The request target: path and query.
    pub(super) resource: String,
    /// The value of the Host header.
    pub(super) host_header: String,
}

/// Where to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    Tcp { host: String, port: u16, tls: bool },
    Unix(PathBuf),
}

impl Target {
    /// Takes a URL apart: `ws://`, `wss://`, or `ws+unix:///path/of.sock`, behind which `:/resource`
    /// may stand.
    ///
    /// # Errors
    /// [`ConnectError::Url`].
    pub fn parse(url: &str) -> Result<Self, ConnectError> {
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
        let uri: Uri = url.parse().map_err(|error| bad(&format!("{error}")))?;
        let authority = uri.authority().map_or("", http::uri::Authority::as_str);
        if authority.contains('@') {
            return Err(bad("user names and passwords go into an Authorization header"));
        }
        let host = uri.host().unwrap_or_default();
        if host.is_empty() {
            return Err(bad("it has no host"));
        }
        let default = if tls { 443 } else { 80 };
        let port = match authority.strip_prefix(host).unwrap_or_default() {
            "" | ":" => default,
            text => text
                .strip_prefix(':')
                .and_then(|digits| digits.parse().ok())
                .filter(|port| *port > 0)
                .ok_or_else(|| bad("the port must be a number from 1 to 65535"))?,
        };
        let host_header = if port == default { host.to_owned() } else { format!("{host}:{port}") };
        let resource = match uri.query() {
            None => uri.path().to_owned(),
            Some(query) => format!("{}?{query}", uri.path()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { place: Place::Tcp { host, port, tls }, resource, host_header })
    }

    fn unix(rest: &str) -> Option<Self> {
        let (path, resource) = match rest.split_once(":/") {
            None => (rest, "/".to_owned()),
            Some((path, resource)) => (path, format!("/{resource}")),
        };
        path.starts_with('/').then(|| Self {
            place: Place::Unix(path.into()),
            resource,
            host_header: "localhost".to_owned(),
        })
    }

    /// The path and query that are asked for.
    pub fn resource(&self) -> &str {
        &self.resource
    }

    /// Host and port, or path, for messages.
    pub(super) fn address(&self) -> String {
        match &self.place {
            Place::Tcp { host, port, .. } if host.contains(':') => format!("[{host}]:{port}"),
            Place::Tcp { host, port, .. } => format!("{host}:{port}"),
            Place::Unix(path) => path.display().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> (Place, String, String) {
        let target = Target::parse(url).expect(url);
        (target.place, target.resource, target.host_header)
    }

    fn tcp(host: &str, port: u16, tls: bool) -> Place {
        Place::Tcp { host: host.into(), port, tls }
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
            (Place::Unix("/run/a.sock".into()), "/b?c".into(), "localhost".into())
        );
        assert_eq!(parsed("ws+unix:///run/a.sock").1, "/");
    }

    #[test]
    fn says_what_is_wrong_with_a_url() {
        for (url, reason) in [
            ("h:80", "ws://"),
            ("ftp://h", "ws://"),
            ("http://h", "ws://"),
            ("https://h", "wss://"),
            ("ws:///x", ""),
            ("ws://h/#x", "#"),
            ("ws://u:p@h/", "Authorization"),
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
