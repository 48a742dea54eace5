//! A stream of which the first bytes were read already.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    runtime::Handle,
};

use crate::{connection::drain, server::listen::stream::Stream};

/// Returns the bytes that were read already, and then reads on. If it is dropped after our
/// direction was ended, it lets the peer finish, so that the peer gets our last frame, which says
/// why.
pub(super) struct Replayed {
    first: Vec<u8>,
    /// Taken when this is dropped.
    stream: Option<Stream>,
    is_ended: bool,
}

impl Replayed {
    pub(super) fn new(first: Vec<u8>, stream: Stream) -> Self {
        Self { first, stream: Some(stream), is_ended: false }
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
        if self.first.is_empty() {
            return self.stream()?.poll_read(context, buffer);
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
