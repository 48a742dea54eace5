//! The read-ahead buffer of one connection, shared by the frame reader and by raw reads.

use std::{io, sync::Arc};

use super::socket::{Socket, Wait};

/// Bytes that are read ahead at most. pywebsocket reads 8 KiB ahead; a larger bound saves system
/// calls and still lets TCP hold a fast peer back.
const READ_AHEAD: usize = 64 * 1024;

/// Capacity of a buffer that has not seen much: a page.
const SMALL: usize = 4 * 1024;

/// Received bytes that nobody has taken yet.
#[derive(Debug)]
pub struct Inbound {
    /// `None` once the connection is closed.
    socket: Option<Arc<Socket>>,
    buffer: Vec<u8>,
    /// Where the bytes that are left begin.
    start: usize,
}

impl Inbound {
    /// A buffer that begins with the bytes that came with the request head.
    pub fn new(socket: Arc<Socket>, first: Vec<u8>) -> Self {
        Self { socket: Some(socket), buffer: first, start: 0 }
    }

    /// What has not been taken.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
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
    pub fn fill(&mut self, wait: Wait) -> io::Result<usize> {
        self.make_room(wait);
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        socket.receive(&mut self.buffer, wait)
    }

    /// Reads straight behind the end of `target`, at most `missing` bytes, by-passing the buffer,
    /// which must be empty.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_target(
        &mut self,
        target: &mut Vec<u8>,
        missing: u64,
        wait: Wait,
    ) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        // growth follows what has come, so that a header alone cannot claim memory
        let step = target.len().max(4 * READ_AHEAD);
        let step = usize::try_from(missing).map_or(step, |missing| missing.min(step));
        target.reserve_exact(step);
        let before = target.len();
        let mut count = socket.receive(target, wait)?;
        if count > step {
            // the allocator gave more room than was asked for
            self.buffer.extend_from_slice(&target[before + step..]);
            target.truncate(before + step);
            count = step;
        }
        Ok(count)
    }

    /// Lets go of the socket; what was buffered can still be read.
    pub fn close(&mut self) {
        self.socket = None;
    }

    fn make_room(&mut self, wait: Wait) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let capacity = self.buffer.capacity();
        if self.buffer.is_empty() && wait == Wait::Long && capacity > SMALL {
            // about to wait: an idle connection holds no large buffer
            self.buffer = Vec::with_capacity(SMALL);
        } else if self.buffer.len() == capacity {
            let more = if capacity < SMALL { SMALL } else { capacity * 4 };
            self.buffer.reserve_exact(more.min(READ_AHEAD).max(capacity + 1) - capacity);
        }
    }
}
