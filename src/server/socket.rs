//! The socket of a connection that has a handler: plain or TLS, used from any thread. Who must not
//! block says so with each call; the first that may block puts it into blocking mode.
//!
//! With TLS, records must leave in the order in which they were made, whoever made them: they go
//! through `wire`, whose holder alone sends. A reader that owes the peer something (a key update)
//! sends it if nobody is sending; otherwise the next sender does.

use std::{
    io::{self, BufRead, IoSlice, Write},
    os::fd::{AsFd, AsRawFd, OwnedFd, RawFd},
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex,
    },
};

use rustix::{
    buffer::spare_capacity,
    net::{recv, send, sendmsg, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown},
};
use rustls::ServerConnection;

use crate::locks::{lock, try_lock};

/// Whether a system call may block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// It fails with [`io::ErrorKind::WouldBlock`] instead.
    NonBlocking,
    /// Until it can be done.
    Blocking,
}

/// Plain text that is encrypted at a time: a few records, so that memory stays small.
const ENCRYPT_AT_ONCE: usize = 64 * 1024;

/// The plain text of a record is at most this long (RFC 8446 5.1).
const MAX_PLAIN: usize = 16 * 1024;

/// A connected socket.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    /// In blocking mode; until somebody wants to block, the system call for that is saved.
    blocks: AtomicBool,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Tls {
    connection: Mutex<Box<ServerConnection>>,
    /// Records that the kernel did not take at once.
    wire: Mutex<Vec<u8>>,
    /// Received bytes behind those that made the plain text that is there; for the one reader.
    records: Mutex<Vec<u8>>,
}

/// Bytes that were sent before an error.
pub(super) type SendResult = Result<(), (usize, io::Error)>;

impl Socket {
    /// A plain TCP (or Unix) connection, in non-blocking mode.
    pub fn plain(descriptor: OwnedFd) -> Self {
        Self { descriptor, blocks: AtomicBool::new(false), tls: None }
    }

    /// A connection whose TLS handshake is done, in non-blocking mode.
    pub fn encrypted(descriptor: OwnedFd, connection: ServerConnection) -> Self {
        let connection = Mutex::new(Box::new(connection));
        let tls = Some(Tls { connection, wire: Mutex::default(), records: Mutex::default() });
        Self { descriptor, blocks: AtomicBool::new(false), tls }
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
    pub(super) fn receive(&self, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        self.prepare(mode)?;
        match &self.tls {
            None => receive(&self.descriptor, buffer, mode),
            Some(tls) => tls.receive(&self.descriptor, buffer, mode),
        }
    }

    /// Reads to the front of `target`; 0 at the end of the stream. One reader at a time.
    ///
    /// # Errors
    /// As [`Self::receive`].
    pub(super) fn receive_slice(&self, target: &mut [u8], mode: Mode) -> io::Result<usize> {
        self.prepare(mode)?;
        let Some(tls) = &self.tls else {
            return receive_into(&self.descriptor, target, mode);
        };
        let mut plain = Vec::with_capacity(target.len().min(MAX_PLAIN));
        let count = tls.receive(&self.descriptor, &mut plain, mode)?.min(target.len());
        target[..count].copy_from_slice(&plain[..count]);
        Ok(count)
    }

    /// Sends all bytes. One sender at a time.
    ///
    /// # Errors
    /// Those of `send(2)`, with the number of bytes that were sent before.
    pub(super) fn send(&self, bytes: &[u8], mode: Mode) -> SendResult {
        self.prepare(mode).map_err(|error| (0, error))?;
        match &self.tls {
            None => send_all(&self.descriptor, bytes, mode),
            Some(tls) => tls.send(&self.descriptor, bytes, mode),
        }
    }

    /// Sends a header and its payload without copying them together.
    ///
    /// # Errors
    /// As [`Self::send`]; the number counts the bytes of both.
    pub(super) fn send_both(&self, header: &[u8], payload: &[u8], mode: Mode) -> SendResult {
        self.prepare(mode).map_err(|error| (0, error))?;
        match &self.tls {
            None => send_both(&self.descriptor, header, payload, mode),
            Some(tls) => {
                tls.send(&self.descriptor, header, mode)?;
                tls.send(&self.descriptor, payload, mode)
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
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !lock(&tls.wire).is_empty())
    }

    /// Ends our direction, with TLS's own good-bye if there is TLS.
    pub(super) fn end_sending(&self) {
        if let Some(tls) = &self.tls {
            lock(&tls.connection).send_close_notify();
            // a peer that takes nothing does not get it
            let _ = tls.send(&self.descriptor, &[], Mode::NonBlocking);
        }
        self.shutdown(Shutdown::Write);
    }

    /// Ends directions at once; whoever waits inside wakes up.
    pub(super) fn shutdown(&self, how: Shutdown) {
        // a socket that the peer has reset is no longer connected, which is as good
        let _ = rustix::net::shutdown(&self.descriptor, how);
    }

    /// The descriptor, for who goes on without TLS.
    pub(super) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    /// The descriptor's number, for watching it.
    pub(super) fn descriptor(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }

    /// A second descriptor of the same socket.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }
}

impl Tls {
    fn receive(&self, socket: &OwnedFd, buffer: &mut Vec<u8>, mode: Mode) -> io::Result<usize> {
        let mut records = lock(&self.records);
        loop {
            let mut connection = lock(&self.connection);
            let mut unread = &records[..];
            // no further than to some plain text: rustls keeps little of it
            while !unread.is_empty() {
                connection.read_tls(&mut unread)?;
                let state = connection.process_new_packets().map_err(io::Error::other)?;
                if state.plaintext_bytes_to_read() > 0 {
                    break;
                }
            }
            let used = records.len() - unread.len();
            records.drain(..used);
            let owes = connection.wants_write();
            let read = {
                let mut reader = connection.reader();
                match reader.fill_buf() {
                    Ok(plain) => {
                        let count = plain.len().min(buffer.capacity() - buffer.len());
                        buffer.extend_from_slice(&plain[..count]);
                        reader.consume(count);
                        Ok(count)
                    }
                    Err(error) => Err(error),
                }
            };
            drop(connection);
            if owes {
                self.send_owed(socket);
            }
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // a peer that ends TCP without a good-bye has ended all the same
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => return other,
            }
            if !records.is_empty() {
                continue;
            }
            records.reserve_exact(17 * 1024);
            let received = receive(socket, &mut records, mode);
            if !matches!(received, Ok(1..)) {
                *records = Vec::new();
            }
            if received? == 0 {
                return Ok(0);
            }
        }
    }

    fn send(&self, socket: &OwnedFd, bytes: &[u8], mode: Mode) -> SendResult {
        let mut wire = lock(&self.wire);
        let mut sent = 0;
        loop {
            push_wire(socket, &mut wire, mode).map_err(|error| (sent, error))?;
            let piece = &bytes[sent..bytes.len().min(sent + ENCRYPT_AT_ONCE)];
            let mut connection = lock(&self.connection);
            let taken = connection.writer().write(piece).map_err(|error| (sent, error))?;
            while connection.wants_write() {
                connection.write_tls(&mut *wire).map_err(|error| (sent, error))?;
            }
            drop(connection);
            // what is encrypted counts as sent: it cannot be taken back
            sent += taken;
            match push_wire(socket, &mut wire, mode) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent == bytes.len() => {}
                other => other.map_err(|error| (sent, error))?,
            }
            if sent == bytes.len() {
                return Ok(());
            }
        }
    }

    fn send_owed(&self, socket: &OwnedFd) {
        let Some(mut wire) = try_lock(&self.wire) else { return };
        let mut connection = lock(&self.connection);
        while connection.wants_write() {
            if connection.write_tls(&mut *wire).is_err() {
                return;
            }
        }
        drop(connection);
        // what is left goes with what is sent next
        let _ = push_wire(socket, &mut wire, Mode::NonBlocking);
    }
}

fn push_wire(socket: &OwnedFd, wire: &mut Vec<u8>, mode: Mode) -> io::Result<()> {
    match send_all(socket, wire, mode) {
        Ok(()) => {
            wire.clear();
            wire.shrink_to(ENCRYPT_AT_ONCE);
            Ok(())
        }
        Err((sent, error)) => {
            wire.drain(..sent);
            Err(error)
        }
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

fn send_all(socket: &OwnedFd, bytes: &[u8], mode: Mode) -> SendResult {
    let mut sent = 0;
    while sent < bytes.len() {
        match send(socket.as_fd(), &bytes[sent..], send_flags(mode)) {
            Ok(count) => sent += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((sent, error.into())),
        }
    }
    Ok(())
}

fn send_both(socket: &OwnedFd, header: &[u8], payload: &[u8], mode: Mode) -> SendResult {
    let slices = [IoSlice::new(header), IoSlice::new(payload)];
    let mut control = SendAncillaryBuffer::default();
    let sent = loop {
        match sendmsg(socket.as_fd(), &slices, &mut control, send_flags(mode)) {
            Ok(count) => break count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((0, error.into())),
        }
    };
    let behind = |more: usize| move |(count, error)| (more + count, error);
    let rest = if let Some(sent) = sent.checked_sub(header.len()) {
        &payload[sent..]
    } else {
        send_all(socket, &header[sent..], mode).map_err(behind(sent))?;
        payload
    };
    let before = header.len() + payload.len() - rest.len();
    send_all(socket, rest, mode).map_err(behind(before))
}

fn send_flags(mode: Mode) -> SendFlags {
    match mode {
        Mode::NonBlocking => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        Mode::Blocking => SendFlags::NOSIGNAL,
    }
}
