//! The way to the server: the name service, its addresses, and the proxy if there is one.

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
    time::Instant,
};

use tokio::{
    net::{lookup_host, TcpStream},
    time::timeout,
};

use super::{unreachable, Attempt};
use crate::client::{
    error::ConnectError,
    proxy::{Proxy, ProxyKind},
    tunnel::{self, Destination},
    url::authority,
};

impl Attempt<'_> {
    /// Connects to the server, through the proxy if there is one.
    pub(super) async fn connect_tcp(
        &self,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, ConnectError> {
        let Some(proxy) = &self.options.proxy else { return self.reach(host, port).await };
        let server = authority(host, port);
        let trace = self.options.trace.as_ref();
        match proxy.kind {
            ProxyKind::Http => {
                let stream = self.reach_proxy(proxy).await?;
                self.within_proxy(proxy, tunnel::http(stream, proxy, &server, trace)).await
            }
            ProxyKind::Socks { resolves_here: false } if host.parse::<IpAddr>().is_err() => {
                let stream = self.reach_proxy(proxy).await?;
                let asked = Destination::Name(host, port);
                self.within_proxy(proxy, tunnel::socks(stream, proxy, asked, &server)).await
            }
            ProxyKind::Socks { .. } => {
                let mut last = Err(no_address(host));
                for address in self.resolve(host, port).await? {
                    let stream = self.reach_proxy(proxy).await?;
                    let asked = Destination::Address(address);
                    let opening = tunnel::socks(stream, proxy, asked, &server);
                    last = self.within_proxy(proxy, opening).await;
                    if last.is_ok() {
                        break;
                    }
                }
                last
            }
        }
    }

    async fn reach_proxy(&self, proxy: &Proxy) -> Result<TcpStream, ConnectError> {
        let reached = self.reach(&proxy.host, proxy.port).await;
        reached.map_err(|error| ConnectError::ToProxy(proxy.name(), Box::new(error)))
    }

    async fn within_proxy(
        &self,
        proxy: &Proxy,
        opening: impl Future<Output = Result<TcpStream, ConnectError>>,
    ) -> Result<TcpStream, ConnectError> {
        let who = || format!("the proxy {}", proxy.name());
        self.within_as(who, "lead to the server", opening).await?
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
        let who = || host.to_owned();
        let finding = lookup_host((host, port));
        let found = self.within_as(who, "turn up in the name service", finding).await?;
        let unknown = |error: io::Error| ConnectError::UnknownHost {
            host: host.to_owned(),
            reason: resolving(&error),
        };
        found.map(Iterator::collect).map_err(unknown)
    }

    /// Tries all addresses of a name, one after the other; each has its share of the time.
    async fn reach(&self, host: &str, port: u16) -> Result<TcpStream, ConnectError> {
        let found = self.resolve(host, port).await?;
        let mut last = no_address(host);
        let name = || authority(host, port);
        for (number, address) in found.iter().enumerate() {
            let connecting = TcpStream::connect(address);
            let share = self.deadline.map(|deadline| {
                let left = deadline.saturating_duration_since(Instant::now());
                left / u32::try_from(found.len() - number).unwrap_or(u32::MAX)
            });
            let connected = match share {
                None => Ok(connecting.await),
                Some(share) => timeout(share, connecting).await,
            };
            match connected {
                Ok(Ok(stream)) => {
                    // small frames must not wait for Nagle's algorithm; if this fails, the
                    // connection is only slower
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Ok(Err(error)) => last = unreachable(&error, name()),
                Err(_) => last = self.timed_out(name(), "accept the connection"),
            }
        }
        Err(last)
    }
}

fn no_address(host: &str) -> ConnectError {
    ConnectError::UnknownHost { host: host.to_owned(), reason: "it has no address".to_owned() }
}

/// The text of getaddrinfo(3), without the words that the standard library puts before it.
fn resolving(error: &io::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(": ").map_or(text.as_str(), |(_, reason)| reason).to_owned()
}
