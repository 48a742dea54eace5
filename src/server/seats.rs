//! Connections that are there, counted against the limits on them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use super::{answer::Refusal, limits::Limits};
use crate::locks::lock;

/// The options that set the limits.
pub(super) const TOTAL: &str = "--max-connections";
pub(super) const PER_ADDRESS: &str = "--max-connections-per-address";

/// Why a connection is refused: the option that says so, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) option: &'static str,
    pub(super) limit: usize,
}

impl Full {
    /// The answer to a peer that may send a request.
    pub(super) fn refusal() -> Refusal {
        Refusal {
            reason: Some("Too many connections".to_owned()),
            headers: vec![("Retry-After", "1".to_owned())],
            ..Refusal::new(503)
        }
    }
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

/// A connection's place, until all clones of it are dropped. Nothing where nothing is counted.
#[derive(Debug, Clone)]
pub(super) struct Seat(Option<Arc<Occupied>>);

#[derive(Debug)]
struct Occupied {
    seats: Arc<Seats>,
    /// For whom it counts; taken before the lock of the seats.
    address: Mutex<Option<IpAddr>>,
}

impl Seats {
    pub(super) fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            total: limits.connections.unwrap_or(usize::MAX),
            per_address: limits.connections_per_address.unwrap_or(usize::MAX),
            taken: Mutex::default(),
        })
    }

    /// Takes a place for a connection, which counts for no address yet.
    ///
    /// # Errors
    /// If there are as many as there may be.
    pub(super) fn take(self: &Arc<Self>) -> Result<Seat, Full> {
        if self.total == usize::MAX && self.per_address == usize::MAX {
            return Ok(Seat(None));
        }
        let mut taken = lock(&self.taken);
        if taken.total >= self.total {
            return Err(Full { option: TOTAL, limit: self.total });
        }
        taken.total += 1;
        Ok(Seat(Some(Arc::new(Occupied { seats: self.clone(), address: Mutex::default() }))))
    }
}

impl Seat {
    /// Counts the connection for an address, in place of the one for which it counted before. A
    /// Unix socket's peers have none and count in the total alone.
    ///
    /// # Errors
    /// If as many as there may be count for that address; nothing is changed then.
    pub(super) fn assign(&self, peer: Option<SocketAddr>) -> Result<(), Full> {
        let Some(Occupied { seats, address }) = self.0.as_deref() else { return Ok(()) };
        if seats.per_address == usize::MAX {
            return Ok(());
        }
        let mut own = lock(address);
        let next = peer.map(|peer| network(peer.ip()));
        if *own == next {
            return Ok(());
        }
        let mut taken = lock(&seats.taken);
        if let Some(next) = next {
            let count = taken.by_address.entry(next).or_default();
            if *count >= seats.per_address {
                let limit = seats.per_address;
                return Err(Full { option: PER_ADDRESS, limit });
            }
            *count += 1;
        }
        taken.leave(std::mem::replace(&mut *own, next));
        Ok(())
    }
}

impl Taken {
    /// One connection less counts for an address.
    fn leave(&mut self, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Occupied {
    fn drop(&mut self) {
        let address = lock(&self.address).take();
        let mut taken = lock(&self.seats.taken);
        taken.total -= 1;
        taken.leave(address);
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

    /// Takes a place that counts for an address.
    fn take(seats: &Arc<Seats>, address: &str) -> Result<Seat, Full> {
        let seat = seats.take()?;
        seat.assign(peer(address))?;
        Ok(seat)
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_has_gone() {
        let seats = seats(Some(2), None);
        let first = seats.take().expect("free");
        let _second = take(&seats, "127.0.0.1").expect("free");
        let full = Full { option: "--max-connections", limit: 2 };
        assert_eq!(seats.take().map(|_| ()), Err(full));
        let clone = first.clone();
        drop(first);
        assert!(seats.take().is_err());
        drop(clone);
        assert!(seats.take().is_ok());
    }

    #[test]
    fn addresses_are_counted_apart_and_those_of_an_ipv6_network_together() {
        let seats = seats(None, Some(1));
        let full = Err(Full { option: "--max-connections-per-address", limit: 1 });
        let first = take(&seats, "10.0.0.1").expect("free");
        assert_eq!(take(&seats, "::ffff:10.0.0.1").map(|_| ()), full);
        let _other = take(&seats, "10.0.0.2").expect("free");
        let _sixth = take(&seats, "2001:db8::1").expect("free");
        assert_eq!(take(&seats, "2001:db8::2").map(|_| ()), full);
        assert!(take(&seats, "2001:db8:0:1::1").is_ok());
        drop(first);
        assert_eq!(lock(&seats.taken).by_address.len(), 2);
        assert!(take(&seats, "10.0.0.1").is_ok());
    }

    #[test]
    fn a_place_may_count_for_another_address_later() {
        let seats = seats(None, Some(1));
        let (first, second) =
            (seats.take().expect("free"), take(&seats, "10.0.0.2").expect("free"));
        assert!(first.assign(peer("10.0.0.1")).is_ok());
        assert!(first.assign(peer("10.0.0.1")).is_ok());
        assert!(first.assign(peer("10.0.0.2")).is_err());
        // which changes nothing
        assert!(second.assign(peer("10.0.0.1")).is_err());
        assert!(first.assign(None).is_ok());
        assert!(second.assign(peer("10.0.0.1")).is_ok());
        drop((first, second));
        let taken = lock(&seats.taken);
        assert_eq!((taken.total, taken.by_address.len()), (0, 0));
    }
}
