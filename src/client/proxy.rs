//! Chooses the proxy for a server, from a URL or from environment variables.

use std::{collections::HashMap, net::IpAddr};

use super::{
    error::ConnectError,
    url::{authority, credentials, split_authority, Credentials, Endpoint, Target},
};
use crate::protocol::trust::Network;

/// A proxy through which a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    pub(super) kind: ProxyKind,
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) credentials: Option<Credentials>,
    /// The environment variable that named it.
    variable: Option<String>,
}

/// The protocol of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    /// CONNECT (RFC 9110 9.3.6).
    Http,
    /// SOCKS 5 (RFC 1928).
    Socks {
        /// Whether we look up the names of servers, and not the proxy.
        resolves_here: bool,
    },
}

impl Proxy {
    /// Parses the URL of a proxy: `http://`, `socks5://` or `socks5h://`, with credentials if the
    /// proxy needs them. Without a scheme, it is the host and port of an HTTP proxy.
    ///
    /// # Errors
    /// [`ConnectError::ProxyUrl`].
    pub fn parse(url: &str) -> Result<Self, ConnectError> {
        Self::named(url, None)
    }

    /// The proxy for a server according to variables such as `https_proxy` and `no_proxy`, which
    /// are in lower case here.
    ///
    /// A proxy for HTTPS is preferred to one for HTTP also for `ws://`, since it certainly supports
    /// CONNECT (RFC 6455 4.1).
    ///
    /// # Errors
    /// [`ConnectError::ProxyUrl`].
    pub fn of_environment(
        variables: &HashMap<String, String>,
        target: &Target,
    ) -> Result<Option<Self>, ConnectError> {
        let Endpoint::Tcp { host, port, tls } = &target.endpoint else { return Ok(None) };
        let variable = |name: &str| variables.get(name).map_or("", |value| value.trim());
        if is_exempt(host, *port, variable("no_proxy")) {
            return Ok(None);
        }
        let names: &[&str] = if *tls {
            &["wss_proxy", "https_proxy", "all_proxy"]
        } else {
            &["ws_proxy", "https_proxy", "http_proxy", "all_proxy"]
        };
        let found = names.iter().find(|name| !variable(name).is_empty());
        found.map(|name| Self::named(variable(name), Some(name.to_uppercase()))).transpose()
    }

    fn named(url: &str, variable: Option<String>) -> Result<Self, ConnectError> {
        let bad = |reason: &str| ConnectError::ProxyUrl {
            // do not show the URL: it may contain a password
            of: variable.as_ref().map_or(String::new(), |name| format!(" of {name}")),
            reason: reason.to_owned(),
        };
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (kind, default) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            "socks" | "socks5" => (ProxyKind::Socks { resolves_here: true }, 1080),
            "socks5h" => (ProxyKind::Socks { resolves_here: false }, 1080),
            "https" => {
                return Err(bad("a proxy that is spoken to in TLS cannot be used; if it speaks \
                                plain HTTP, as most do, write http://"));
            }
            _ => return Err(bad("it must begin with http://, socks5:// or socks5h://")),
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (user, host_and_port) = match authority.rsplit_once('@') {
            Some((user, host_and_port)) => (Some(user), host_and_port),
            None => (None, authority),
        };
        let credentials = user.map(credentials).transpose().map_err(bad)?.flatten();
        if let Some(Credentials { user, password }) = &credentials {
            match kind {
                ProxyKind::Http if user.contains(':') => {
                    return Err(bad("a user name with a colon cannot be sent; use another one"));
                }
                // RFC 1929 2
                ProxyKind::Socks { .. }
                    if [user, password].iter().any(|text| !(1..=255).contains(&text.len())) =>
                {
                    return Err(bad("user name and password must have 1 to 255 bytes each"));
                }
                _ => {}
            }
        }
        let (host, port) = split_authority(host_and_port, default).map_err(bad)?;
        Ok(Self { kind, host, port, credentials, variable })
    }

    /// The name of the proxy in messages.
    pub(super) fn name(&self) -> String {
        let name = authority(&self.host, self.port);
        match &self.variable {
            None => name,
            Some(variable) => format!("{name} (of {variable})"),
        }
    }
}

/// Whether the value of `no_proxy` includes a server. Its entries are `*`, domains (which include
/// their subdomains), addresses or networks, each with a port or for all ports.
fn is_exempt(host: &str, port: u16, list: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" {
            return true;
        }
        if let (Some(address), Some(network)) = (address, network(&entry)) {
            return network.contains(address);
        }
        let (name, wanted) = match entry.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') || name.ends_with(']') => {
                (name, Some(digits))
            }
            _ => (entry.as_str(), None),
        };
        if wanted.is_some_and(|digits| digits.parse() != Ok(port)) {
            return false;
        }
        let name = name.trim_start_matches('[').trim_end_matches(']');
        if let Some(address) = address {
            return network(name).is_some_and(|network| network.contains(address));
        }
        let name = name.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        let before = host.strip_suffix(name);
        !name.is_empty() && before.is_some_and(|before| before.is_empty() || before.ends_with('.'))
    })
}

/// Parses an address, or an address and the number of its bits that count.
fn network(text: &str) -> Option<Network> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    Network::new(address, bits.unwrap_or(if address.is_ipv4() { 32 } else { 128 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let variables =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let target = Target::parse(url).expect(url);
        let proxy = Proxy::of_environment(&variables.collect(), &target).expect("usable");
        proxy.map(|proxy| proxy.name())
    }

    #[test]
    fn takes_urls_apart() {
        let socks = |resolves_here| ProxyKind::Socks { resolves_here };
        for (url, kind, host, port, user) in [
            ("http://h", ProxyKind::Http, "h", 80, None),
            ("h:3128", ProxyKind::Http, "h", 3128, None),
            ("HTTP://u:p@h:1/", ProxyKind::Http, "h", 1, Some(("u", "p"))),
            ("socks5://h", socks(true), "h", 1080, None),
            ("socks://h", socks(true), "h", 1080, None),
            ("socks5h://u%40x:p%3a@h", socks(false), "h", 1080, Some(("u@x", "p:"))),
            ("http://u:p@ss@[::1]:8", ProxyKind::Http, "::1", 8, Some(("u", "p@ss"))),
            ("http://u@h", ProxyKind::Http, "h", 80, Some(("u", ""))),
        ] {
            let proxy = Proxy::parse(url).expect(url);
            assert_eq!((proxy.kind, proxy.host.as_str(), proxy.port), (kind, host, port), "{url}");
            let found = proxy.credentials.as_ref();
            assert_eq!(found.map(|of| (of.user.as_str(), of.password.as_str())), user, "{url}");
        }
    }

    #[test]
    fn says_what_is_wrong_with_a_url_and_not_the_password() {
        for (url, reason) in [
            ("https://u:secret@h", "write http://"),
            ("ftp://u:secret@h", "must begin"),
            ("http://", "no host"),
            ("http://u:secret@h:0", "port"),
            ("http://u:secret@h:x", "port"),
            ("http://u%3A:secret@h", "colon"),
            ("http://u:secret%ff@h", "UTF-8"),
            ("socks5://u@h", "1 to 255"),
            ("socks5://:secret@h", "1 to 255"),
        ] {
            let error = Proxy::parse(url).expect_err(url).to_string();
            assert!(error.contains(reason) && !error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn prefers_the_variable_that_is_meant() {
        let all = [
            ("http_proxy", "a:1"),
            ("https_proxy", "b:2"),
            ("all_proxy", "socks5://c:3"),
            ("ws_proxy", "d:4"),
        ];
        assert_eq!(chosen("wss://h", &all).as_deref(), Some("b:2 (of HTTPS_PROXY)"));
        assert_eq!(chosen("ws://h", &all).as_deref(), Some("d:4 (of WS_PROXY)"));
        assert_eq!(chosen("ws://h", &all[..3]).as_deref(), Some("b:2 (of HTTPS_PROXY)"));
        assert_eq!(chosen("ws://h", &all[..1]).as_deref(), Some("a:1 (of HTTP_PROXY)"));
        assert_eq!(chosen("wss://h", &all[..1]), None);
        assert_eq!(chosen("wss://h", &all[2..]).as_deref(), Some("c:3 (of ALL_PROXY)"));
        assert!(chosen("wss://h", &[("https_proxy", " "), ("all_proxy", "c")]).is_some());
        assert_eq!(chosen("ws+unix:///a", &all), None);
    }

    #[test]
    fn some_servers_are_reached_without_it() {
        for (list, host, exempt) in [
            ("*", "anything", true),
            ("example.org", "example.org", true),
            ("example.org", "WWW.Example.ORG", true),
            ("example.org", "notexample.org", false),
            (".example.org", "example.org", true),
            ("*.example.org", "a.b.example.org", true),
            ("example.org.", "example.org", true),
            ("a, example.org", "example.org", true),
            ("a example.org", "example.org", true),
            ("example.org:81", "example.org", true),
            ("example.org:82", "example.org", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1:81", "127.0.0.1", true),
            ("127.0.0.1:82", "127.0.0.1", false),
            ("7.0.0.1", "127.0.0.1", false),
            ("::1", "[::1]", true),
            ("[::1]:81", "[::1]", true),
            ("[::1]:82", "[::1]", false),
            ("fd00::/8", "[fd12::1]", true),
            ("localhost", "127.0.0.1", false),
            ("", "h", false),
            (",.,*.,", "h", false),
        ] {
            let url = format!("ws://{host}:81/");
            let variables = [("all_proxy", "p:1"), ("no_proxy", list)];
            assert_eq!(chosen(&url, &variables).is_none(), exempt, "{list:?} and {host}");
        }
    }
}
