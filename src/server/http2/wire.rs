//! The stream below a connection. It gathers what `h2` reads and writes in small parts.
//!
//! `h2` reads a frame in two or three parts, and writes and flushes each frame by itself; a frame has
//! 16 KiB at most. A system call for each would cost more than the frame. So this reads ahead, and
//! writes when `h2` has been polled: the code that polls it calls [`Wire::write_out`] then.
//!
//! `h2` goes on reading for as long as there is something, and keeps each frame with some hundred
//! bytes of its own until its stream takes it. So each poll reads no more than [`READ_MAX`], and the
//! streams take their data before the next one.

use std::{
    future::Future,
    io,
    pin::{pin, Pin},
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex,
    },
    task::{ready, Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    runtime::Handle,
};

use crate::{
    connection::{stall::Uptake, Drains},
    locks::lock,
    runtime::task,
    server::listen::stream::Stream,
};

/// The most bytes to read at once. Room for a message of 64 KiB with the headers of its frames would cost
/// more than a second read.
const READ_AHEAD: usize = 64 * 1024;

/// The most bytes that `h2` gets in one poll: more than a message of 64 KiB, which is then read in one.
const READ_MAX: usize = 256 * 1024;

/// When so many bytes wait, they are written before more are taken. A message of 64 KiB and the
/// headers of its frames stay below.
const WRITE_MAX: usize = 80 * 1024;

/// A buffer with more room is freed when it is empty, since most connections are idle.
const KEPT_ROOM: usize = 4 * 1024;

/// The stream of a connection, for the code that polls the connection.
pub(super) struct Wire {
    is_paused: AtomicBool,
    is_drained: AtomicBool,
    /// Whether bytes wait for [`Self::write_out`] when `h2` flushes.
    gathers: AtomicBool,
    /// Only the thread that polls the connection locks it, so no thread waits, but for a server that
    /// stops.
    buffered: Mutex<Buffered>,
}

/// The same stream as `h2` sees it. If it is dropped after our direction was ended, it lets the peer
/// finish, so that the peer gets our last frame, which says why.
pub(super) struct WireStream {
    wire: Arc<Wire>,
    drains: Arc<Drains>,
}

struct Buffered {
    /// `None` at the end.
    stream: Option<Stream>,
    /// Bytes that were read, of which `h2` has got `taken`.
    ahead: Vec<u8>,
    taken: usize,
    /// Whether the last read found as many bytes as were wanted, so that there may be more.
    may_have_more: bool,
    /// How many bytes `h2` still gets in this poll.
    allowed: usize,
    /// Bytes of `h2`, of which the first `written` were written.
    outgoing: Vec<u8>,
    written: usize,
    /// Bytes that were written in all.
    sent: u64,
    /// Whether the stream may hold back what was written, as TLS does.
    must_flush: bool,
    /// Why nothing more can be written.
    failure: Option<io::ErrorKind>,
    is_ended: bool,
}

impl Wire {
    /// Makes both; `first` are bytes that were read already.
    pub(super) fn new(
        first: Vec<u8>,
        stream: Stream,
        drains: Arc<Drains>,
    ) -> (Arc<Self>, WireStream) {
        let buffered = Buffered {
            stream: Some(stream),
            ahead: first,
            taken: 0,
            may_have_more: false,
            allowed: READ_MAX,
            outgoing: Vec::new(),
            written: 0,
            sent: 0,
            must_flush: false,
            failure: None,
            is_ended: false,
        };
        let wire = Arc::new(Self {
            is_paused: AtomicBool::new(false),
            is_drained: AtomicBool::new(false),
            gathers: AtomicBool::new(false),
            buffered: Mutex::new(buffered),
        });
        (wire.clone(), WireStream { wire, drains })
    }

    /// Sets whether reads find nothing.
    pub(super) fn pause(&self, pause: bool) {
        self.is_paused.store(pause, Ordering::Relaxed);
    }

    /// Whether the last read found nothing, so that the connection has no whole frame that was read.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Relaxed)
    }

    /// From now on, [`Self::write_out`] follows each time that `h2` is polled.
    pub(super) fn gather(&self) {
        self.gathers.store(true, Ordering::Relaxed);
    }

    /// To be called before `h2` is polled to read.
    pub(super) fn begin_poll(&self) {
        lock(&self.buffered).allowed = READ_MAX;
    }

    /// Whether `h2` has been kept from reading on, so that it must be polled again.
    pub(super) fn must_read_on(&self) -> bool {
        lock(&self.buffered).allowed == 0
    }

    /// What the peer has taken.
    pub(super) fn uptake(&self) -> Uptake {
        let buffered = lock(&self.buffered);
        let stream = buffered.stream.as_ref();
        stream.map_or_else(Uptake::default, |stream| stream.uptake(buffered.sent))
    }

    /// Writes what `h2` has given. Calls the context's waker when the socket takes the rest, or if
    /// this fails: then `h2` gets the error when it is polled again.
    pub(super) fn write_out(&self, context: &mut Context<'_>) {
        if let Poll::Ready(Err(_)) = lock(&self.buffered).poll_write_out(context) {
            context.waker().wake_by_ref();
        }
    }
}

impl Buffered {
    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        open(&mut self.stream)
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.may_have_more && buffer.remaining() < READ_AHEAD {
            self.ahead.reserve(READ_AHEAD);
            let capacity = self.ahead.capacity();
            let mut stream = open(&mut self.stream)?;
            let polled = pin!(stream.read_buf(&mut self.ahead)).poll(context);
            self.may_have_more = self.ahead.len() == capacity;
            self.take_ahead(buffer);
            return polled.map_ok(drop);
        }
        ready!(self.stream()?.poll_read(context, buffer))?;
        self.may_have_more = buffer.remaining() == 0;
        Poll::Ready(Ok(()))
    }

    fn take_ahead(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = &self.ahead[self.taken..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.taken += count;
        if self.taken == self.ahead.len() {
            (self.ahead, self.taken) = (Vec::new(), 0);
        }
    }

    fn take(&mut self, buffers: &[io::IoSlice<'_>]) -> usize {
        let count = buffers.iter().map(|buffer| buffer.len()).sum();
        if self.outgoing.is_empty() && count > KEPT_ROOM {
            // more frames will follow
            self.outgoing.reserve(WRITE_MAX + count);
        }
        for buffer in buffers {
            self.outgoing.extend_from_slice(buffer);
        }
        count
    }

    /// Fails once; [`Self::check`] does so from then on.
    fn poll_write_out(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() && !self.must_flush {
            return Poll::Ready(Ok(()));
        }
        let written = ready!(self.poll_write(context));
        if let Err(error) = &written {
            self.failure = Some(error.kind());
            self.must_flush = false;
        }
        self.written = 0;
        self.outgoing.clear();
        if self.outgoing.capacity() > KEPT_ROOM {
            self.outgoing = Vec::new();
        }
        Poll::Ready(written)
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.written < self.outgoing.len() {
            let stream = open(&mut self.stream)?;
            let count = ready!(stream.poll_write(context, &self.outgoing[self.written..]))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += count;
            self.sent += count as u64;
            self.must_flush = true;
        }
        ready!(self.stream()?.poll_flush(context))?;
        self.must_flush = false;
        Poll::Ready(Ok(()))
    }

    fn check(&self) -> io::Result<()> {
        self.failure.map_or(Ok(()), |kind| Err(kind.into()))
    }
}

fn open(stream: &mut Option<Stream>) -> io::Result<Pin<&mut Stream>> {
    stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
}

impl Drop for WireStream {
    fn drop(&mut self) {
        let mut buffered = lock(&self.wire.buffered);
        let stream = buffered.stream.take().filter(|_| buffered.is_ended);
        drop(buffered);
        // if there is no runtime, the server has ended
        let (Some(stream), Ok(runtime)) = (stream, Handle::try_current()) else { return };
        if let Ok(socket) = stream.into_socket() {
            runtime.spawn(task(self.drains.drain(socket)));
        }
    }
}

impl AsyncRead for WireStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &self.wire;
        if wire.is_paused.load(Ordering::Relaxed) {
            // the task's read, which found nothing, has registered its waker
            return Poll::Pending;
        }
        let mut buffered = lock(&wire.buffered);
        if buffered.allowed == 0 && wire.gathers.load(Ordering::Relaxed) {
            wire.is_drained.store(false, Ordering::Relaxed);
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let polled = if buffered.ahead.is_empty() {
            let polled = buffered.poll_read(context, buffer);
            wire.is_drained.store(polled.is_pending(), Ordering::Relaxed);
            polled
        } else {
            buffered.take_ahead(buffer);
            Poll::Ready(Ok(()))
        };
        buffered.allowed = buffered.allowed.saturating_sub(buffer.filled().len() - before);
        polled
    }
}

impl AsyncWrite for WireStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut buffered = lock(&self.wire.buffered);
        if buffered.outgoing.len() >= WRITE_MAX {
            ready!(buffered.poll_write_out(context))?;
        }
        buffered.check()?;
        Poll::Ready(Ok(buffered.take(buffers)))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffered = lock(&self.wire.buffered);
        buffered.check()?;
        if self.wire.gathers.load(Ordering::Relaxed) {
            return Poll::Ready(Ok(()));
        }
        buffered.poll_write_out(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffered = lock(&self.wire.buffered);
        buffered.check()?;
        ready!(buffered.poll_write_out(context))?;
        buffered.is_ended = true;
        buffered.stream()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
