//! Request targets that are `ws:` or `wss:` URIs (RFC 6455 3), split as Python's `urlsplit` does.

/// What a request target names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// No `ws:` or `wss:` URI: the target is the resource.
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

/// Path, query and fragment; an empty one is left out with its mark, as `urlunsplit` would.
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
