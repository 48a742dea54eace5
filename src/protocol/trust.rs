//! The proxies that may report the address of a client: networks, and peers of Unix sockets.

use std::net::{IpAddr, SocketAddr};

/// All addresses with the same first bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// The length of the IPv6 prefix for IPv4 addresses (RFC 4291 2.5.5.2).
const MAPPED_BITS: u8 = 96;

impl Network {
    /// The network of all addresses with the first `bits` bits of `address`, whatever its other
    /// bits are. Returns `None` if an address has fewer bits.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        let width = if address.is_ipv4() { 32 } else { 128 };
        if bits > width {
            return None;
        }
        Some(match (address.to_canonical(), bits.checked_sub(MAPPED_BITS)) {
            (canonical @ IpAddr::V4(_), Some(bits)) if address.is_ipv6() => {
                Self { address: canonical, bits }
            }
            _ => Self { address, bits },
        })
    }

    /// Whether the network contains an address. An IPv4 address in IPv6 notation, as sockets for
    /// both versions report it, counts as the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                agree(own.to_bits().into(), other.to_bits().into(), 32 - self.bits)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                agree(own.to_bits(), other.to_bits(), 128 - self.bits)
            }
            _ => false,
        }
    }
}

/// Whether two numbers are equal except for their last bits.
fn agree(one: u128, other: u128, last: u8) -> bool {
    (one ^ other).checked_shr(last.into()).unwrap_or(0) == 0
}

/// The trusted peers; by default none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Peers in these networks.
    pub networks: Vec<Network>,
    /// Peers of Unix sockets.
    pub unix: bool,
}

impl Trusted {
    /// Whether an address is trusted.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether a peer is trusted; `None` is a peer of a Unix socket.
    pub fn contains_peer(&self, peer: Option<SocketAddr>) -> bool {
        peer.map_or(self.unix, |peer| self.contains(peer.ip()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str, bits: u8) -> Network {
        Network::new(ip(address), bits).expect("a network")
    }

    fn ip(address: &str) -> IpAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn a_network_has_the_addresses_with_its_first_bits() {
        let ten = network("10.1.2.3", 8);
        assert!(ten.contains(ip("10.255.0.1")));
        assert!(!ten.contains(ip("11.0.0.1")));
        assert!(!ten.contains(ip("a00::")));
        let one = network("10.1.2.3", 32);
        assert!(one.contains(ip("10.1.2.3")));
        assert!(!one.contains(ip("10.1.2.2")));
        assert!(network("0.0.0.0", 0).contains(ip("255.255.255.255")));
        let documentation = network("2001:db8::", 33);
        assert!(documentation.contains(ip("2001:db8:7fff::1")));
        assert!(!documentation.contains(ip("2001:db8:8000::1")));
        assert!(network("::1", 128).contains(ip("::1")));
        assert!(network("::", 0).contains(ip("ffff::")));
        assert_eq!(Network::new(ip("10.0.0.0"), 33), None);
        assert_eq!(Network::new(ip("::"), 129), None);
    }

    #[test]
    fn ipv4_is_the_same_in_either_notation() {
        assert!(network("10.0.0.0", 8).contains(ip("::ffff:10.0.0.1")));
        assert!(network("::ffff:10.0.0.0", 104).contains(ip("10.0.0.1")));
        assert!(!network("::ffff:10.0.0.0", 104).contains(ip("11.0.0.1")));
        assert!(!network("::", 0).contains(ip("10.0.0.1")));
        assert!(!network("::ffff:10.0.0.0", 8).contains(ip("10.0.0.1")));
    }

    #[test]
    fn peers_of_unix_sockets_have_no_address() {
        let trusted = Trusted { networks: vec![network("10.0.0.0", 8)], unix: false };
        assert!(trusted.contains_peer("10.0.0.1:5".parse().ok()));
        assert!(!trusted.contains_peer(None));
        assert!(Trusted { unix: true, ..Trusted::default() }.contains_peer(None));
        assert!(!Trusted::default().contains_peer("127.0.0.1:5".parse().ok()));
    }
}
