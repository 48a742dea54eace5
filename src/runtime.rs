//! Starts tokio's runtimes, and what they run.

use std::{
    future::Future,
    io,
    os::unix::net::UnixStream,
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio::runtime::{Builder, Runtime};

/// Half of the descriptors that the first runtime of a process needs, and what connects needs then.
const PAIRS: usize = 4;

/// Starts a runtime.
///
/// # Errors
/// If the system has no descriptors or threads for it.
pub(crate) fn start(builder: &mut Builder) -> io::Result<Runtime> {
    static HAS_STARTED: AtomicBool = AtomicBool::new(false);
    // with the first runtime tokio opens a pipe for signals, and panics if it cannot
    if !HAS_STARTED.load(Ordering::Relaxed) {
        let reserve: Vec<_> = (0..PAIRS).map(|_| UnixStream::pair()).collect::<io::Result<_>>()?;
        drop(reserve);
    }
    let runtime = builder.build()?;
    HAS_STARTED.store(true, Ordering::Relaxed);
    Ok(runtime)
}

/// A task of either kind of runtime.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes a task of a future. All tasks have one type, as tokio's code is compiled anew for each
/// type that is spawned.
pub(crate) fn task(work: impl Future<Output = ()> + Send + 'static) -> Task {
    Box::pin(work)
}
