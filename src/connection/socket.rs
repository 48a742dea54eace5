//! The socket of a connection that has a handler: plain or TLS, used from any thread. Who must not
//! block says so with each call; the first that may block puts it into blocking mode.
//!
//! With TLS, records must leave in the order in which they were made, whoever made them: they go
//! through `wire`, whose holder alone sends. A reader that owes the peer something (a key update)
//! sends it if nobody is sending; otherwise the next sender does.

mod tls;

use std::{
    io::{self, IoSlice},
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use rustix::{
    buffer::spare_capacity,
    net::{recv, send, sendmsg, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown},
};
use rustls::Connection;

use self::tls::Tls;

/// Whether a system call may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It fails with [`io::ErrorKind::WouldBlock`] instead.
    NonBlocking,
    /// Until it can be done.
    Blocking,
}

/// Plain text that is encrypted at a time: a few records, so that memory stays small.
const ENCRYPT_AT_ONCE: usize = 64 * 1024;

/// Bytes that are given to the kernel at a time: it may block until the peer has taken most of them,
/// and that they go on is only seen between two calls.
const SEND_AT_ONCE: usize = 512 * 1024;

/// The plain text of a record is at most this long (RFC 8446 5.1).
const MAX_PLAIN: usize = 16 * 1024;

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    /// In blocking mode; until somebody wants to block, the system call for that is saved.
    blocks: AtomicBool,
    /// Bytes of plain text so far.
    received: Count,
    sent: Count,
    tls: Option<Tls>,
}

/// A number that one thread at a time adds to.
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

    /// A connection whose TLS handshake is done, in non-blocking mode.
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

    /// Bytes received and sent so far, TLS's own left out.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        (self.received.0.load(Ordering::Relaxed), self.sent.0.load(Ordering::Relaxed))
    }

    /// Whether there are bytes that nobody has read.
    pub(crate) fn has_unread(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_unread)
            || rustix::io::ioctl_fionread(&self.descriptor).is_ok_and(|count| count > 0)
    }

    /// Whether the peer has ended its direction, or reset the connection, and all is read.
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

    /// Gets the socket into the mode that a call needs: every call that must not block says so.
    fn prepare(&self, mode: Mode) -> io::Result<()> {
        if mode == Mode::Blocking && !self.blocks.load(Ordering::Relaxed) {
            rustix::io::ioctl_fionbio(&self.descriptor, false)?;
            self.blocks.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether bytes that count as sent wait for the kernel to take them.
    pub(crate) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(Tls::has_unsent)
    }

    /// Ends our direction, with TLS's own good-bye if there is TLS.
    pub(crate) fn end_sending(&self) {
        if let Some(tls) = &self.tls {
            tls.end_sending(&self.descriptor);
        }
        self.shutdown(Shutdown::Write);
    }

    /// Ends directions at once; whoever waits inside wakes up.
    pub(crate) fn shutdown(&self, how: Shutdown) {
        // a socket that the peer has reset is no longer connected, which is as good
        let _ = rustix::net::shutdown(&self.descriptor, how);
    }

    /// Has the kernel answer the last close with a reset in place of what is unsent and an orderly
    /// end.
    pub(crate) fn reset_on_close(&self) {
        // a Unix socket has no reset, and its end is as abrupt
        let _ = rustix::net::sockopt::set_socket_linger(&self.descriptor, Some(Duration::ZERO));
    }

    /// The descriptor, for who goes on without TLS.
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
