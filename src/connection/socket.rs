//! The socket of a connection that has a handler: plain or TLS, used from any thread. Each call
//! says whether it may block.
//!
//! With TLS, records must be sent in the order in which they were made, by whichever thread. They
//! go through `wire`, and only the thread that has locked `wire` sends. If a reader has to send
//! something (a key update, RFC 8446 4.6.3), it does so unless another thread is sending; then that
//! thread, or the next one that sends, does it.

mod system_calls;
mod tls;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, OwnedFd},
    time::Duration,
};

use rustix::net::{recv, AddressFamily, RecvFlags, Shutdown};
use rustls::Connection;

use self::{
    system_calls::{Count, Descriptor},
    tls::Tls,
};
use super::byte_stream::{ByteStream, Direction, Mode, ReadinessSource, SendResult};
use crate::system::{set_nodelay, Native};

/// A plain TCP (or Unix) connection.
#[derive(Debug)]
pub struct PlainSocket(Socket);

/// A connection with TLS.
#[derive(Debug)]
pub struct TlsSocket {
    socket: Socket,
    tls: Tls,
}

/// A connected socket, and what went over it.
#[derive(Debug)]
struct Socket {
    descriptor: Descriptor<Native>,
    peer: Option<SocketAddr>,
    /// Bytes of plain text so far.
    received: Count,
    sent: Count,
}

impl PlainSocket {
    /// Takes over a socket in non-blocking mode. A Unix socket has no peer's address.
    pub fn new(descriptor: OwnedFd, peer: Option<SocketAddr>) -> Self {
        Self(Socket::new(descriptor, peer))
    }
}

impl TlsSocket {
    /// Takes over a socket in non-blocking mode after its TLS handshake. The `late` records of the
    /// handshake go with the first bytes that are sent.
    pub fn new(
        descriptor: OwnedFd,
        peer: Option<SocketAddr>,
        connection: Connection,
        late: Vec<u8>,
    ) -> Self {
        Self { socket: Socket::new(descriptor, peer), tls: Tls::new(connection, late) }
    }
}

impl Socket {
    fn new(descriptor: OwnedFd, peer: Option<SocketAddr>) -> Self {
        Self {
            descriptor: Descriptor::new(descriptor),
            peer,
            received: Count::default(),
            sent: Count::default(),
        }
    }

    fn note_received(&self, received: io::Result<usize>) -> io::Result<usize> {
        received.inspect(|count| self.received.add(*count))
    }

    fn traffic(&self) -> (u64, u64) {
        (self.received.get(), self.sent.get())
    }

    fn push(&self) {
        set_nodelay(self.descriptor.as_fd());
    }

    fn has_unread(&self) -> bool {
        rustix::io::ioctl_fionread(&self.descriptor).is_ok_and(|count| count > 0)
    }

    fn is_peer_gone(&self) -> bool {
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&self.descriptor, &mut [0_u8][..], flags) {
            Ok((_, count)) => count == 0,
            Err(error) => error != rustix::io::Errno::WOULDBLOCK,
        }
    }

    fn shutdown(&self, direction: Direction) {
        let how = match direction {
            Direction::Receiving => Shutdown::Read,
            Direction::Sending => Shutdown::Write,
            Direction::Both => Shutdown::Both,
        };
        // this fails if the peer has reset the connection, and then there is nothing left to end
        let _ = rustix::net::shutdown(&self.descriptor, how);
    }

    /// Resets the connection at once, and discards what is unsent. If the kernel cannot do that while
    /// other threads wait for the socket, it resets the connection when the socket is closed.
    fn reset(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.descriptor, Some(Duration::ZERO));
        let _ = rustix::net::connect_unspec(&self.descriptor);
        let address = rustix::net::getsockname(&self.descriptor);
        if address.is_ok_and(|address| address.address_family() == AddressFamily::UNIX) {
            // a Unix socket has no reset; ending both directions is as abrupt
            self.shutdown(Direction::Both);
        }
    }
}

impl ByteStream for PlainSocket {
    fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        let received = self.0.descriptor.receive(buffer, mode);
        self.0.note_received(received)
    }

    fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        let received = self.0.descriptor.receive_into(target, mode);
        self.0.note_received(received)
    }

    fn send(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult {
        let Socket { descriptor, sent, .. } = &self.0;
        if second.is_empty() {
            return descriptor.send_all(first, mode, sent);
        }
        descriptor.send_both(first, second, mode, sent)
    }

    fn push(&self) {
        self.0.push();
    }

    fn has_unsent(&self) -> bool {
        false
    }

    fn buffers_input(&self) -> bool {
        false
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.0.peer
    }

    fn is_tls(&self) -> bool {
        false
    }

    fn has_unread(&self) -> bool {
        self.0.has_unread()
    }

    fn is_peer_gone(&self) -> bool {
        self.0.is_peer_gone()
    }

    fn traffic(&self) -> (u64, u64) {
        self.0.traffic()
    }

    fn end_sending(&self) {
        self.0.shutdown(Direction::Sending);
    }

    fn shutdown(&self, direction: Direction) {
        self.0.shutdown(direction);
    }

    fn reset(&self) {
        self.0.reset();
    }

    fn readiness(&self) -> ReadinessSource<'_> {
        ReadinessSource::Descriptor(self.0.descriptor.as_fd())
    }
}

impl ByteStream for TlsSocket {
    fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        let received = self.tls.receive(&self.socket.descriptor, mode, &mut |plain| {
            let count = plain.len().min(buffer.capacity() - buffer.len());
            buffer.extend_from_slice(&plain[..count]);
            count
        });
        self.socket.note_received(received)
    }

    fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        let received = self.tls.receive(&self.socket.descriptor, mode, &mut |plain| {
            let count = plain.len().min(target.len());
            target[..count].copy_from_slice(&plain[..count]);
            count
        });
        self.socket.note_received(received)
    }

    fn send(&self, first: &[u8], second: &[u8], mode: Mode) -> SendResult {
        let Socket { descriptor, sent: total, .. } = &self.socket;
        self.tls.send(descriptor, (first, second), mode, total)
    }

    fn push(&self) {
        self.socket.push();
    }

    fn has_unsent(&self) -> bool {
        self.tls.has_unsent()
    }

    fn buffers_input(&self) -> bool {
        self.tls.may_have_more()
    }

    fn peer(&self) -> Option<SocketAddr> {
        self.socket.peer
    }

    fn is_tls(&self) -> bool {
        true
    }

    fn has_unread(&self) -> bool {
        self.tls.has_unread() || self.socket.has_unread()
    }

    fn is_peer_gone(&self) -> bool {
        !self.tls.has_unread() && self.socket.is_peer_gone()
    }

    fn traffic(&self) -> (u64, u64) {
        self.socket.traffic()
    }

    fn end_sending(&self) {
        // `close_notify` comes first (RFC 8446 6.1)
        self.tls.end_sending(&self.socket.descriptor);
        self.socket.shutdown(Direction::Sending);
    }

    fn shutdown(&self, direction: Direction) {
        self.socket.shutdown(direction);
    }

    fn reset(&self) {
        self.socket.reset();
    }

    fn readiness(&self) -> ReadinessSource<'_> {
        ReadinessSource::Descriptor(self.socket.descriptor.as_fd())
    }
}
