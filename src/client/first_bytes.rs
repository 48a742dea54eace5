//! A stream that remembers how the server begins: whether that is TLS or HTTP/1.1 tells what is
//! wrong.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{ready, Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::locks::lock;

/// The most bytes to keep: an answer of HTTP/1.1 may say in its body what it expects.
const KEPT: usize = 2048;

/// The first bytes of a server, as many as have come.
#[derive(Debug, Clone, Default)]
pub(super) struct Received(Arc<Mutex<Vec<u8>>>);

impl Received {
    pub(super) fn bytes(&self) -> Vec<u8> {
        lock(&self.0).clone()
    }
}

/// Passes everything on, and keeps the first received bytes.
#[derive(Debug)]
pub(super) struct FirstBytes<S> {
    stream: S,
    received: Received,
    count: usize,
}

impl<S> FirstBytes<S> {
    pub(super) fn of(stream: S) -> Self {
        Self { stream, received: Received::default(), count: 0 }
    }

    pub(super) fn received(&self) -> &Received {
        &self.received
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
        if self.count < KEPT {
            let new = &buffer.filled()[before..];
            let new = &new[..new.len().min(KEPT - self.count)];
            lock(&self.received.0).extend_from_slice(new);
            self.count += new.len();
        }
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
