//! Finds the client's address in `X-Forwarded-For`.
//!
//! No standard defines the header. Each proxy appends the address of its own peer to what it has
//! received. So only the entries of trusted proxies are reliable, and the header is read from the
//! right.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The client's address in a header from a trusted proxy: the rightmost address that is not itself
/// trusted, or the leftmost if all are. An entry that is not an address ends the search, because
/// everything on its left has passed through an unknown proxy. Returns `None` if the rightmost
/// entry is not an address.
///
/// The port is 0 if the entry has none, which is usual.
pub fn client(value: &str, is_trusted: impl Fn(IpAddr) -> bool) -> Option<SocketAddr> {
    let mut found = None;
    for entry in value.rsplit(',') {
        let entry = entry.trim_matches([' ', '\t', '\r', '\n']);
        // a list may have empty elements (RFC 9110 5.6.1.2)
        if entry.is_empty() {
            continue;
        }
        let Some(address) = parse(entry) else { break };
        found = Some(address);
        if !is_trusted(address.ip()) {
            break;
        }
    }
    found
}

/// `address`, `IPv4:port`, `[IPv6]` or `[IPv6]:port`, perhaps in quotation marks, as in `Forwarded`
/// (RFC 7239 6).
fn parse(entry: &str) -> Option<SocketAddr> {
    let quoted = entry.strip_prefix('"').and_then(|entry| entry.strip_suffix('"'));
    let entry = quoted.unwrap_or(entry);
    if let Ok(address) = entry.parse::<IpAddr>() {
        return Some(SocketAddr::new(address, 0));
    }
    if let Ok(address) = entry.parse::<SocketAddr>() {
        // drop the zone of the address: it has a meaning only on the proxy's machine
        return Some(SocketAddr::new(address.ip(), address.port()));
    }
    let bare = entry.strip_prefix('[')?.strip_suffix(']')?;
    let address: Ipv6Addr = bare.parse().ok()?;
    Some(SocketAddr::new(address.into(), 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client, if 10.0.0.0/8 is trusted.
    fn found(value: &str) -> Option<String> {
        let is_trusted = |address| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
        client(value, is_trusted).map(|address| address.to_string())
    }

    #[test]
    fn the_rightmost_that_is_not_trusted_is_the_client() {
        assert_eq!(found("203.0.113.7").as_deref(), Some("203.0.113.7:0"));
        assert_eq!(found("1.1.1.1, 203.0.113.7").as_deref(), Some("203.0.113.7:0"));
        assert_eq!(
            found("1.1.1.1,203.0.113.7,10.0.0.1 ,10.0.0.2").as_deref(),
            Some("203.0.113.7:0")
        );
        assert_eq!(found("10.0.0.9, 203.0.113.7, 10.0.0.1").as_deref(), Some("203.0.113.7:0"));
    }

    #[test]
    fn if_all_are_trusted_the_leftmost_is_the_client() {
        assert_eq!(found("10.0.0.9, 10.0.0.1").as_deref(), Some("10.0.0.9:0"));
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        assert_eq!(found("203.0.113.7, unknown, 10.0.0.1").as_deref(), Some("10.0.0.1:0"));
        assert_eq!(found("203.0.113.7, unknown"), None);
        assert_eq!(found("203.0.113.7, unix:"), None);
        assert_eq!(found(""), None);
        assert_eq!(found(" , ,\t"), None);
        assert_eq!(found("203.0.113.7, ,10.0.0.1,").as_deref(), Some("203.0.113.7:0"));
        // folded, as a head may have it
        assert_eq!(found("203.0.113.7,\r\n\t10.0.0.1").as_deref(), Some("203.0.113.7:0"));
    }

    #[test]
    fn an_entry_may_have_a_port_brackets_and_quotation_marks() {
        for (entry, address) in [
            ("203.0.113.7:1234", Some("203.0.113.7:1234")),
            ("\"203.0.113.7:1234\"", Some("203.0.113.7:1234")),
            ("2001:db8::7", Some("[2001:db8::7]:0")),
            ("[2001:db8::7]", Some("[2001:db8::7]:0")),
            ("[2001:db8::7]:80", Some("[2001:db8::7]:80")),
            ("\"[2001:db8::7]:80\"", Some("[2001:db8::7]:80")),
            ("[fe80::1%5]:80", Some("[fe80::1]:80")),
            ("[203.0.113.7]", None),
            ("203.0.113.7:", None),
            ("203.0.113.7:65536", None),
            ("203.0.113.007", None),
            ("\"203.0.113.7", None),
            ("for=203.0.113.7", None),
            ("203.0.113.7\u{a0}", None),
            ("host.example", None),
        ] {
            assert_eq!(found(entry).as_deref(), address, "{entry}");
        }
    }
}
