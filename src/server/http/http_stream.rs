//! The stream that hyper gets for a connection: it shows one request at a time, and only requests
//! for the fallback.
//!
//! The stream reads request heads itself, each as leniently as the first, and asks `decide` for
//! each. A request for a handler, or a refused one, looks to hyper like the end of the stream, so
//! hyper finishes in order. Then the caller gets the connection and the request back.

use std::{
    future::Future,
    io, mem,
    pin::Pin,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard,
    },
    task::{ready, Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
    time::{sleep, Sleep},
};

use super::{
    fallback::{AnsweredBy, End, FallbackRequest, HttpRequest},
    framing::{head_for_hyper, Framing},
    idle_timeout::IdleTimeout,
    HttpConnection,
};
use crate::{
    connection::stall::Uptake,
    locks::lock,
    protocol::head::{empty_lines, HeadError, HeadLimits, HeadReader, RequestHead},
    server::{limits::ConnectionLimits, listen::stream::Stream},
    system::HangUp,
};

/// Bytes to read at a time: several times the usual size of a request head.
const READ_SIZE: usize = 8 * 1024;

/// The most bytes to read ahead while checking that the peer is still there.
const READ_AHEAD: usize = 64 * 1024;

/// How long an answer may take to begin or go on after the peer has ended its direction. The peer
/// may have closed the connection, or may only have no further request.
const HALF_CLOSED_TIMEOUT: Duration = Duration::from_secs(2);

/// How often to check whether the peer has gone, if it has sent more than is read ahead.
const PEER_CHECK_PERIOD: Duration = Duration::from_millis(500);

/// Decides what answers a request.
pub(super) type Decide<V> = Box<dyn Fn(&RequestHead) -> AnsweredBy<V> + Send>;

/// A stream for hyper; clones are the same stream.
pub(super) struct HttpStream<V> {
    shared: Arc<Mutex<StreamState<V>>>,
    busy: Arc<AtomicBool>,
}

struct StreamState<V> {
    stream: Option<Stream>,
    decide: Decide<V>,
    /// Bytes from the peer that have not been passed on.
    buffer: Vec<u8>,
    /// The peer has ended its direction.
    ended: bool,
    /// When to check again whether the peer has gone, while its bytes are not read.
    next_look: Option<Pin<Box<Sleep>>>,
    head_limits: HeadLimits,
    reader: HeadReader,
    /// The head that hyper reads next.
    head: Vec<u8>,
    /// Bytes of the body that hyper may still read.
    body: u64,
    asked: Option<FallbackRequest>,
    leaving: Option<HandOff<V>>,
    /// Time limit for receiving the rest of a request's body.
    body_timeout: IdleTimeout,
    /// Time limit for sending an answer.
    answer_timeout: IdleTimeout,
    /// Bytes that were sent.
    sent: u64,
}

enum HandOff<V> {
    Other(Box<RequestHead>, V),
    BadHead(HeadError),
}

/// A guard that is held while an answer is made that must stop when the peer goes.
#[derive(Debug, Default)]
pub(super) struct Busy(Arc<AtomicBool>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

impl<V> Clone for HttpStream<V> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), busy: self.busy.clone() }
    }
}

impl<V> HttpStream<V> {
    /// The stream of a connection.
    pub(super) fn new(
        connection: HttpConnection,
        decide: Decide<V>,
        limits: &ConnectionLimits,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let HttpConnection { stream, head, http_request, rest } = connection;
        let mut shared = StreamState {
            stream: Some(stream),
            decide,
            buffer: rest,
            ended: false,
            next_look: None,
            head_limits: limits.head,
            reader: HeadReader::new(limits.head),
            head: Vec::new(),
            body: 0,
            asked: None,
            leaving: None,
            body_timeout: IdleTimeout::until(limits.http_time, stop),
            answer_timeout: IdleTimeout::new(limits.http_time),
            sent: 0,
        };
        shared.admit(head, http_request);
        Self { shared: Arc::new(Mutex::new(shared)), busy: Arc::default() }
    }

    /// The request that belongs to the head that hyper has just read.
    pub(super) fn take_request(&self) -> Option<FallbackRequest> {
        self.lock().asked.take()
    }

    /// Makes [`Self::peer_gone`] watch the peer until the guard is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        Busy(self.busy.clone())
    }

    /// Waits until the peer has gone while an answer is made.
    pub(super) async fn peer_gone(&self) {
        let look = |context: &mut Context<'_>| {
            if self.busy.load(Ordering::Relaxed) {
                self.lock().poll_ahead(context)
            } else {
                Poll::Pending
            }
        };
        if std::future::poll_fn(look).await.is_ok() {
            sleep(HALF_CLOSED_TIMEOUT).await;
            if !self.busy.load(Ordering::Relaxed) {
                std::future::pending::<()>().await;
            }
        }
    }

    /// What the peer has taken.
    pub(super) fn uptake(&self) -> Uptake {
        let shared = self.lock();
        shared.stream.as_ref().map_or_else(Uptake::default, |stream| stream.uptake(shared.sent))
    }

    /// Closes the connection at once.
    pub(super) fn close(&self) {
        let stream = self.lock().stream.take();
        drop(stream);
    }

    /// Takes the connection back after hyper has finished with it.
    pub(super) fn end(&self) -> End<V> {
        let mut shared = self.lock();
        let (stream, leaving) = (shared.stream.take(), shared.leaving.take());
        match (stream, leaving) {
            (Some(stream), Some(HandOff::Other(head, decision))) => {
                let rest = mem::take(&mut shared.buffer);
                End::Other { stream, head: *head, decision, rest }
            }
            (Some(stream), Some(HandOff::BadHead(error))) => End::BadHead { stream, error },
            (stream, _) => End::Finished(stream),
        }
    }

    fn lock(&self) -> MutexGuard<'_, StreamState<V>> {
        lock(&self.shared)
    }
}

impl<V> StreamState<V> {
    fn admit(&mut self, head: RequestHead, http_request: HttpRequest) {
        let framing = Framing::of(&head);
        self.head = head_for_hyper(&head, framing);
        self.body = match framing {
            Framing::None | Framing::Bad => 0,
            Framing::Length(length) => length,
            Framing::Chunked => u64::MAX,
        };
        self.asked = Some(FallbackRequest { head, http_request, framing });
    }

    fn take_head(&mut self, head: RequestHead) {
        match (self.decide)(&head) {
            AnsweredBy::Http(http_request) => self.admit(head, http_request),
            AnsweredBy::Other(decision) => {
                self.leaving = Some(HandOff::Other(Box::new(head), decision));
            }
        }
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            if !self.head.is_empty() {
                let count = self.head.len().min(out.remaining());
                out.put_slice(&self.head[..count]);
                self.head.drain(..count);
                return Poll::Ready(Ok(()));
            }
            if self.body > 0 {
                if self.buffer.is_empty() && !self.ended {
                    let polled = self.poll_fill(context);
                    ready!(self.body_timeout.check(polled, context))?;
                    continue;
                }
                let allowed = usize::try_from(self.body).unwrap_or(usize::MAX);
                let count = self.buffer.len().min(out.remaining()).min(allowed);
                out.put_slice(&self.buffer[..count]);
                self.buffer.drain(..count);
                self.body -= count as u64;
                return Poll::Ready(Ok(()));
            }
            if self.leaving.is_some() || !ready!(self.poll_head(context))? {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Reads until the next head is complete or invalid. Returns `false` at the end.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<bool>> {
        loop {
            // some clients send an extra empty line after a body (RFC 9112 2.2)
            let empty = empty_lines(&self.buffer);
            if empty > 0 {
                self.buffer.drain(..empty);
                self.reader = HeadReader::new(self.head_limits);
            }
            let read = match self.reader.poll(&self.buffer) {
                Ok(None) if !self.ended => {
                    ready!(self.poll_fill(context))?;
                    continue;
                }
                Ok(None) if self.buffer.is_empty() => return Poll::Ready(Ok(false)),
                Ok(None) => mem::take(&mut self.reader).finish(&self.buffer),
                Ok(Some(whole)) => Ok(whole),
                Err(error) => Err(error),
            };
            self.reader = HeadReader::new(self.head_limits);
            match read {
                Ok((head, length)) => {
                    self.buffer.drain(..length);
                    self.take_head(head);
                }
                Err(error) => self.leaving = Some(HandOff::BadHead(error)),
            }
            return Poll::Ready(Ok(true));
        }
    }

    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; READ_SIZE];
        let mut read = ReadBuf::new(&mut bytes);
        ready!(self.stream()?.poll_read(context, &mut read))?;
        self.ended = read.filled().is_empty();
        self.buffer.extend_from_slice(read.filled());
        Poll::Ready(Ok(()))
    }

    /// Reads until the peer ends its direction; an error if the connection is broken.
    fn poll_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.ended {
            if self.buffer.len() >= READ_AHEAD {
                return self.poll_hung_up(context);
            }
            ready!(self.poll_fill(context))?;
        }
        Poll::Ready(Ok(()))
    }

    /// Checks from time to time whether the peer has gone, without reading its bytes.
    fn poll_hung_up(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match self.stream()?.hang_up() {
                Some(HangUp::Broken) => {
                    return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
                }
                Some(HangUp::Ended) => return Poll::Ready(Ok(())),
                None => {}
            }
            let next_look =
                self.next_look.get_or_insert_with(|| Box::pin(sleep(PEER_CHECK_PERIOD)));
            ready!(next_look.as_mut().poll(context));
            self.next_look = None;
        }
    }

    fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        let count = ready!(self.poll_send(context, write))?;
        self.sent += count as u64;
        Poll::Ready(Ok(count))
    }

    /// Writes, and fails if the peer reads nothing for too long.
    fn poll_send<T>(
        &mut self,
        context: &mut Context<'_>,
        send: impl FnOnce(Pin<&mut Stream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let polled = send(self.stream()?, context);
        self.answer_timeout.check(polled, context)
    }

    fn stream(&mut self) -> io::Result<Pin<&mut Stream>> {
        self.stream.as_mut().map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl<V> AsyncRead for HttpStream<V> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.lock().poll_read(context, buffer)
    }
}

impl<V> AsyncWrite for HttpStream<V> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let send = |stream: Pin<&mut Stream>, context: &mut Context<'_>| {
            stream.poll_write_vectored(context, buffers)
        };
        self.lock().poll_write(context, send)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(context, AsyncWrite::poll_flush)
    }

    /// Only flushes: the caller that takes the connection back ends it.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.lock().poll_send(context, AsyncWrite::poll_flush)
    }
}
