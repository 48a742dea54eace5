//! A time limit for the next bytes of a peer; it begins again with each byte.

use std::{
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{sleep, Sleep};

/// Runs while a read or a write is pending.
#[derive(Debug)]
pub(in crate::server) struct IdleTimeout {
    limit: Option<Duration>,
    running: Option<Pin<Box<Sleep>>>,
}

impl IdleTimeout {
    pub(in crate::server) fn new(limit: Option<Duration>) -> Self {
        Self { limit, running: None }
    }

    /// Passes the result of a poll on, or an error if polls have been pending for too long.
    pub(in crate::server) fn check<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        let (Poll::Pending, Some(limit)) = (&polled, self.limit) else {
            self.running = None;
            return polled;
        };
        let running = self.running.get_or_insert_with(|| Box::pin(sleep(limit)));
        if running.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.running = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}
