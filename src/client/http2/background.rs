//! The thread that connections over HTTP/2 share: they must answer PING, SETTINGS and windows
//! whether or not the program calls.

use std::{
    future::Future,
    io,
    pin::Pin,
    process,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    task::{ready, Context, Poll},
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

use super::socket::EndSignal;
use crate::{locks::lock, runtime::start as start_runtime};

/// The background of this process. It lives as long as the process, because open connections need
/// it.
static BACKGROUND: Mutex<Option<&'static Background>> = Mutex::new(None);

struct Background {
    /// The process that has started the thread, which does not survive `fork`.
    owner: u32,
    runtime: Runtime,
    open: Mutex<Open>,
    ended: Condvar,
}

#[derive(Default)]
struct Open {
    connections: usize,
    sockets: Vec<Weak<EndSignal>>,
}

fn existing() -> Option<&'static Background> {
    lock(&BACKGROUND).filter(|background| background.owner == process::id())
}

/// Runs work in the background; dropping the result cancels the work.
pub(in crate::client) fn run<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<BackgroundTask<T>> {
    let mut shared = lock(&BACKGROUND);
    let background = match *shared {
        Some(background) if background.owner == process::id() => background,
        _ => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(1).thread_name("fastwsh-http2").enable_all();
            let background: &'static Background = Box::leak(Box::new(Background {
                owner: process::id(),
                runtime: start_runtime(&mut builder)?,
                open: Mutex::default(),
                ended: Condvar::new(),
            }));
            *shared = Some(background);
            background
        }
    };
    Ok(BackgroundTask(background.runtime.spawn(work)))
}

/// Lets the background send what programs have sent before the process ends, as the kernel does for
/// TCP: ends our direction of all connections, and waits for them at most this long.
pub fn finish(limit: Duration) {
    let Some(background) = existing() else { return };
    let open = lock(&background.open);
    for socket in open.sockets.iter().filter_map(Weak::upgrade) {
        socket.note_process_exit();
    }
    let is_open = |open: &mut Open| open.connections > 0;
    drop(
        background
            .ended
            .wait_timeout_while(open, limit, is_open)
            .unwrap_or_else(PoisonError::into_inner),
    );
}

/// Counts a connection while it exists.
pub(super) struct OpenConnection(Option<&'static Background>);

impl OpenConnection {
    pub(super) fn new() -> Self {
        let background = existing();
        if let Some(background) = background {
            lock(&background.open).connections += 1;
        }
        Self(background)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        if let Some(background) = self.0 {
            lock(&background.open).connections -= 1;
            background.ended.notify_all();
        }
    }
}

/// Notes a socket for [`finish`].
pub(super) fn note_socket(ending: &Arc<EndSignal>) {
    if let Some(background) = existing() {
        let mut open = lock(&background.open);
        open.sockets.retain(|socket| socket.strong_count() > 0);
        open.sockets.push(Arc::downgrade(ending));
    }
}

/// Work in the background.
#[derive(Debug)]
pub(in crate::client) struct BackgroundTask<T>(JoinHandle<T>);

impl<T> Future for BackgroundTask<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(context)) {
            Ok(done) => Poll::Ready(done),
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // only dropping cancels it
            Err(_) => Poll::Pending,
        }
    }
}

impl<T> Drop for BackgroundTask<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
