//! The read-ahead buffer of one connection, shared by the frame reader and by raw reads.

use std::{cell::Cell, io, sync::Arc};

use super::{
    socket::{Mode, Socket},
    wait::{Park, Wait},
};

/// Bytes that are read ahead at most. pywebsocket reads 8 KiB ahead; a larger bound saves system
/// calls and still lets TCP hold a fast peer back.
const READ_AHEAD: usize = 64 * 1024;

/// Capacity of a buffer that has not seen much: a page.
const SMALL: usize = 4 * 1024;

/// Capacity of the buffer that a thread holds while it waits for a peer that sends little at a time.
const LEAST: usize = 1024;

/// Reads of this size and above keep other threads from running for longer than letting them run
/// costs.
const DETACH_MIN: usize = 32 * 1024;

thread_local! {
    /// The buffer that callers who share this thread read into, one after the other: a connection
    /// without unread bytes needs none.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Received bytes that nobody has taken yet.
#[derive(Debug)]
pub struct Inbound {
    /// `None` once the connection is closed.
    socket: Option<Arc<Socket>>,
    buffer: Vec<u8>,
    /// Where the bytes that are left begin.
    start: usize,
    /// The last message was read past the buffer, and so will the next one be: little is read into
    /// the buffer, from where it would have to be copied.
    expects_direct: bool,
    /// Bytes that were read last.
    last_read: usize,
}

impl Inbound {
    /// A buffer that begins with the bytes that came with the request head.
    pub fn new(socket: Arc<Socket>, first: Vec<u8>) -> Self {
        Self { socket: Some(socket), buffer: first, start: 0, expects_direct: false, last_read: 0 }
    }

    /// What has not been taken.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// What has not been taken, to be unmasked in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    /// Takes bytes off the front.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Reads more behind what is there; 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of `recv(2)`; [`io::ErrorKind::NotConnected`] after [`Self::close`].
    pub fn fill(&mut self, wait: Wait<'_>) -> io::Result<usize> {
        if let Wait::Park(parker) = wait {
            return self.fill_parked(parker);
        }
        self.make_room();
        let mode = match wait {
            Wait::Never => Mode::NonBlocking,
            Wait::Long | Wait::Park(_) => {
                self.shrink();
                Mode::Blocking
            }
        };
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        self.last_read = socket.receive(&mut self.buffer, mode)?;
        Ok(self.last_read)
    }

    fn fill_parked(&mut self, parker: &dyn Park) -> io::Result<usize> {
        loop {
            if let Some(count) = self.try_fill(parker)? {
                return Ok(count);
            }
            self.release_buffer();
            parker.wait_readable()?;
        }
    }

    /// Reads what is there; `None` if nothing is.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn try_fill(&mut self, parker: &dyn Park) -> io::Result<Option<usize>> {
        // rustls may hold bytes of which the socket knows nothing
        if !parker.is_readable() && !self.is_tls() {
            return Ok(None);
        }
        if self.buffer.capacity() < READ_AHEAD && !self.expects_direct {
            let mut spare = SPARE.take();
            spare.reserve_exact(READ_AHEAD);
            spare.extend_from_slice(self.bytes());
            self.buffer = spare;
            self.start = 0;
        }
        self.make_room();
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let room = self.buffer.capacity() - self.buffer.len();
        let result = socket.receive(&mut self.buffer, Mode::NonBlocking);
        note_drained(&result, room, socket, parker);
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    /// Reads straight behind the end of `target`, at most `missing` bytes, by-passing the buffer,
    /// which must be empty.
    ///
    /// # Errors
    /// As [`Self::fill`]; if others run meanwhile, [`io::ErrorKind::WouldBlock`]: wait with
    /// [`Self::wait_readable`] first, and again after this.
    pub fn fill_target(
        &mut self,
        target: &mut Vec<u8>,
        missing: u64,
        wait: Wait<'_>,
    ) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        // growth follows what has come, so that a header alone cannot claim memory
        let step = target.len().max(READ_AHEAD);
        let step = usize::try_from(missing).map_or(step, |missing| missing.min(step));
        target.try_reserve_exact(step).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let before = target.len();
        let mut count = match wait {
            Wait::Never => socket.receive(target, Mode::NonBlocking)?,
            Wait::Long => socket.receive(target, Mode::Blocking)?,
            // asking the socket costs a system call that finds nothing
            Wait::Park(parker) if !parker.is_readable() && !socket.is_tls() => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Wait::Park(parker) => {
                let mut result = Ok(0);
                if step < DETACH_MIN {
                    result = socket.receive(target, Mode::NonBlocking);
                } else {
                    parker.detached(&mut || result = socket.receive(target, Mode::NonBlocking));
                }
                note_drained(&result, step, socket, parker);
                result?
            }
        };
        if count > step {
            // the allocator gave more room than was asked for
            self.buffer.extend_from_slice(&target[before + step..]);
            target.truncate(before + step);
            count = step;
        }
        Ok(count)
    }

    /// Gives a large buffer back and tells whether nothing is left to read but what the socket has.
    pub fn is_drained(&mut self) -> bool {
        self.release_buffer();
        // rustls may hold more
        self.bytes().is_empty() && self.socket.is_some() && !self.is_tls()
    }

    /// Reads to the front of `target`, by-passing the buffer, which must be empty; 0 at the end of
    /// the stream.
    ///
    /// # Errors
    /// As [`Self::fill_target`].
    pub fn fill_direct(&mut self, target: &mut [u8], wait: Wait<'_>) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let parker = match wait {
            Wait::Never => return socket.receive_slice(target, Mode::NonBlocking),
            Wait::Long => return socket.receive_slice(target, Mode::Blocking),
            Wait::Park(parker) => parker,
        };
        // asking the socket costs a system call that finds nothing
        if !parker.is_readable() && !socket.is_tls() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let room = target.len();
        let mut result = Ok(0);
        if room < DETACH_MIN {
            result = socket.receive_slice(target, Mode::NonBlocking);
        } else {
            parker.detached(&mut || result = socket.receive_slice(target, Mode::NonBlocking));
        }
        note_drained(&result, room, socket, parker);
        result
    }

    /// Says whether the next message is likely to be read past the buffer.
    pub fn expect_direct(&mut self, expect: bool) {
        self.expects_direct = expect;
    }

    /// Waits for the peer, if it is others that run meanwhile; holds no buffer while it does.
    ///
    /// # Errors
    /// If the caller is to end instead.
    pub fn wait_readable(&mut self, wait: Wait<'_>) -> io::Result<()> {
        let Wait::Park(parker) = wait else { return Ok(()) };
        self.release_buffer();
        if parker.is_readable() {
            return Ok(());
        }
        parker.wait_readable()
    }

    /// Lets go of the socket; what was buffered can still be read.
    pub fn close(&mut self) {
        self.socket = None;
    }

    /// Whether the peer's bytes are encrypted.
    pub fn is_tls(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.is_tls())
    }

    fn make_room(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let capacity = self.buffer.capacity();
        if self.buffer.len() == capacity {
            let more = if capacity < LEAST { LEAST } else { capacity * 4 };
            self.buffer.reserve_exact(more.min(READ_AHEAD).max(capacity + 1) - capacity);
        }
    }

    /// About to wait: an idle connection holds no large buffer.
    fn shrink(&mut self) {
        let enough = if self.last_read < LEAST { LEAST } else { SMALL };
        if self.buffer.is_empty() && self.buffer.capacity() > enough {
            self.buffer = Vec::with_capacity(enough);
        }
    }

    /// About to let others run: the large buffer is theirs, and what is unread moves out of it.
    fn release_buffer(&mut self) {
        if self.buffer.capacity() < READ_AHEAD {
            return;
        }
        let unread = self.bytes();
        if unread.len() > SMALL {
            return;
        }
        let unread = unread.to_vec();
        let mut spare = std::mem::replace(&mut self.buffer, unread);
        self.start = 0;
        spare.clear();
        SPARE.set(spare);
    }
}

/// Tells the parker that everything was read that was there. With TLS a short read does not say so.
fn note_drained(result: &io::Result<usize>, room: usize, socket: &Socket, parker: &dyn Park) {
    let is_drained = match result {
        Ok(count) => *count < room && !socket.is_tls(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    };
    if is_drained {
        parker.mark_drained();
    }
}
