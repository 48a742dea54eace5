//! TLS on a connected socket: makes records, sends them in order, and reads them.

use std::{
    io::{self, BufRead, IoSlice, Write},
    sync::{
        atomic::{AtomicBool, Ordering},
        Mutex,
    },
};

use rustls::Connection;

use super::system_calls::{Count, Descriptor};
use crate::{
    connection::byte_stream::{Mode, SendResult},
    locks::{lock, try_lock},
    system::Native,
};

/// The most plain text to encrypt at a time: a few records, so that memory stays small. A message of
/// 64 KiB and its header are sent at once.
const ENCRYPT_AT_ONCE: usize = 80 * 1024;

/// The TLS side of a connection.
#[derive(Debug)]
pub(super) struct Tls {
    connection: Mutex<Box<Connection>>,
    wire: Mutex<Wire>,
    /// Received bytes that are not decrypted yet. Only one reader at a time uses them.
    records: Mutex<Vec<u8>>,
    /// Whether the last call of `receive` has found the socket empty, and left nothing here. The
    /// reader writes it.
    is_drained: AtomicBool,
}

/// Records that the kernel has not taken yet.
#[derive(Debug)]
struct Wire {
    records: Vec<u8>,
    /// Whether they wait for the next ones, as nobody waits for them.
    are_late: bool,
}

impl Wire {
    /// Where more records go.
    fn append(&mut self) -> &mut Vec<u8> {
        self.are_late = false;
        &mut self.records
    }

    fn push(&mut self, socket: &Descriptor<Native>, mode: Mode) -> io::Result<()> {
        if self.are_late || self.records.is_empty() {
            return Ok(());
        }
        match socket.send_all(&self.records, mode, &Count::default()) {
            Ok(()) => {
                // most connections never need it again
                self.records = Vec::new();
                Ok(())
            }
            Err((sent, error)) => {
                self.records.drain(..sent);
                Err(error)
            }
        }
    }
}

impl Tls {
    pub(super) fn new(mut connection: Connection, late: Vec<u8>) -> Self {
        connection.set_buffer_limit(Some(ENCRYPT_AT_ONCE));
        Self {
            connection: Mutex::new(Box::new(connection)),
            wire: Mutex::new(Wire { are_late: true, records: late }),
            records: Mutex::default(),
            // the handshake may have read more
            is_drained: AtomicBool::new(false),
        }
    }

    /// Whether there may be something to read although the socket has told of nothing new since the
    /// last call of `receive`.
    pub(super) fn may_have_more(&self) -> bool {
        !self.is_drained.load(Ordering::Relaxed)
    }

    /// Whether records are waiting for room in the kernel.
    pub(super) fn has_unsent(&self) -> bool {
        let wire = lock(&self.wire);
        !wire.are_late && !wire.records.is_empty()
    }

    /// Whether there are unread bytes; `false` while another thread reads.
    pub(super) fn has_unread(&self) -> bool {
        let Some(records) = try_lock(&self.records) else { return false };
        let mut connection = lock(&self.connection);
        let has_plain = connection.reader().fill_buf().is_ok_and(|plain| !plain.is_empty());
        has_plain || !records.is_empty()
    }

    /// Sends `close_notify` (RFC 8446 6.1).
    pub(super) fn end_sending(&self, socket: &Descriptor<Native>) {
        lock(&self.connection).send_close_notify();
        // a peer that does not read never receives it
        let _ = self.send(socket, (&[], &[]), Mode::BeforeEnd, &Count::default());
    }

    /// Receives plain text; `take` copies it and returns how much of it.
    pub(super) fn receive(
        &self,
        socket: &Descriptor<Native>,
        mode: Mode,
        take: &mut dyn FnMut(&[u8]) -> usize,
    ) -> io::Result<usize> {
        let mut records = lock(&self.records);
        self.is_drained.store(false, Ordering::Relaxed);
        // only a read of this call proves it: the socket may have told of more since the last one
        let mut is_socket_empty = false;
        loop {
            let mut connection = lock(&self.connection);
            let mut read = take_plain(&mut connection, take);
            // rustls buffers only little plain text, and accepts no record while it holds more. So
            // take the plain text out first, and then decrypt only until there is some again.
            if matches!(&read, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
                let decrypted = decrypt(&mut connection, &mut records);
                read = decrypted.and_then(|()| take_plain(&mut connection, take));
            }
            let owes = connection.wants_write();
            let leaves_nothing = records.is_empty() && !has_plain_or_end(&mut connection);
            drop(connection);
            if owes {
                // if the peer has broken the rules of TLS, rustls has an alert to send
                self.send_owed(socket);
            }
            match read {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // many peers end TCP without `close_notify`; for us that is the end of the stream
                // as well
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                other => {
                    self.is_drained.store(is_socket_empty && leaves_nothing, Ordering::Relaxed);
                    return other;
                }
            }
            records.reserve_exact(17 * 1024);
            let asked = records.capacity() - records.len();
            let received = socket.receive(&mut records, mode);
            if !matches!(received, Ok(1..)) {
                *records = Vec::new();
            }
            match received {
                Ok(0) => return Ok(0),
                Ok(count) => is_socket_empty = count < asked,
                Err(error) => {
                    let is_drained = error.kind() == io::ErrorKind::WouldBlock;
                    self.is_drained.store(is_drained, Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
    }

    /// Sends two pieces, usually a frame's header and its payload, as if they were one: a header in
    /// a record and a segment of its own would cost as much again as a small message.
    pub(super) fn send(
        &self,
        socket: &Descriptor<Native>,
        (first, second): (&[u8], &[u8]),
        mode: Mode,
        count: &Count,
    ) -> SendResult {
        let total = first.len() + second.len();
        let mut wire = lock(&self.wire);
        let mut sent = 0;
        loop {
            wire.push(socket, mode).map_err(|error| (sent, error))?;
            let mut connection = lock(&self.connection);
            let taken =
                encrypt(&mut connection, first, second, sent).map_err(|error| (sent, error))?;
            let mut onward = Onward { socket, wire: &mut wire, mode, error: None };
            while connection.wants_write() {
                connection.write_tls(&mut onward).map_err(|error| (sent, error))?;
            }
            drop(connection);
            // bytes count as sent as soon as they are encrypted, because a record cannot be taken
            // back
            sent += taken;
            count.add(taken);
            if let Some(error) = onward.error {
                return Err((sent, error));
            }
            match wire.push(socket, mode) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent == total => {}
                other => other.map_err(|error| (sent, error))?,
            }
            if sent == total {
                return Ok(());
            }
        }
    }

    fn send_owed(&self, socket: &Descriptor<Native>) {
        let Some(mut wire) = try_lock(&self.wire) else { return };
        let mut connection = lock(&self.connection);
        while connection.wants_write() {
            if connection.write_tls(&mut wire.append()).is_err() {
                return;
            }
        }
        drop(connection);
        // the next send takes the rest along
        let _ = wire.push(socket, Mode::NonBlocking);
    }
}

/// Makes records of what comes after the first `sent` bytes; returns how many bytes are in them.
fn encrypt(
    connection: &mut Connection,
    first: &[u8],
    second: &[u8],
    sent: usize,
) -> io::Result<usize> {
    let of_first = sent.min(first.len());
    let (first, second) = (&first[of_first..], &second[sent - of_first..]);
    let first = &first[..first.len().min(ENCRYPT_AT_ONCE)];
    let second = &second[..second.len().min(ENCRYPT_AT_ONCE - first.len())];
    match (first, second) {
        ([], only) | (only, []) => connection.writer().write(only),
        _ => connection.writer().write_vectored(&[IoSlice::new(first), IoSlice::new(second)]),
    }
}

/// Passes records on to the kernel, and keeps what it does not take now.
struct Onward<'a> {
    socket: &'a Descriptor<Native>,
    wire: &'a mut Wire,
    mode: Mode,
    /// Why nothing more can be sent.
    error: Option<io::Error>,
}

impl Write for Onward<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut taken = 0;
        if self.wire.records.is_empty() && self.error.is_none() {
            // the rest is sent in the caller's way
            let mode = if self.mode == Mode::Blocking { Mode::NonBlocking } else { self.mode };
            match self.socket.send(pieces, mode) {
                Ok(count) => taken = count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => self.error = Some(error),
            }
        }
        let records = self.wire.append();
        for piece in pieces {
            let sent = taken.min(piece.len());
            records.extend_from_slice(&piece[sent..]);
            taken -= sent;
        }
        Ok(pieces.iter().map(|piece| piece.len()).sum())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes decrypted plain text; 0 if the peer has sent `close_notify`.
fn take_plain(
    connection: &mut Connection,
    take: &mut dyn FnMut(&[u8]) -> usize,
) -> io::Result<usize> {
    let mut reader = connection.reader();
    let plain = reader.fill_buf()?;
    let count = if plain.is_empty() { 0 } else { take(plain) };
    reader.consume(count);
    Ok(count)
}

/// Whether a read would find plain text, or the end of the peer's direction.
fn has_plain_or_end(connection: &mut Connection) -> bool {
    let found = connection.reader().fill_buf().map(drop);
    !matches!(found, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

/// Decrypts records until there is plain text, or no complete record is left.
fn decrypt(connection: &mut Connection, records: &mut Vec<u8>) -> io::Result<()> {
    let mut unread = &records[..];
    let mut decrypted = Ok(0);
    while !unread.is_empty() && matches!(decrypted, Ok(0)) {
        decrypted = connection.read_tls(&mut unread).and_then(|_| {
            let state = connection.process_new_packets().map_err(io::Error::other)?;
            Ok(state.plaintext_bytes_to_read())
        });
    }
    let used = records.len() - unread.len();
    records.drain(..used);
    decrypted.map(drop)
}
