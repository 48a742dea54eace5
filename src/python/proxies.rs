//! The trusted proxies of a server from Python: a dict.

use std::net::IpAddr;

use pyo3::{exceptions::PyValueError, prelude::*};

use crate::{
    protocol::trust::{Network, Trusted},
    server,
};

/// The dict; `fastwsh.settings.proxies` describes each entry.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Proxies {
    trusted_networks: Vec<(IpAddr, u8)>,
    trusts_unix: bool,
    proxy_protocol: bool,
}

impl Proxies {
    /// For connections.
    pub(super) fn of_connections(&self) -> PyResult<server::Proxies> {
        let network = |(address, bits): &(IpAddr, u8)| {
            Network::new(*address, *bits)
                .ok_or_else(|| PyValueError::new_err(format!("no network: {address}/{bits}")))
        };
        let networks = self.trusted_networks.iter().map(network).collect::<PyResult<_>>()?;
        let trusted = Trusted { networks, unix: self.trusts_unix };
        Ok(server::Proxies { trusted, send_header: self.proxy_protocol })
    }
}
