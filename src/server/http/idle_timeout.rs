//! A time limit for the next bytes of a peer; it begins again with each byte, and is shorter while the
//! server stops.

use std::{
    future::{pending, Future},
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{sync::watch, time::sleep};

use crate::connection::stall::{given_up, Uptake};

/// Runs while a read or a write is pending.
pub(in crate::server) struct IdleTimeout {
    limit: Option<Duration>,
    /// Tells that the server stops; `None` if that shortens no limit.
    stop: Option<watch::Receiver<bool>>,
    running: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl IdleTimeout {
    pub(in crate::server) fn new(limit: Option<Duration>) -> Self {
        Self { limit, stop: None, running: None }
    }

    /// A peer that sends nothing while the server stops has as little time as one that takes nothing.
    pub(in crate::server) fn until(limit: Option<Duration>, stop: watch::Receiver<bool>) -> Self {
        Self { limit, stop: Some(stop), running: None }
    }

    /// Passes the result of a poll on, or an error if polls have been pending for too long.
    pub(in crate::server) fn check<T>(
        &mut self,
        polled: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.running = None;
            return polled;
        }
        let (limit, stop) = (self.limit, &self.stop);
        let running = self.running.get_or_insert_with(|| Box::pin(run_out(limit, stop.clone())));
        if running.as_mut().poll(context).is_pending() {
            return Poll::Pending;
        }
        self.running = None;
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

async fn run_out(limit: Option<Duration>, stop: Option<watch::Receiver<bool>>) {
    let limited = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => pending().await,
        }
    };
    let given_up = async {
        match stop {
            Some(stop) => given_up(&stop, || Uptake { waits: true, mark: 0 }).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = limited => {}
        () = given_up => {}
    }
}
