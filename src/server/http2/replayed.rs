//! A stream of which the first bytes were read already.

use std::{
    io,
    pin::Pin,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
};

use crate::{connection::drain, server::listen::stream::Stream};

/// Whether bytes are read. Only the thread that polls the connection changes it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    is_paused: AtomicBool,
    is_drained: AtomicBool,
}

impl Reading {
    /// Sets whether reads find nothing.
    pub(super) fn pause(&self, pause: bool) {
        self.is_paused.store(pause, Ordering::Relaxed);
    }

    /// Whether the last read found nothing, so that the connection has no whole frame that was read.
    pub(super) fn is_drained(&self) -> bool {
        self.is_drained.load(Ordering::Relaxed)
    }
}

/// Returns the bytes that were read already, and then reads on. If it is dropped after our
/// direction was ended, it lets the peer finish, so that the peer gets our last frame, which says
/// why.
pub(super) struct Replayed {
    first: Vec<u8>,
    /// Taken when this is dropped.
    stream: Option<Stream>,
    is_ended: bool,
    reading: Arc<Reading>,
}

impl Replayed {
    pub(super) fn new(first: Vec<u8>, stream: Stream, reading: Arc<Reading>) -> Self {
        Self { first, stream: Some(stream), is_ended: false, reading }
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Replayed {
    fn drop(&mut self) {
        let stream = self.stream.take().filter(|_| self.is_ended);
        // if there is no runtime, the server has ended
        let (Some(stream), Ok(runtime)) = (stream, Handle::try_current()) else { return };
        if let Ok(socket) = stream.into_socket() {
            runtime.spawn(drain(socket));
        }
    }
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reading.is_paused.load(Ordering::Relaxed) {
            // the task's read, which found nothing, has registered its waker
            return Poll::Pending;
        }
        if self.first.is_empty() {
            let polled = self.stream()?.poll_read(context, buffer);
            self.reading.is_drained.store(polled.is_pending(), Ordering::Relaxed);
            return polled;
        }
        let count = self.first.len().min(buffer.remaining());
        buffer.put_slice(&self.first[..count]);
        self.first.drain(..count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream()?.poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream()?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_ended = true;
        self.stream()?.poll_shutdown(context)
    }
}
