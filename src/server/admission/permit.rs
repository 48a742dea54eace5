//! Counts open connections against their limits.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use super::shared_counts::SharedCounts;
use crate::{
    locks::lock,
    server::{http::refusal::Refusal, limits::ConnectionLimits},
};

/// The options that set the limits, for error messages.
pub(in crate::server) const TOTAL: &str = "--max-connections";
pub(in crate::server) const PER_ADDRESS: &str = "--max-connections-per-address";

/// Why a connection is refused: the option that sets the limit, and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) struct LimitReached {
    pub(in crate::server) option: &'static str,
    pub(in crate::server) limit: usize,
}

impl LimitReached {
    /// The answer to a peer that may send a request.
    pub(in crate::server) fn refusal() -> Refusal {
        Refusal {
            reason: Some("Too many connections".to_owned()),
            headers: vec![("Retry-After".into(), "1".to_owned())],
            ..Refusal::new(503)
        }
    }
}

/// Counts connections.
#[derive(Debug)]
pub(in crate::server) struct Admission {
    total: usize,
    per_address: usize,
    /// The counts of all workers, if there are several.
    shared: Option<Arc<SharedCounts>>,
    taken: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's permit, which counts until all its clones are dropped. Empty if there is no
/// limit.
#[derive(Debug, Clone, Default)]
pub(in crate::server) struct ConnectionPermit(Option<Arc<Held>>);

#[derive(Debug)]
struct Held {
    admission: Arc<Admission>,
    /// The address that it counts for. Lock this before the lock of the counts.
    address: Mutex<Option<IpAddr>>,
}

impl Admission {
    pub(in crate::server) fn new(
        limits: &ConnectionLimits,
        shared: Option<Arc<SharedCounts>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            total: limits.connections.unwrap_or(usize::MAX),
            per_address: limits.connections_per_address.unwrap_or(usize::MAX),
            shared,
            taken: Mutex::default(),
        })
    }

    /// Takes a permit for a connection, which counts for no address yet.
    ///
    /// # Errors
    /// If the limit is reached.
    pub(in crate::server) fn take(self: &Arc<Self>) -> Result<ConnectionPermit, LimitReached> {
        if self.total == usize::MAX && self.per_address == usize::MAX {
            return Ok(ConnectionPermit(None));
        }
        let mut taken = lock(&self.taken);
        let is_below_limit = match &self.shared {
            Some(shared) => shared.take(self.total),
            None => taken.total < self.total,
        };
        if !is_below_limit {
            return Err(LimitReached { option: TOTAL, limit: self.total });
        }
        taken.total += 1;
        Ok(ConnectionPermit(Some(Arc::new(Held {
            admission: self.clone(),
            address: Mutex::default(),
        }))))
    }
}

impl ConnectionPermit {
    /// Counts the connection for an address instead of the one before. Peers of a Unix socket have
    /// no address and count in the total only.
    ///
    /// # Errors
    /// If the limit for that address is reached. Nothing is changed then.
    pub(in crate::server) fn assign(&self, peer: Option<SocketAddr>) -> Result<(), LimitReached> {
        let Some(Held { admission, address }) = self.0.as_deref() else { return Ok(()) };
        if admission.per_address == usize::MAX {
            return Ok(());
        }
        let mut own = lock(address);
        let next = peer.map(|peer| network(peer.ip()));
        if *own == next {
            return Ok(());
        }
        let mut taken = lock(&admission.taken);
        if let Some(next) = next {
            if !admission.take_address(&mut taken, next) {
                let limit = admission.per_address;
                return Err(LimitReached { option: PER_ADDRESS, limit });
            }
        }
        admission.release_address(&mut taken, std::mem::replace(&mut *own, next));
        Ok(())
    }
}

impl Admission {
    /// Adds one connection of an address, if it has fewer than its limit.
    fn take_address(&self, taken: &mut Counts, address: IpAddr) -> bool {
        if let Some(shared) = &self.shared {
            return shared.take_address(address, self.per_address);
        }
        let count = taken.by_address.entry(address).or_default();
        let is_below_limit = *count < self.per_address;
        *count += usize::from(is_below_limit);
        is_below_limit
    }

    /// Removes one connection of an address.
    fn release_address(&self, taken: &mut Counts, address: Option<IpAddr>) {
        let Some(address) = address else { return };
        if let Some(shared) = &self.shared {
            shared.release_address(address);
        } else if let Some(count) = taken.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                taken.by_address.remove(&address);
            }
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let address = lock(&self.address).take();
        let mut taken = lock(&self.admission.taken);
        taken.total -= 1;
        if let Some(shared) = &self.admission.shared {
            shared.release();
        }
        self.admission.release_address(&mut taken, address);
    }
}

/// What counts as one address: for IPv6 the /64 network, since one host may use all addresses of
/// it.
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

    fn admission(total: Option<usize>, per_address: Option<usize>) -> Arc<Admission> {
        let limits = ConnectionLimits {
            connections: total,
            connections_per_address: per_address,
            ..ConnectionLimits::default()
        };
        Admission::new(&limits, None)
    }

    fn peer(address: &str) -> Option<SocketAddr> {
        address.parse().ok().map(|address| SocketAddr::new(address, 1))
    }

    /// Takes a place that counts for an address.
    fn take(admission: &Arc<Admission>, address: &str) -> Result<ConnectionPermit, LimitReached> {
        let permit = admission.take()?;
        permit.assign(peer(address))?;
        Ok(permit)
    }

    #[test]
    fn a_permit_is_free_again_when_its_connection_has_ended() {
        let admission = admission(Some(2), None);
        let first = admission.take().expect("free");
        let _second = take(&admission, "127.0.0.1").expect("free");
        let full = LimitReached { option: "--max-connections", limit: 2 };
        assert_eq!(admission.take().map(|_| ()), Err(full));
        let clone = first.clone();
        drop(first);
        assert!(admission.take().is_err());
        drop(clone);
        assert!(admission.take().is_ok());
    }

    #[test]
    fn addresses_are_counted_apart_and_those_of_an_ipv6_network_together() {
        let admission = admission(None, Some(1));
        let full = Err(LimitReached { option: "--max-connections-per-address", limit: 1 });
        let first = take(&admission, "10.0.0.1").expect("free");
        assert_eq!(take(&admission, "::ffff:10.0.0.1").map(|_| ()), full);
        let _other = take(&admission, "10.0.0.2").expect("free");
        let _sixth = take(&admission, "2001:db8::1").expect("free");
        assert_eq!(take(&admission, "2001:db8::2").map(|_| ()), full);
        assert!(take(&admission, "2001:db8:0:1::1").is_ok());
        drop(first);
        assert_eq!(lock(&admission.taken).by_address.len(), 2);
        assert!(take(&admission, "10.0.0.1").is_ok());
    }

    #[test]
    fn a_permit_may_count_for_another_address_later() {
        let admission = admission(None, Some(1));
        let (first, second) =
            (admission.take().expect("free"), take(&admission, "10.0.0.2").expect("free"));
        assert!(first.assign(peer("10.0.0.1")).is_ok());
        assert!(first.assign(peer("10.0.0.1")).is_ok());
        assert!(first.assign(peer("10.0.0.2")).is_err());
        // which changes nothing
        assert!(second.assign(peer("10.0.0.1")).is_err());
        assert!(first.assign(None).is_ok());
        assert!(second.assign(peer("10.0.0.1")).is_ok());
        drop((first, second));
        let taken = lock(&admission.taken);
        assert_eq!((taken.total, taken.by_address.len()), (0, 0));
    }
}
