//! The read-ahead buffer of one connection, shared by the frame reader and by raw reads.

use std::{cell::Cell, io, sync::Arc};

use super::{
    byte_stream::{ByteStream, Mode},
    wait::{Park, Wait, DETACH_MIN},
};

/// The most bytes to read ahead of the handler. pywebsocket reads 8 KiB ahead; a larger bound saves
/// system calls and still lets TCP hold a fast peer back. A message of 64 KiB, a usual size, fits in
/// with its header of at most 14 bytes, and does not fill the buffer: so its read shows that nothing
/// is left to read.
pub(super) const READ_AHEAD: usize = 64 * 1024 + 16;

/// Capacity of a buffer that has not received much: a page.
const SMALL: usize = 4 * 1024;

/// Capacity of the buffer that a thread holds while it waits for a peer that sends little at a time.
const LEAST: usize = 1024;

thread_local! {
    /// The buffer into which all callers in this thread read, one after the other. A connection
    /// without unread bytes needs no buffer of its own.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Received bytes that no reader has taken yet.
#[derive(Debug)]
pub struct ReadBuffer {
    /// `None` once the connection is closed.
    socket: Option<Arc<dyn ByteStream>>,
    buffer: Vec<u8>,
    /// Index of the first byte that has not been taken.
    start: usize,
    /// The last message was read straight into its destination, and so will the next one probably
    /// be. Meanwhile only little is read into the buffer, because the bytes would have to be copied
    /// from there.
    expects_direct: bool,
    /// The buffer is the thread's, which its callers share.
    is_shared: bool,
    /// Number of bytes that the last read returned.
    last_read: usize,
}

impl ReadBuffer {
    /// A buffer that begins with the bytes that were received together with the request head.
    pub fn new(socket: Arc<dyn ByteStream>, first: Vec<u8>) -> Self {
        let (start, last_read) = (0, 0);
        let (expects_direct, is_shared) = (false, false);
        Self { socket: Some(socket), buffer: first, start, expects_direct, is_shared, last_read }
    }

    /// What has not been taken.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The bytes that have not been taken, to unmask them in place.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    /// Removes bytes from the front.
    pub fn consume(&mut self, count: usize) {
        self.start = (self.start + count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
    }

    /// Reads more bytes and appends them to the buffer; returns 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of `recv(2)`; [`io::ErrorKind::NotConnected`] after [`Self::close`].
    pub fn fill(&mut self, wait: Wait<'_>) -> io::Result<usize> {
        if let Wait::Park(parker) = wait {
            return self.fill_parked(parker);
        }
        self.reserve();
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

    /// Reads without waiting; `None` if the socket has nothing to read.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn try_fill(&mut self, parker: &dyn Park) -> io::Result<Option<usize>> {
        // with TLS there may be decrypted bytes although the socket has none
        if !parker.is_readable() && !self.buffers_input() {
            return Ok(None);
        }
        if self.buffer.capacity() < READ_AHEAD && !self.expects_direct {
            self.take_spare();
        }
        self.reserve();
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let asked = self.buffer.capacity() - self.buffer.len();
        let result = socket.receive(&mut self.buffer, Mode::NonBlocking);
        note_drained(&result, asked, &**socket, parker);
        match result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            result => result.map(Some),
        }
    }

    /// Reads at most `missing` bytes and appends them to `target`, without going through the
    /// buffer, which must be empty.
    ///
    /// # Errors
    /// As [`Self::fill`]. A caller that shares its thread gets [`io::ErrorKind::WouldBlock`]
    /// instead of waiting here: it waits with [`Self::wait_readable`] and tries again.
    pub fn fill_target(
        &mut self,
        target: &mut Vec<u8>,
        missing: u64,
        wait: Wait<'_>,
    ) -> io::Result<usize> {
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        // at most as many bytes again as have been received: a frame header alone must not make us
        // allocate its announced length
        let step = target.len().max(READ_AHEAD);
        let step = usize::try_from(missing).map_or(step, |missing| missing.min(step));
        target.try_reserve_exact(step).map_err(|_| io::ErrorKind::OutOfMemory)?;
        let before = target.len();
        let mut count = match wait {
            Wait::Never => socket.receive(target, Mode::NonBlocking)?,
            Wait::Long => socket.receive(target, Mode::Blocking)?,
            // asking the socket costs a system call that finds nothing
            Wait::Park(parker) if !parker.is_readable() && !socket.buffers_input() => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Wait::Park(parker) => {
                let mut result = Ok(0);
                if step < DETACH_MIN {
                    result = socket.receive(target, Mode::NonBlocking);
                } else {
                    parker.detached(&mut || result = socket.receive(target, Mode::NonBlocking));
                }
                note_drained(&result, step, &**socket, parker);
                result?
            }
        };
        if count > step {
            // the allocator gave more room than `step`, and bytes of the next frame were read into
            // it
            self.buffer.extend_from_slice(&target[before + step..]);
            target.truncate(before + step);
            count = step;
        }
        Ok(count)
    }

    /// Gives a large buffer back and returns whether the buffer is empty, so that only the socket
    /// can have more.
    pub fn is_drained(&mut self) -> bool {
        self.release_buffer();
        // rustls may hold decrypted bytes
        self.bytes().is_empty() && self.socket.is_some() && !self.buffers_input()
    }

    /// Reads to the front of `target`, without going through the buffer, which must be empty.
    /// Returns 0 at the end of the stream.
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
        if !parker.is_readable() && !socket.buffers_input() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let asked = target.len();
        let mut result = Ok(0);
        if asked < DETACH_MIN {
            result = socket.receive_slice(target, Mode::NonBlocking);
        } else {
            parker.detached(&mut || result = socket.receive_slice(target, Mode::NonBlocking));
        }
        note_drained(&result, asked, &**socket, parker);
        result
    }

    /// Sets whether the next message will probably be read straight into its destination, see
    /// [`Self::fill_direct`].
    pub fn expect_direct(&mut self, expect: bool) {
        self.expects_direct = expect;
    }

    /// Waits until the socket is readable, if the caller shares its thread; holds no buffer
    /// meanwhile. Other callers wait in the read itself.
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

    /// Drops the socket. What is buffered can still be read.
    pub fn close(&mut self) {
        self.socket = None;
        // the next connection of this thread needs it; other threads keep none
        if self.is_shared {
            self.release_buffer();
        }
    }

    /// Drops the socket and what is buffered.
    pub fn abandon(&mut self) {
        self.consume(self.buffer.len());
        self.close();
        self.buffer = Vec::new();
    }

    /// Whether the socket was dropped.
    pub fn is_closed(&self) -> bool {
        self.socket.is_none()
    }

    /// Whether the stream may hold received bytes that its readiness says nothing of.
    fn buffers_input(&self) -> bool {
        self.socket.as_ref().is_some_and(|socket| socket.buffers_input())
    }

    #[inline]
    fn reserve(&mut self) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        if self.buffer.len() == self.buffer.capacity() {
            self.grow();
        }
    }

    fn grow(&mut self) {
        let capacity = self.buffer.capacity();
        let more = match capacity {
            0..LEAST => LEAST,
            LEAST..READ_AHEAD => (capacity * 4).min(READ_AHEAD),
            // for who looks at all that a peer has sent before its end
            _ => capacity * 2,
        };
        self.buffer.reserve_exact(more - capacity);
    }

    /// Shrinks the buffer before the caller waits: an idle connection holds no large buffer.
    fn shrink(&mut self) {
        let enough = if self.last_read < LEAST { LEAST } else { SMALL };
        if self.buffer.is_empty() && self.buffer.capacity() > enough {
            self.buffer = Vec::with_capacity(enough);
        }
    }

    /// Takes the thread's large buffer, for what is unread and for the next read.
    fn take_spare(&mut self) {
        let mut spare = SPARE.take();
        spare.reserve_exact(READ_AHEAD);
        spare.extend_from_slice(self.bytes());
        self.buffer = spare;
        self.is_shared = true;
        self.start = 0;
    }

    /// Gives the thread's large buffer back before other callers run, and moves unread bytes to a
    /// small one.
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
        self.is_shared = false;
        self.start = 0;
        spare.clear();
        SPARE.set(spare);
    }
}

/// Tells the parker if a read has emptied the socket: it found less than was asked for. With
/// TLS that alone does not prove it.
fn note_drained(
    result: &io::Result<usize>,
    asked: usize,
    socket: &dyn ByteStream,
    parker: &dyn Park,
) {
    let is_drained = match result {
        Ok(count) => *count < asked && !socket.buffers_input(),
        Err(error) => error.kind() == io::ErrorKind::WouldBlock,
    };
    if is_drained {
        parker.mark_drained();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::simulated::Simulated;

    #[test]
    fn the_next_connection_of_a_thread_gets_the_buffer_of_one_that_has_closed() {
        let mut buffers = (0..2).map(|_| {
            let stream = Arc::new(Simulated::new([], []));
            let mut read_buffer = ReadBuffer::new(stream, b"x".to_vec());
            read_buffer.take_spare();
            let buffer = read_buffer.buffer.as_ptr();
            read_buffer.close();
            assert_eq!(read_buffer.bytes(), b"x");
            assert!(read_buffer.buffer.capacity() < READ_AHEAD);
            buffer
        });
        assert_eq!(buffers.next(), buffers.next());
    }

    #[test]
    fn nothing_stays_of_what_was_abandoned() {
        for is_shared in [false, true] {
            let stream = Arc::new(Simulated::new([], []));
            let mut read_buffer = ReadBuffer::new(stream, b"x".to_vec());
            if is_shared {
                read_buffer.take_spare();
            }
            read_buffer.abandon();
            assert!(read_buffer.is_closed() && read_buffer.bytes().is_empty());
            assert_eq!(read_buffer.buffer.capacity(), 0);
            assert_eq!(SPARE.take().capacity() >= READ_AHEAD, is_shared);
        }
    }

    #[test]
    fn a_thread_of_its_own_keeps_no_buffer_of_a_connection_that_has_closed() {
        let stream = Arc::new(Simulated::new([], []));
        let mut read_buffer = ReadBuffer::new(stream, Vec::with_capacity(READ_AHEAD));
        read_buffer.close();
        assert_eq!(SPARE.take().capacity(), 0);
    }
}
