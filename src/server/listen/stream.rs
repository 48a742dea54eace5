//! A connection while it belongs to tokio: TCP, Unix or TLS behind one type.

use std::{
    io,
    net::SocketAddr,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix,
    },
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use rustix::net::{recv, RecvFlags};
use tokio::{
    io::{AsyncRead, AsyncWrite, Interest, ReadBuf},
    net::{TcpStream, UnixStream},
};
use tokio_rustls::server::TlsStream;

use super::late_records::LateRecords;
use crate::{
    connection::{stall::Uptake, ByteStream, PlainSocket, TlsSocket},
    system::{HangUp, Native, System},
};

/// A connected stream.
#[derive(Debug)]
pub(in crate::server) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream<LateRecords>>),
}

impl Stream {
    /// Takes over a connected Unix socket. To be called inside a tokio runtime.
    ///
    /// # Errors
    /// If it is no socket or cannot be watched.
    pub(in crate::server) fn unix(socket: OwnedFd) -> io::Result<Self> {
        let socket = unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        Ok(Self::Unix(UnixStream::from_std(socket)?))
    }

    /// Whether the peer has gone, even if some of its bytes are unread.
    pub(in crate::server) fn hang_up(&self) -> Option<HangUp> {
        Native::hang_up(self.descriptor())
    }

    /// What the peer has taken of `sent` bytes.
    pub(in crate::server) fn uptake(&self, sent: u64) -> Uptake {
        Uptake::of(self.descriptor(), sent)
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.get_ref().0.stream().as_fd(),
        }
    }

    /// Takes it out of tokio, for a handler.
    pub(in crate::server) fn into_socket(self) -> io::Result<Arc<dyn ByteStream>> {
        match self {
            Self::Tcp(stream) => {
                let peer = stream.peer_addr().ok();
                Ok(Arc::new(PlainSocket::new(stream.into_std()?.into(), peer)))
            }
            Self::Unix(stream) => Ok(Arc::new(PlainSocket::new(stream.into_std()?.into(), None))),
            Self::Tls(stream) => {
                let (records, connection) = stream.into_inner();
                let (stream, late) = records.into_parts();
                let peer = stream.peer_addr().ok();
                let stream = stream.into_std()?.into();
                Ok(Arc::new(TlsSocket::new(stream, peer, connection.into(), late)))
            }
        }
    }

    /// The server's address on this connection; `None` on a Unix socket.
    pub(in crate::server) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok(),
            Self::Unix(_) => None,
            Self::Tls(stream) => stream.get_ref().0.stream().local_addr().ok(),
        }
    }

    /// Reads bytes without removing them from the socket; returns 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of `recv(2)`; with TLS this is not supported.
    pub(in crate::server) async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.peek(buffer).await,
            Self::Unix(stream) => {
                let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
                let look = || Ok(recv(stream, &mut *buffer, flags)?.0);
                stream.async_io(Interest::READABLE, look).await
            }
            Self::Tls(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the connection is encrypted.
    pub(in crate::server) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, buffers),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
