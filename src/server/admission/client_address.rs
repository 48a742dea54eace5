//! The address of a connection's client, as far as it is known: the peer's address, or the one that
//! a trusted proxy reports. Also the connection's permit, which counts for that address.

use std::{net::SocketAddr, sync::Arc};

use super::permit::{Admission, ConnectionPermit, LimitReached};
use crate::protocol::{forwarded, head::RequestHead, proxy::Source, trust::Trusted};

/// The proxies that may report the addresses of their clients.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    /// The proxies' own addresses.
    pub trusted: Trusted,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub send_header: bool,
}

/// The client of a connection. Clones share its permit.
#[derive(Debug, Clone)]
pub(in crate::server) struct ClientAddress {
    /// The peer's address, or the one of its PROXY header; `None` on a Unix socket.
    pub(in crate::server) address: Option<SocketAddr>,
    /// Whether that is a trusted proxy, so that the requests name their client.
    is_proxy: bool,
    /// Whether the PROXY header has not been received yet.
    pub(in crate::server) owes_header: bool,
    permit: ConnectionPermit,
}

impl ClientAddress {
    /// Takes a permit for a connection. The connection counts for the peer's address, unless the
    /// peer is a proxy and its client is not known yet.
    ///
    /// # Errors
    /// If a limit is reached.
    pub(in crate::server) fn new(
        peer: Option<SocketAddr>,
        proxies: &Proxies,
        admission: &Arc<Admission>,
    ) -> Result<Self, LimitReached> {
        let permit = admission.take()?;
        let is_proxy = proxies.trusted.contains_peer(peer);
        if !is_proxy {
            permit.assign(peer)?;
        }
        let owes_header = is_proxy && proxies.send_header;
        Ok(Self { address: peer, is_proxy, owes_header, permit })
    }

    /// Uses the address of a PROXY header.
    ///
    /// # Errors
    /// If the limit of connections from this address is reached.
    pub(in crate::server) fn set_reported(
        &mut self,
        source: Source,
        proxies: &Proxies,
    ) -> Result<(), LimitReached> {
        self.owes_header = false;
        // without an address the client is unknown, and if we believed its X-Forwarded-For, clients
        // could choose their own address
        (self.address, self.is_proxy) = match source {
            Source::Peer => return Ok(()),
            Source::Client(address) => (Some(address), proxies.trusted.contains(address.ip())),
            Source::Unix => (None, false),
            Source::Unknown => (self.address, false),
        };
        if self.is_proxy {
            Ok(())
        } else {
            self.permit.assign(self.address)
        }
    }

    /// The address of the client that a request comes from.
    pub(in crate::server) fn client(
        &self,
        head: &RequestHead,
        proxies: &Proxies,
    ) -> Option<SocketAddr> {
        if !self.is_proxy {
            return self.address;
        }
        let told = head.list_header("X-Forwarded-For");
        let is_trusted = |address| proxies.trusted.contains(address);
        told.and_then(|told| forwarded::client(&told, is_trusted)).or(self.address)
    }

    /// Counts the connection for the client of its current request instead of the one before: a
    /// proxy may use one connection for requests of several clients.
    ///
    /// # Errors
    /// If the limit of connections from that address is reached.
    pub(in crate::server) fn count_for(
        &self,
        client: Option<SocketAddr>,
    ) -> Result<(), LimitReached> {
        if self.is_proxy {
            self.permit.assign(client)
        } else {
            Ok(())
        }
    }

    /// The connection's permit, for the next owner of the connection.
    pub(in crate::server) fn into_permit(self) -> ConnectionPermit {
        self.permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::{head::HeadReader, trust::Network},
        server::limits::ConnectionLimits,
    };

    fn proxies() -> Proxies {
        let network = Network::new("10.0.0.0".parse().expect("an address"), 8);
        let trusted = Trusted { networks: network.into_iter().collect(), unix: true };
        Proxies { trusted, send_header: true }
    }

    fn admission(per_address: usize) -> Arc<Admission> {
        let limits = ConnectionLimits {
            connections_per_address: Some(per_address),
            ..ConnectionLimits::default()
        };
        Admission::new(&limits, None)
    }

    fn address(text: &str) -> Option<SocketAddr> {
        let address = text.parse();
        assert!(address.is_ok(), "{text}");
        address.ok()
    }

    fn head(told: &str) -> RequestHead {
        let bytes = format!("GET / HTTP/1.1\r\n{told}\r\n\r\n");
        HeadReader::default().poll(bytes.as_bytes()).expect("valid").expect("whole").0
    }

    #[test]
    fn only_a_proxy_is_believed() {
        let told = head("X-Forwarded-For: 203.0.113.7");
        let client = |peer| {
            let client = ClientAddress::new(peer, &proxies(), &admission(9)).expect("free");
            (client.owes_header, client.client(&told, &proxies()))
        };
        assert_eq!(client(address("10.0.0.1:5")), (true, address("203.0.113.7:0")));
        assert_eq!(client(None), (true, address("203.0.113.7:0")));
        assert_eq!(client(address("11.0.0.1:5")), (false, address("11.0.0.1:5")));
    }

    #[test]
    fn a_proxy_header_may_name_another_trusted_proxy() {
        let told = head("X-Forwarded-For: 203.0.113.7");
        let client = |source| {
            let mut client = ClientAddress::new(None, &proxies(), &admission(9)).expect("free");
            client.set_reported(source, &proxies()).expect("free");
            assert!(!client.owes_header);
            client.client(&told, &proxies())
        };
        let from = |text: &str| Source::Client(text.parse().expect("an address"));
        assert_eq!(client(from("10.0.0.1:5")), address("203.0.113.7:0"));
        assert_eq!(client(from("11.0.0.1:5")), address("11.0.0.1:5"));
        assert_eq!(client(Source::Peer), address("203.0.113.7:0"));
        assert_eq!(client(Source::Unix), None);
        assert_eq!(client(Source::Unknown), None);
    }

    #[test]
    fn each_client_of_a_proxy_has_permits_of_its_own() {
        let admission = admission(1);
        let arrive =
            || ClientAddress::new(address("10.0.0.1:5"), &proxies(), &admission).expect("free");
        let (first, second) = (arrive(), arrive());
        let one = address("203.0.113.1:0");
        assert!(first.count_for(one).is_ok());
        assert!(second.count_for(one).is_err());
        assert!(second.count_for(address("203.0.113.2:0")).is_ok());
        // a further request of the same connection
        assert!(first.count_for(one).is_ok());
        assert!(first.count_for(address("203.0.113.3:0")).is_ok());
        assert!(second.count_for(one).is_ok());
        drop(second);
        let mut third = arrive();
        assert!(third.set_reported(Source::Client(one.expect("an address")), &proxies()).is_ok());
        assert!(ClientAddress::new(one, &proxies(), &admission).is_err());
    }
}
