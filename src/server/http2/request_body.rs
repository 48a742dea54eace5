//! The body of a request for a page or a program.
//!
//! It is taken from `h2` when it comes, as `h2` keeps some hundred bytes with each frame, and a peer
//! may send frames of one byte. The stream's window opens when the body is read.

use std::{
    error::Error,
    io,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    task::{ready, Context, Poll, Waker},
    time::Duration,
};

use h2::RecvStream;
use hyper::body::{Bytes, Frame};
use tokio::sync::{oneshot, watch};

use super::{
    change_waker::ChangeWaker,
    driver::{DrivenStream, Driver},
    incoming::ReceivedData,
};
use crate::{locks::lock, server::http::idle_timeout::IdleTimeout};

/// The body as it is read.
pub(super) struct RequestBody {
    source: Arc<Source>,
    body_timeout: IdleTimeout,
    /// Told if the first read finds nothing.
    first_wait: Option<oneshot::Sender<()>>,
}

/// The stream. A thread that holds `state` must not call `h2`.
struct Source {
    change_waker: Arc<ChangeWaker>,
    /// `None` when nobody reads the body any more.
    receiving: Mutex<Option<RecvStream>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    incoming: ReceivedData,
    end: Option<Result<(), h2::Error>>,
    reader: Option<Waker>,
}

impl RequestBody {
    pub(super) fn new(
        receiving: RecvStream,
        driver: Arc<Driver>,
        time_limit: Option<Duration>,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let source = Arc::new_cyclic(|this: &Weak<Source>| Source {
            change_waker: ChangeWaker::new(driver, this.clone()),
            receiving: Mutex::new(Some(receiving)),
            state: Mutex::default(),
        });
        source.poll_changed();
        let body_timeout = IdleTimeout::until(time_limit, stop);
        Self { source, body_timeout, first_wait: None }
    }

    /// Returns where it arrives that somebody waits for the body, of which nothing has come. An error
    /// says that nobody does.
    pub(super) fn first_wait(&mut self) -> oneshot::Receiver<()> {
        let (sender, receiver) = oneshot::channel();
        self.first_wait = Some(sender);
        receiver
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        let receiving = lock(&self.source.receiving).take();
        drop(receiving);
    }
}

impl hyper::body::Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = self.source.poll_data(context);
        if let Some(first_wait) = self.first_wait.take().filter(|_| polled.is_pending()) {
            // the stream's task ends before the body is dropped
            let _ = first_wait.send(());
        }
        let data = ready!(self.body_timeout.check(polled, context))?;
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        let state = lock(&self.source.state);
        state.incoming.is_empty() && matches!(state.end, Some(Ok(())))
    }
}

impl Source {
    fn poll_data(&self, context: &Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut state = lock(&self.state);
        let Some(data) = state.incoming.pop() else {
            let Some(end) = state.end.replace(Ok(())) else {
                (state.end, state.reader) = (None, Some(context.waker().clone()));
                return Poll::Pending;
            };
            return Poll::Ready(end.map(|()| None).map_err(io::Error::other));
        };
        drop(state);
        if let Some(stream) = &mut *lock(&self.receiving) {
            // this fails if the stream has ended, and then nothing is left to do
            let _ = stream.flow_control().release_capacity(data.len());
        }
        Poll::Ready(Ok(Some(data)))
    }
}

impl DrivenStream for Source {
    /// Takes what has come from the connection.
    fn poll_changed(&self) {
        let waker = self.change_waker.begin_poll();
        let mut context = Context::from_waker(&waker);
        let mut receiving = lock(&self.receiving);
        let Some(stream) = &mut *receiving else { return };
        while let Poll::Ready(data) = stream.poll_data(&mut context) {
            let mut state = lock(&self.state);
            match data {
                Some(Ok(data)) if data.is_empty() => continue,
                Some(Ok(data)) => {
                    state.incoming.push(data);
                    continue;
                }
                Some(Err(error)) => state.end = Some(Err(error)),
                None => state.end = Some(Ok(())),
            }
            break;
        }
        drop(receiving);
        let mut state = lock(&self.state);
        let has_news = !state.incoming.is_empty() || state.end.is_some();
        let reader = state.reader.take_if(|_| has_news);
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
