//! A TCP connection under TLS whose last records of the handshake wait for the first answer.
//!
//! With TLS 1.3, the session tickets come behind the handshake, and no client waits for them (RFC
//! 8446 4.6.1). Sent at once, they meet the request on its way. That costs a segment and wakes the
//! client once more, and it stops clients whose one thread receives the tickets while another sends
//! the request, which OpenSSL does not allow for one connection.

use std::{
    future::poll_fn,
    io::{self, IoSlice},
    iter,
    os::fd::AsFd,
    pin::Pin,
    task::{ready, Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use crate::system::{Native, System};

/// Sends records of the handshake when the peer has to have them before it goes on, and those of
/// TLS 1.3 that are left then with the first bytes that follow.
#[derive(Debug)]
pub(in crate::server) struct LateRecords {
    stream: TcpStream,
    late: Vec<u8>,
    is_handshaking: bool,
    /// Whether the peer knows that its last message of the handshake has come.
    is_acknowledged: bool,
}

impl LateRecords {
    pub(in crate::server) fn new(stream: TcpStream) -> Self {
        Self { stream, late: Vec::new(), is_handshaking: true, is_acknowledged: false }
    }

    pub(in crate::server) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The connection, and the records that still have to be sent before all others.
    pub(in crate::server) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream, self.late)
    }

    /// Ends the handshake. If the peer waits for the last records, they are sent now.
    ///
    /// # Errors
    /// Those of `send(2)`.
    pub(in crate::server) async fn end_handshake(&mut self, peer_waits: bool) -> io::Result<()> {
        self.is_handshaking = false;
        if peer_waits {
            poll_fn(|context| self.poll_late(context)).await?;
        }
        Ok(())
    }

    fn poll_late(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.late.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(context, &self.late))?;
            self.late.drain(..sent);
        }
        self.late = Vec::new();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for LateRecords {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let read = Pin::new(&mut this.stream).poll_read(context, buffer);
        if read.is_ready() || this.late.is_empty() {
            return read;
        }
        // it is the peer's turn. It may not send its request before the end of its handshake is
        // acknowledged (RFC 896), which the tickets would have done
        if !this.is_handshaking && !this.is_acknowledged {
            this.is_acknowledged = Native::acknowledge(this.stream.as_fd());
        }
        if this.is_acknowledged {
            return read;
        }
        match this.poll_late(context) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            _ => read,
        }
    }
}

impl AsyncWrite for LateRecords {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.is_handshaking {
            let before = this.late.len();
            for piece in pieces {
                this.late.extend_from_slice(piece);
            }
            return Poll::Ready(Ok(this.late.len() - before));
        }
        if this.late.is_empty() {
            return Pin::new(&mut this.stream).poll_write_vectored(context, pieces);
        }
        // one segment for both
        let all: Vec<_> =
            iter::once(IoSlice::new(&this.late)).chain(pieces.iter().copied()).collect();
        let sent = ready!(Pin::new(&mut this.stream).poll_write_vectored(context, &all))?;
        let late = this.late.len();
        if sent > late {
            this.late = Vec::new();
            return Poll::Ready(Ok(sent - late));
        }
        this.late.drain(..sent);
        // what is left must go before the pieces
        ready!(this.poll_late(context))?;
        Pin::new(&mut this.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::ErrorKind, os::fd::AsFd, time::Duration};

    use rustix::net::{recv, sockopt::set_socket_linger, RecvFlags};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
        time::timeout,
    };

    use super::LateRecords;
    use crate::system::{Native, System};

    async fn connected() -> (LateRecords, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let peer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (LateRecords::new(listener.accept().await.unwrap().0), peer)
    }

    /// What has come; over the loopback interface, all that was sent.
    fn arrived(peer: &TcpStream) -> Vec<u8> {
        let mut bytes = vec![0; 1024];
        // asks the kernel, and not tokio, which may not have heard of the bytes yet
        let received = recv(peer, &mut bytes, RecvFlags::DONTWAIT);
        bytes.truncate(received.map_or(0, |(_, count)| count));
        bytes
    }

    /// Reads although the peer has sent nothing.
    async fn wait_for_peer(records: &mut LateRecords) {
        let mut one = [0];
        let read = timeout(Duration::ZERO, records.read(&mut one)).await;
        assert!(read.is_err());
    }

    #[tokio::test]
    async fn the_peer_gets_records_when_it_is_its_turn() {
        let (mut records, peer) = connected().await;
        records.write_all(b"hello, ").await.unwrap();
        records.write_all(b"certificate").await.unwrap();
        records.flush().await.unwrap();
        assert_eq!(arrived(&peer), b"");
        wait_for_peer(&mut records).await;
        assert_eq!(arrived(&peer), b"hello, certificate");
    }

    #[tokio::test]
    async fn tickets_go_with_the_answer() {
        let (mut records, peer) = connected().await;
        records.write_all(b"tickets, ").await.unwrap();
        records.end_handshake(false).await.unwrap();
        wait_for_peer(&mut records).await;
        records.flush().await.unwrap();
        assert_eq!(arrived(&peer), b"");
        assert_eq!(records.write(b"answer").await.unwrap(), 6);
        assert_eq!(arrived(&peer), b"tickets, answer");
        assert_eq!(records.into_parts().1, b"");
    }

    #[tokio::test]
    async fn the_end_of_the_peers_handshake_is_acknowledged() {
        let (mut records, mut peer) = connected().await;
        // this side answers so often that the system waits for an answer to the last one, too
        for _ in 0..4 {
            peer.write_all(b"hello").await.unwrap();
            records.read_exact(&mut [0; 5]).await.unwrap();
            records.write_all(b"hello").await.unwrap();
            wait_for_peer(&mut records).await;
        }
        peer.write_all(b"finished").await.unwrap();
        records.read_exact(&mut [0; 8]).await.unwrap();
        records.write_all(b"tickets").await.unwrap();
        assert_ne!(Native::acknowledges(records.stream().as_fd()), Some(true));
        records.end_handshake(false).await.unwrap();
        wait_for_peer(&mut records).await;
        assert_ne!(Native::acknowledges(records.stream().as_fd()), Some(false));
        assert_eq!(arrived(&peer), b"hello".repeat(4));
    }

    #[tokio::test]
    async fn a_peer_that_waits_for_the_last_records_gets_them() {
        let (mut records, peer) = connected().await;
        records.write_all(b"finished").await.unwrap();
        records.end_handshake(true).await.unwrap();
        assert_eq!(arrived(&peer), b"finished");
    }

    #[tokio::test]
    async fn whoever_takes_the_connection_out_gets_what_is_left() {
        let (mut records, peer) = connected().await;
        records.write_all(b"tickets").await.unwrap();
        records.end_handshake(false).await.unwrap();
        let (_stream, late) = records.into_parts();
        assert_eq!(late, b"tickets");
        assert_eq!(arrived(&peer), b"");
    }

    #[tokio::test]
    async fn more_than_the_kernel_takes_comes_in_order() {
        let (mut records, mut peer) = connected().await;
        let (tickets, answer) = (vec![1; 8 << 20], vec![2; 8 << 20]);
        records.write_all(&tickets).await.unwrap();
        records.end_handshake(false).await.unwrap();
        let sender = async {
            records.write_all(&answer).await.unwrap();
            records.shutdown().await.unwrap();
        };
        let mut received = Vec::new();
        let ((), read) = tokio::join!(sender, peer.read_to_end(&mut received));
        read.unwrap();
        assert!(received == [tickets, answer].concat());
    }

    #[tokio::test]
    async fn a_lost_peer_is_an_error() {
        let (mut records, peer) = connected().await;
        set_socket_linger(&peer, Some(Duration::ZERO)).unwrap();
        drop(peer);
        records.write_all(b"finished").await.unwrap();
        let error = records.end_handshake(true).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset));
    }
}
