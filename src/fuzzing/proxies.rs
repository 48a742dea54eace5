//! What proxies put in front of a request, and into it.

use std::net::IpAddr;

use crate::protocol::{forwarded, head::latin1, proxy};

/// Reads a PROXY header, whole and byte by byte.
///
/// # Panics
/// If an invariant is broken.
pub fn proxy_header(data: &[u8]) {
    let whole = proxy::read(data);
    let first = (0..=data.len()).map(|end| proxy::read(&data[..end]));
    let first = first.into_iter().find(|outcome| *outcome != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole, "what came in one piece or in many");
    match whole {
        Ok(None) => assert!(data.len() < 4096),
        Ok(Some((_, length))) => {
            assert!(length <= data.len().min(4096));
            assert_eq!(proxy::read(&data[..length]), whole, "what follows is another's");
        }
        Err(error) => assert!(!error.to_string().contains(char::is_control)),
    }
}

/// Finds the client in a header value, with further proxies and with spoofed entries.
///
/// # Panics
/// If an invariant is broken.
pub fn forwarded_for(data: &[u8]) {
    let value = latin1(data);
    let is_trusted = |address: IpAddr| matches!(address, IpAddr::V4(v4) if v4.octets()[0] == 10);
    let find = |value: &str| forwarded::client(value, is_trusted);
    let found = find(&value);
    let proxied = find(&format!("{value}, 10.0.0.1"));
    assert_eq!(proxied, found.or_else(|| find("10.0.0.1")), "a proxy more makes no difference");
    if let Some(address) = found {
        assert_eq!(find(&address.to_string()), found);
        let spoofed = find(&format!("203.0.113.7, {value}"));
        assert!(spoofed == found || is_trusted(address.ip()), "the left says nothing");
    }
}
