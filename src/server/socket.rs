//! The socket of a connection that has a handler: blocking, plain or TLS, used from any thread.
//!
//! With TLS, records must leave in the order in which they were made, whoever made them: they go
//! through `wire`, whose holder alone sends. A reader that owes the peer something (a key update)
//! sends it if nobody is sending; otherwise the next sender does.

use std::{
    io::{self, BufRead, IoSlice, Write},
    os::fd::{AsFd, OwnedFd},
    sync::Mutex,
};

use rustix::{
    buffer::spare_capacity,
    net::{recv, send, sendmsg, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown},
};
use rustls::ServerConnection;

use crate::locks::{lock, try_lock};

/// How an operation waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: [`io::ErrorKind::WouldBlock`].
    Never,
    /// Until it can be done.
    Long,
}

/// Plain text that is encrypted at a time: a few records, so that memory stays small.
const ENCRYPT_AT_ONCE: usize = 64 * 1024;

/// A connected socket in blocking mode.
#[derive(Debug)]
pub struct Socket {
    descriptor: OwnedFd,
    tls: Option<Tls>,
}

#[derive(Debug)]
struct Tls {
    connection: Mutex<Box<ServerConnection>>,
    /// Records that the kernel did not take at once.
    wire: Mutex<Vec<u8>>,
}

/// Bytes that were sent before an error.
pub(super) type SendResult = Result<(), (usize, io::Error)>;

impl Socket {
    /// A plain TCP (or Unix) connection.
    pub fn plain(descriptor: OwnedFd) -> Self {
        Self { descriptor, tls: None }
    }

    /// A connection whose TLS handshake is done.
    pub fn encrypted(descriptor: OwnedFd, connection: ServerConnection) -> Self {
        let connection = Mutex::new(Box::new(connection));
        Self { descriptor, tls: Some(Tls { connection, wire: Mutex::default() }) }
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
    pub(super) fn receive(&self, buffer: &mut Vec<u8>, wait: Wait) -> io::Result<usize> {
        match &self.tls {
            None => receive(&self.descriptor, buffer, wait),
            Some(tls) => tls.receive(&self.descriptor, buffer, wait),
        }
    }

    /// Sends all bytes. One sender at a time.
    ///
    /// # Errors
    /// Those of `send(2)`, with the number of bytes that were sent before.
    pub(super) fn send(&self, bytes: &[u8], wait: Wait) -> SendResult {
        match &self.tls {
            None => send_all(&self.descriptor, bytes, wait),
            Some(tls) => tls.send(&self.descriptor, bytes, wait),
        }
    }

    /// Sends a header and its payload without copying them together.
    ///
    /// # Errors
    /// As [`Self::send`].
    pub(super) fn send_both(&self, header: &[u8], payload: &[u8]) -> io::Result<()> {
        let sent = match &self.tls {
            None => send_both(&self.descriptor, header, payload),
            Some(tls) => tls
                .send(&self.descriptor, header, Wait::Long)
                .and_then(|()| tls.send(&self.descriptor, payload, Wait::Long)),
        };
        sent.map_err(|(_, error)| error)
    }

    /// Ends our direction, with TLS's own good-bye if there is TLS.
    pub(super) fn end_sending(&self) {
        if let Some(tls) = &self.tls {
            lock(&tls.connection).send_close_notify();
            // a peer that takes nothing does not get it
            let _ = tls.send(&self.descriptor, &[], Wait::Never);
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

    /// A second descriptor of the same socket.
    pub(super) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.descriptor.try_clone()
    }
}

impl Tls {
    fn receive(&self, socket: &OwnedFd, buffer: &mut Vec<u8>, wait: Wait) -> io::Result<usize> {
        let mut records = Vec::new();
        loop {
            let mut connection = lock(&self.connection);
            let mut unread = &records[..];
            while !unread.is_empty() {
                connection.read_tls(&mut unread)?;
                connection.process_new_packets().map_err(io::Error::other)?;
            }
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
            records.clear();
            records.reserve_exact(17 * 1024);
            if receive(socket, &mut records, wait)? == 0 {
                return Ok(0);
            }
        }
    }

    fn send(&self, socket: &OwnedFd, bytes: &[u8], wait: Wait) -> SendResult {
        let mut wire = lock(&self.wire);
        let mut sent = 0;
        loop {
            push_wire(socket, &mut wire, wait).map_err(|error| (sent, error))?;
            let piece = &bytes[sent..bytes.len().min(sent + ENCRYPT_AT_ONCE)];
            let mut connection = lock(&self.connection);
            let taken = connection.writer().write(piece).map_err(|error| (sent, error))?;
            while connection.wants_write() {
                connection.write_tls(&mut *wire).map_err(|error| (sent, error))?;
            }
            drop(connection);
            // what is encrypted counts as sent: it cannot be taken back
            sent += taken;
            match push_wire(socket, &mut wire, wait) {
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
        let _ = push_wire(socket, &mut wire, Wait::Never);
    }
}

fn push_wire(socket: &OwnedFd, wire: &mut Vec<u8>, wait: Wait) -> io::Result<()> {
    match send_all(socket, wire, wait) {
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

fn receive(socket: &OwnedFd, buffer: &mut Vec<u8>, wait: Wait) -> io::Result<usize> {
    let flags = match wait {
        Wait::Never => RecvFlags::DONTWAIT,
        Wait::Long => RecvFlags::empty(),
    };
    loop {
        match recv(socket.as_fd(), spare_capacity(buffer), flags) {
            Ok((_, count)) => return Ok(count),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn send_all(socket: &OwnedFd, bytes: &[u8], wait: Wait) -> SendResult {
    let flags = match wait {
        Wait::Never => SendFlags::NOSIGNAL | SendFlags::DONTWAIT,
        Wait::Long => SendFlags::NOSIGNAL,
    };
    let mut sent = 0;
    while sent < bytes.len() {
        match send(socket.as_fd(), &bytes[sent..], flags) {
            Ok(count) => sent += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((sent, error.into())),
        }
    }
    Ok(())
}

fn send_both(socket: &OwnedFd, header: &[u8], payload: &[u8]) -> SendResult {
    let slices = [IoSlice::new(header), IoSlice::new(payload)];
    let mut control = SendAncillaryBuffer::default();
    let sent = loop {
        match sendmsg(socket.as_fd(), &slices, &mut control, SendFlags::NOSIGNAL) {
            Ok(count) => break count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err((0, error.into())),
        }
    };
    let rest = if let Some(sent) = sent.checked_sub(header.len()) {
        &payload[sent..]
    } else {
        send_all(socket, &header[sent..], Wait::Long)?;
        payload
    };
    send_all(socket, rest, Wait::Long)
}
