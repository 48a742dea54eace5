//! Listening sockets, TCP and Unix behind one type.

use std::{
    io::{self, IoSlice},
    net::{self, SocketAddr},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix,
    },
};

use rustix::net::{getpeername, recv, RecvFlags, SendFlags};
use tokio::{
    io::unix::AsyncFd,
    net::{TcpStream, UnixStream},
};

use super::stream::Stream;
use crate::system::{is_unix, set_nodelay, Native, System};

/// Enough for most request heads.
const FIRST_READ: usize = 1024;

/// A listening socket.
pub(in crate::server) struct Listener {
    socket: AsyncFd<OwnedFd>,
    is_unix: bool,
}

/// A connection that is not registered with tokio yet, in non-blocking mode.
pub(in crate::server) struct Accepted {
    socket: OwnedFd,
    is_unix: bool,
    /// The peer's address; `None` on a Unix socket.
    pub(in crate::server) peer: Option<SocketAddr>,
}

impl Listener {
    /// Takes over a bound and listening socket. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// If it is no socket or cannot be watched.
    pub(in crate::server) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let is_unix = is_unix(socket.as_fd())?;
        if !is_unix {
            set_nodelay(socket.as_fd());
        }
        #[expect(deprecated, reason = "sound for a descriptor that is owned, which this one is")]
        let socket = AsyncFd::new(socket)?;
        Ok(Self { socket, is_unix })
    }

    /// The next connection.
    pub(in crate::server) async fn accept(&self) -> io::Result<Accepted> {
        let accept = |socket: &OwnedFd| Native::accept(socket.as_fd());
        let (socket, peer) = self.socket.async_io(tokio::io::Interest::READABLE, accept).await?;
        if !self.is_unix && !Native::INHERITS_NODELAY {
            set_nodelay(socket.as_fd());
        }
        Ok(Accepted { socket, is_unix: self.is_unix, peer })
    }
}

impl Accepted {
    /// Takes over a connected socket.
    ///
    /// # Errors
    /// If it is no socket, or if the peer has gone.
    pub(in crate::server) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let is_unix = is_unix(socket.as_fd())?;
        if !is_unix {
            set_nodelay(socket.as_fd());
        }
        let peer = getpeername(&socket)?.and_then(|peer| SocketAddr::try_from(peer).ok());
        Ok(Self { socket, is_unix, peer })
    }

    /// What the peer has sent already; `None` if it has gone.
    pub(in crate::server) fn read_first(&self) -> Option<Vec<u8>> {
        let mut first = Vec::with_capacity(FIRST_READ);
        let buffer = rustix::buffer::spare_capacity(&mut first);
        match recv(&self.socket, buffer, RecvFlags::DONTWAIT) {
            Ok((_, 0)) => None,
            Err(error) if error != rustix::io::Errno::WOULDBLOCK => None,
            _ => Some(first),
        }
    }

    /// Sends a last answer, or as much of it as the kernel takes at once.
    pub(in crate::server) fn send_last(&self, answer: &[u8]) {
        let _ = Native::send(self.as_fd(), &[IoSlice::new(answer)], SendFlags::DONTWAIT);
    }

    /// The socket, borrowed.
    pub(in crate::server) fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The socket.
    pub(in crate::server) fn into_socket(self) -> OwnedFd {
        self.socket
    }

    /// The connection for tokio.
    pub(in crate::server) fn into_stream(self) -> io::Result<Stream> {
        Ok(if self.is_unix {
            let stream = unix::net::UnixStream::from(self.socket);
            Stream::Unix(UnixStream::from_std(stream)?)
        } else {
            Stream::Tcp(TcpStream::from_std(net::TcpStream::from(self.socket))?)
        })
    }
}

/// Whether accepting failed because the peer had gone already.
pub(in crate::server) fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NotConnected
    )
}
