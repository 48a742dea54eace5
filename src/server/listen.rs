//! Listening sockets, TCP and Unix behind one type.

use std::{
    io,
    net::{self, SocketAddr},
    os::{fd::OwnedFd, unix},
};

use rustix::net::{sockopt::socket_domain, AddressFamily};
use tokio::net::{TcpListener, UnixListener};

use super::stream::Stream;

/// A listening socket.
pub(super) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Takes over a bound and listening socket; inside a tokio runtime.
    ///
    /// # Errors
    /// If it is no socket or cannot be watched.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        if socket_domain(&socket)? == AddressFamily::UNIX {
            UnixListener::from_std(unix::net::UnixListener::from(socket)).map(Self::Unix)
        } else {
            TcpListener::from_std(net::TcpListener::from(socket)).map(Self::Tcp)
        }
    }

    /// The next connection, and its peer's address.
    pub(super) async fn accept(&self) -> io::Result<(Stream, Option<SocketAddr>)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // without it small replies leave in batches 40 to 200 ms apart
                let _ = stream.set_nodelay(true);
                Ok((Stream::Tcp(stream), Some(peer)))
            }
            Self::Unix(listener) => {
                listener.accept().await.map(|(stream, _)| (Stream::Unix(stream), None))
            }
        }
    }
}

/// Whether accepting failed because the peer had gone already.
pub(super) fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
