//! The socket of a connection that has a handler: plain or TLS, used from any thread. Each call
//! says whether it may block; the first call that may block puts the socket into blocking mode.
//!
//! With TLS, records must be sent in the order in which they were made, by whichever thread. They
//! go through `wire`, and only the thread that has locked `wire` sends. If a reader has to send
//! something (a key update, RFC 8446 4.6.3), it does so unless another thread is sending; then that
//! thread, or the next one that sends, does it.

mod tls;

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    net::{
        recv, send, sendmsg, AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown,
    },
};
use rustls::Connection;

use self::tls::Tls;

/// Whether a system call may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// No: it fails with [`io::ErrorKind::WouldBlock`] instead.
    NonBlocking,
    /// Yes, until it is done.
    Blocking,
}

/// The most plain text to encrypt at a time: a few records, so that memory stays small.
const ENCRYPT_AT_ONCE: usize = 64 * 1024;

/// The most bytes to pass to the kernel at a time. A call may block until the peer has taken most
/// of them, and the keepalive thread sees progress only between two calls.
const SEND_AT_ONCE: usize = 512 * 1024;

/// The plain text of a record is at most this long (RFC 8446 5.1).
const MAX_PLAIN: usize = 16 * 1024;

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    /// Whether the socket is in blocking mode. It is switched only when a call needs it, which
    /// often saves the system call.
    blocks: AtomicBool,
    /// Bytes of plain text so far.
    received: Count,
    sent: Count,
    tls: Option<Tls>,
}

/// A counter to which only one thread at a time adds.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: usize) {
        let sum = self.0.load(Ordering::Relaxed).wrapping_add(count as u64);
        self.0.store(sum, Ordering::Relaxed);
    }
}

/// Bytes that were sent before an error.
pub(crate) type SendResult = Result<(), (usize, io::Error)>;

impl Socket {
    /// A plain TCP (or Unix) connection, in non-blocking mode.
    pub fn plain(descriptor: OwnedFd) -> Self {
        Self::new(descriptor, None)
    }

    /// A connection after its TLS handshake, in non-blocking mode.
    pub fn encrypted(descriptor: OwnedFd, connection: Connection) -> Self {
        Self::new(descriptor, Some(Tls::new(connection)))
    }

    fn new(descriptor: OwnedFd, tls: Option<Tls>) -> Self {
        Self {
            descriptor,
            blocks: AtomicBool::new(false),
            received: Count::default(),
            sent: Count::default(),
            tls,
        }
    }

    /// Bytes received and sent so far, without the overhead of TLS.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.received.0.load(Ordering::Relaxed), self.sent.0.load(Ordering::Relaxed))
    }

    /// Whether there are unread bytes.
    pub(crate) fn has_unread(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_unread)
            || rustix::io::ioctl_fionread(&self.descriptor).is_ok_and(|count| count > 0)
    }

    /// Whether everything is read and the peer has ended its direction or reset the connection.
    pub(crate) fn is_peer_gone(&self) -> bool {
        if self.tls.as_ref().is_some_and(Tls::has_unread) {
            return false;
        }
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        match recv(&self.descriptor, &mut [0_u8][..], flags) {
            Ok((_, count)) => count == 0,
            Err(error) => error != rustix::io::Errno::WOULDBLOCK,
        }
    }

    /// Whether the connection is encrypted.
    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Reads into the spare capacity of `buffer`; 0 at the end of the stream. One reader at a
    /// time.
    ///
    /// # Errors
    /// Those of `recv(2)`, and of TLS.
    pub(crate) fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        self.prepare(mode)?;
        let count = match &self.tls {
            None => receive(&self.descriptor, buffer, mode)?,
            Some(tls) => tls.receive(&self.descriptor, buffer, mode)?,
        };
        self.received.add(count);
        Ok(count)
    }

    /// Reads to the front of `target`; 0 at the end of the stream. One reader at a time.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub(crate) fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        self.prepare(mode)?;
        let count = if let Some(tls) = &self.tls {
            let mut plain = Vec::with_capacity(target.len().min(MAX_PLAIN));
            let count = tls.receive(&self.descriptor, &mut plain, mode)?.min(target.len());
            target[..count].copy_from_slice(&plain[..count]);
            count
        } else {
            receive_into(&self.descriptor, target, mode)?
        };
        self.received.add(count);
        Ok(count)
    }

    /// Sends all bytes. One sender at a time.
    ///
    /// # Errors
    /// Those of `send(2)`, with the number of bytes that were sent before.
    pub(crate) fn send(&self, bytes: &[u8], mode: Mode) -> SendResult {
        self.prepare(mode).map_err(|error| (0, error))?;
        match &self.tls {
            None => send_all(&self.descriptor, bytes, mode, &self.sent),
            Some(tls) => tls.send(&self.descriptor, bytes, mode, &self.sent),
        }
    }

    /// Sends a header and its payload without copying them together.
    ///
    /// # Errors
    /// As [`Self::send`]; the number counts the bytes of both.
    pub(crate) fn send_both(&self, header: &[u8], payload: &[u8], mode: Mode) -> SendResult {
        self.prepare(mode).map_err(|error| (0, error))?;
        match &self.tls {
            None => send_both(&self.descriptor, header, payload, mode, &self.sent),
            Some(tls) => {
                tls.send(&self.descriptor, header, mode, &self.sent)?;
                tls.send(&self.descriptor, payload, mode, &self.sent)
                    .map_err(|(sent, error)| (header.len() + sent, error))
            }
        }
    }

    /// Puts the socket into blocking mode if the call may block. Calls that must not block say so
    /// by a flag.
    fn prepare(&self, mode: Mode) -> io::Result<()> {
        if mode == Mode::Blocking && !self.blocks.load(Ordering::Relaxed) {
            rustix::io::ioctl_fionbio(&self.descriptor, false)?;
            self.blocks.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether bytes that count as sent are still waiting for room in the kernel.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_unsent)
    }

    /// Ends our direction. With TLS, sends `close_notify` first (RFC 8446 6.1).
    pub(crate) fn end_sending(&self) {
        if let Some(tls) = &self.tls {
            tls.end_sending(&self.descriptor);
        }
        self.shutdown(Shutdown::Write);
    }

    /// Ends one direction or both at once. Threads that wait in a system call on the socket wake
    /// up.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        // this fails if the peer has reset the connection, and then there is nothing left to end
        let _ = rustix::net::shutdown(&self.descriptor, how);
    }

    /// Resets the connection at once, and discards what is unsent. If the kernel cannot do that while
    /// other threads wait for the socket, it resets the connection when the socket is closed.
    pub(crate) fn reset(&self) {
        let _ = rustix::net::sockopt::set_socket_linger(&self.descriptor, Some(Duration::ZERO));
        let _ = rustix::net::connect_unspec(&self.descriptor);
        let address = rustix::net::getsockname(&self.descriptor);
        if address.is_ok_and(|address| address.address_family() == AddressFamily::UNIX) {
            // which has no reset, and whose end is as abrupt
            self.shutdown(Shutdown::Both);
        }
    }

    /// The descriptor, for a caller that goes on without TLS.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    /// The descriptor's number, for watching it.
    pub(crate) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// A second descriptor of the same socket.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
    loop {
        match recv(socket.as_fd(), spare_capacity(buffer), receive_flags(mode)) {
            Ok((_, count)) => return Ok(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn receive_into(socket: &OwnedFd, target: &mut [u8], mode: Mode) -> io::Result<usize> {
    loop {
        match recv(socket.as_fd(), &mut *target, receive_flags(mode)) {
            Ok((count, _)) => return Ok(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn receive_flags(mode: Mode) -> RecvFlags {
    match mode {
        Mode::NonBlocking => RecvFlags::DONTWAIT,
        Mode::Blocking => RecvFlags::empty(),
    }
}

fn send_all(socket: &OwnedFd, bytes: &[u8], mode: Mode, total: &Count) -> SendResult {
    let mut sent = 0;
    while sent < bytes.len() {
        let piece = &bytes[sent..bytes.len().min(sent + SEND_AT_ONCE)];
        match send(socket.as_fd(), piece, send_flags(mode)) {
            Ok(count) => {
                sent += count;
                total.add(count);
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((sent, error.into())),
        }
    }
    Ok(())
}

fn send_both(
    socket: &OwnedFd,
    header: &[u8],
    payload: &[u8],
    mode: Mode,
    total: &Count,
) -> SendResult {
    let first = &payload[..payload.len().min(SEND_AT_ONCE)];
    let slices = [IoSlice::new(header), IoSlice::new(first)];
    let mut control = SendAncillaryBuffer::default();
    let sent = loop {
        match sendmsg(socket.as_fd(), &slices, &mut control, send_flags(mode)) {
            Ok(count) => break count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((0, error.into())),
        }
    };
    total.add(sent);
    let behind = |more: usize| move |(count, error)| (more + count, error);
    let rest = if let Some(sent) = sent.checked_sub(header.len()) {
        &payload[sent..]
    } else {
        send_all(socket, &header[sent..], mode, total).map_err(behind(sent))?;
        payload
    };
    let before = header.len() + payload.len() - rest.len();
    send_all(socket, rest, mode, total).map_err(behind(before))
}

fn send_flags(mode: Mode) -> SendFlags {
    match mode {
        Mode::NonBlocking => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        Mode::Blocking => SendFlags::NOSIGNAL,
    }
}
