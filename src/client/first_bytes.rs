//! A stream that remembers how the server begins: whether that is TLS tells what is wrong.

use std::{
    io,
    pin::Pin,
    task::{ready, Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The type and the major version of a TLS record.
const KEPT: usize = 2;

/// Passes everything on, and keeps the first received bytes.
#[derive(Debug)]
pub(super) struct FirstBytes<S> {
    stream: S,
    received: [u8; KEPT],
    count: usize,
}

impl<S> FirstBytes<S> {
    pub(super) fn of(stream: S) -> Self {
        Self { stream, received: [0; KEPT], count: 0 }
    }

    /// The first bytes, as many as have come.
    pub(super) fn received(&self) -> &[u8] {
        &self.received[..self.count]
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for FirstBytes<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let at = self.count;
        let new = buffer.filled()[before..].iter();
        self.count += self.received[at..].iter_mut().zip(new).map(|(to, from)| *to = *from).count();
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for FirstBytes<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
