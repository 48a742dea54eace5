//! Connections that are there, counted against the limits on them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use super::limits::Limits;
use crate::locks::lock;

/// Why a connection is refused: the option that says so, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) option: &'static str,
    pub(super) limit: usize,
}

/// Counts connections.
#[derive(Debug)]
pub(super) struct Seats {
    total: usize,
    per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place, until it is dropped. Nothing where nothing is counted.
#[derive(Debug)]
pub(super) struct Seat {
    _occupied: Option<Box<Occupied>>,
}

#[derive(Debug)]
struct Occupied {
    seats: Arc<Seats>,
    address: Option<IpAddr>,
}

impl Seats {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            total: limits.connections.unwrap_or(usize::MAX),
            per_address: limits.connections_per_address.unwrap_or(usize::MAX),
            taken: Mutex::default(),
        })
    }

    /// Takes a place for a connection. A Unix socket's peers have no address and count in the total
    /// alone.
    ///
    /// # Errors
    /// If a limit is reached.
    pub(super) fn take(self: &Arc<Self>, peer: Option<SocketAddr>) -> Result<Seat, Full> {
        if self.total == usize::MAX && self.per_address == usize::MAX {
            return Ok(Seat { _occupied: None });
        }
        let address =
            peer.filter(|_| self.per_address != usize::MAX).map(|peer| network(peer.ip()));
        let mut taken = lock(&self.taken);
        if taken.total >= self.total {
            return Err(Full { option: "--max-connections", limit: self.total });
        }
        if let Some(address) = address {
            let count = taken.by_address.entry(address).or_default();
            if *count >= self.per_address {
                return Err(Full {
                    option: "--max-connections-per-address",
                    limit: self.per_address,
                });
            }
            *count += 1;
        }
        taken.total += 1;
        let occupied = Occupied { seats: self.clone(), address };
        Ok(Seat { _occupied: Some(Box::new(occupied)) })
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let mut taken = lock(&self.seats.taken);
        taken.total -= 1;
        let Some(address) = self.address else { return };
        if let Some(count) = taken.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network, since a host has all of its addresses.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(total: Option<usize>, per_address: Option<usize>) -> Arc<Seats> {
        Seats::new(&Limits {
            connections: total,
            connections_per_address: per_address,
            ..Limits::default()
        })
    }

    fn peer(address: &str) -> Option<SocketAddr> {
        address.parse().ok().map(|address| SocketAddr::new(address, 1))
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_has_gone() {
        let seats = seats(Some(2), None);
        let first = seats.take(None).expect("free");
        let _second = seats.take(peer("127.0.0.1")).expect("free");
        let full = Full { option: "--max-connections", limit: 2 };
        assert_eq!(seats.take(None).map(|_| ()), Err(full));
        drop(first);
        assert!(seats.take(None).is_ok());
    }

    #[test]
    fn addresses_are_counted_apart_and_those_of_an_ipv6_network_together() {
        let seats = seats(None, Some(1));
        let full = Err(Full { option: "--max-connections-per-address", limit: 1 });
        let first = seats.take(peer("10.0.0.1")).expect("free");
        assert_eq!(seats.take(peer("::ffff:10.0.0.1")).map(|_| ()), full);
        let _other = seats.take(peer("10.0.0.2")).expect("free");
        let _sixth = seats.take(peer("2001:db8::1")).expect("free");
        assert_eq!(seats.take(peer("2001:db8::2")).map(|_| ()), full);
        assert!(seats.take(peer("2001:db8:0:1::1")).is_ok());
        drop(first);
        assert_eq!(lock(&seats.taken).by_address.len(), 2);
        assert!(seats.take(peer("10.0.0.1")).is_ok());
    }
}
