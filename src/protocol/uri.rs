//! Request targets that are `ws:` or `wss:` URIs (RFC 6455 3), split as Python's `urlsplit` does.

/// What a request target names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Not a `ws:` or `wss:` URI: the whole target is the resource.
    Relative,
    /// An absolute URI.
    Absolute {
        /// Lower case, no brackets.
        host: String,
        /// The scheme's default if none is given.
        port: u16,
        /// Path, query and fragment.
        resource: String,
    },
    /// A `ws:` or `wss:` URI without a host or with a bad port.
    Invalid,
    /// Brackets that do not match.
    BadIpv6,
}

/// Splits a resource into the path that names its handler and the fragment, which must be empty
/// on a WebSocket URI (RFC 6455 3). The query belongs to neither.
pub fn split_resource(resource: &str) -> (&str, &str) {
    let (rest, fragment) = resource.split_once('#').unwrap_or((resource, ""));
    (rest.split_once('?').map_or(rest, |(path, _)| path), fragment)
}

/// Decodes a path to the name of a handler, for a path that does not name one unchanged. Clients
/// escape characters that a URI must not contain (RFC 3986 2.1), such as spaces and letters beyond
/// ASCII.
///
/// It keeps escapes of unreserved characters, because for pywebsocket `/%65cho` is not `/echo`. It
/// also keeps escapes that would change how the path is split, or that would begin another escape.
pub fn unescape_path(path: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path.as_bytes();
    while let [first, behind @ ..] = rest {
        let escaped =
            (*first == b'%').then(|| behind.first_chunk().copied().and_then(hex_byte)).flatten();
        if let Some(byte) = escaped.filter(|byte| must_be_escaped(*byte)) {
            bytes.push(byte);
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    (bytes.len() < path.len()).then_some(bytes)
}

fn must_be_escaped(byte: u8) -> bool {
    let is_kept = byte.is_ascii_alphanumeric() || b"-._~%/".contains(&byte);
    !is_kept && !byte.is_ascii_control()
}

/// The byte for two hexadecimal digits.
pub(super) fn hex_byte(digits: [u8; 2]) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(digits[0])? * 16 + digit(digits[1])?).ok()
}

/// Splits a request target.
pub fn parse(target: &str) -> Target {
    let Some((scheme, rest)) = target.split_once(':') else { return Target::Relative };
    let default_port = match scheme.to_ascii_lowercase().as_str() {
        "ws" => 80,
        "wss" => 443,
        _ => return Target::Relative,
    };
    let Some(rest) = rest.strip_prefix("//") else { return Target::Invalid };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.contains('[') != authority.contains(']') {
        return Target::BadIpv6;
    }
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, host_port)| host_port);
    let (host, port) = split_port(host_port);
    let port = match port {
        None | Some("") => default_port,
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => match digits.parse() {
            Ok(port) => port,
            Err(_) => return Target::Invalid,
        },
        Some(_) => return Target::Invalid,
    };
    if host.is_empty() {
        return Target::Invalid;
    }
    Target::Absolute { host: host.to_lowercase(), port, resource: resource(path) }
}

/// Path, query and fragment. An empty one is omitted together with its mark, as by `urlunsplit`.
fn resource(text: &str) -> String {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let mut resource = if path.is_empty() { "/" } else { path }.to_owned();
    for (mark, part) in [('?', query), ('#', fragment)] {
        if !part.is_empty() {
            resource.push(mark);
            resource.push_str(part);
        }
    }
    resource
}

fn split_port(host_port: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = host_port.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match host_port.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (host_port, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn absolute(host: &str, port: u16, resource: &str) -> Target {
        Target::Absolute { host: host.into(), port, resource: resource.into() }
    }

    #[test]
    fn the_query_and_the_fragment_do_not_name_a_handler() {
        assert_eq!(split_resource("/echo?a?b"), ("/echo", ""));
        assert_eq!(split_resource("/echo#"), ("/echo", ""));
        assert_eq!(split_resource("/echo?a#b?c"), ("/echo", "b?c"));
    }

    #[test]
    fn what_a_uri_cannot_contain_is_unescaped() {
        let unescaped = |path| unescape_path(path).map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(unescaped("/caf%C3%A9").as_deref(), Some("/café"));
        assert_eq!(unescaped("/caf%c3%a9/my%20room").as_deref(), Some("/café/my room"));
        assert_eq!(unescaped("/a%2Bb%5B0%5D%3F").as_deref(), Some("/a+b[0]?"));
        assert_eq!(unescaped("/%65%20cho").as_deref(), Some("/%65 cho"));
        for path in ["/echo", "/%65cho", "/per%2520cent", "/a%2Fb", "/%0a%00", "/%", "/%2", "/%zz"]
        {
            assert_eq!(unescaped(path), None, "{path}");
        }
        assert_eq!(unescape_path("/%D6%D0"), Some(b"/\xd6\xd0".to_vec()));
    }

    #[test]
    fn splits_absolute_uris() {
        assert_eq!(parse("/echo?a:b"), Target::Relative);
        assert_eq!(parse("http://h/"), Target::Relative);
        assert_eq!(parse("ws://h:9/echo?q#f"), absolute("h", 9, "/echo?q#f"));
        assert_eq!(parse("WSS://U:P@Host"), absolute("host", 443, "/"));
        assert_eq!(parse("ws://h:/x"), absolute("h", 80, "/x"));
        assert_eq!(parse("ws://[::1]:7/x"), absolute("::1", 7, "/x"));
        assert_eq!(parse("ws://h?q"), absolute("h", 80, "/?q"));
    }

    #[test]
    fn leaves_out_an_empty_query_or_fragment_and_nothing_else() {
        assert_eq!(parse("ws://h/a?"), absolute("h", 80, "/a"));
        assert_eq!(parse("ws://h/a#"), absolute("h", 80, "/a"));
        assert_eq!(parse("ws://h?#"), absolute("h", 80, "/"));
        assert_eq!(parse("ws://h/a?#f"), absolute("h", 80, "/a#f"));
        assert_eq!(parse("ws://h/a??"), absolute("h", 80, "/a??"));
        assert_eq!(parse("ws://h/a?b##"), absolute("h", 80, "/a?b##"));
    }

    #[test]
    fn refuses_what_has_no_host_or_port() {
        for target in ["ws:///echo", "ws:/echo", "ws://h:99999/", "ws://h:http/", "ws://h:-1/"] {
            assert_eq!(parse(target), Target::Invalid, "{target}");
        }
        assert_eq!(parse("ws://[::1/echo"), Target::BadIpv6);
    }
}
