//! The thread in which connections of event loops are opened.

use std::{
    future::Future,
    io,
    pin::Pin,
    process,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use pyo3_async_runtimes::{
    generic::{ContextExt, Runtime},
    TaskLocals,
};
use tokio::{
    runtime::{self, Builder, Handle},
    task::{JoinError, JoinHandle},
    task_local,
};

use crate::{
    locks::lock,
    runtime::{start as start_runtime, task},
};

/// The runtime, and the process that has started it. It lives as long as the process.
static RUNTIME: Mutex<Option<(u32, &'static runtime::Runtime)>> = Mutex::new(None);

task_local! {
    static LOCALS: TaskLocals;
}

/// The threads that are giving an event loop its connection, which runs Python code.
static DELIVERIES: Mutex<Deliveries> = Mutex::new(Deliveries { owner: 0, count: 0 });
/// Notified when there is none any more.
static DELIVERED: Condvar = Condvar::new();

struct Deliveries {
    /// The process that they belong to.
    owner: u32,
    count: usize,
}

/// One of them.
struct Delivery(u32);

impl Delivery {
    fn begin() -> Self {
        let owner = process::id();
        let mut deliveries = lock(&DELIVERIES);
        if deliveries.owner != owner {
            *deliveries = Deliveries { owner, count: 0 };
        }
        deliveries.count += 1;
        Self(owner)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let mut deliveries = lock(&DELIVERIES);
        if deliveries.owner == self.0 {
            deliveries.count -= 1;
            if deliveries.count == 0 {
                DELIVERED.notify_all();
            }
        }
    }
}

/// Waits until no thread runs Python code for this module. Python unwinds a thread that goes on in an
/// interpreter that has ended, and that would abort the process.
pub(super) fn finish(limit: Duration) {
    let deliveries = lock(&DELIVERIES);
    if deliveries.owner == process::id() {
        let waited = DELIVERED.wait_timeout_while(deliveries, limit, |now| now.count > 0);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

/// Starts the thread, unless this process has it already. It does not survive `fork`, so a child has
/// one of its own.
///
/// # Errors
/// If the system has no descriptors or threads for it.
pub(super) fn start() -> io::Result<()> {
    let mut shared = lock(&RUNTIME);
    if shared.is_none_or(|(owner, _)| owner != process::id()) {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).thread_name("fastwsh-connect").enable_all();
        *shared = Some((process::id(), Box::leak(Box::new(start_runtime(&mut builder)?))));
    }
    Ok(())
}

/// The runtime in the form that pyo3-async-runtimes asks for; [`start`] comes first.
pub(super) struct Opener;

impl Opener {
    fn handle() -> Handle {
        let shared = *lock(&RUNTIME);
        shared.map_or_else(Handle::current, |(_, runtime)| runtime.handle().clone())
    }
}

impl Runtime for Opener {
    type JoinError = JoinError;
    type JoinHandle = JoinHandle<()>;

    fn spawn<F: Future<Output = ()> + Send + 'static>(future: F) -> JoinHandle<()> {
        Self::handle().spawn(task(future))
    }

    fn spawn_blocking<F: FnOnce() + Send + 'static>(work: F) -> JoinHandle<()> {
        // counted before the event loop may learn of its connection, and end with the program
        let delivery = Delivery::begin();
        Self::handle().spawn_blocking(move || {
            let _delivery = delivery;
            work();
        })
    }
}

impl ContextExt for Opener {
    fn scope<F, R>(locals: TaskLocals, future: F) -> Pin<Box<dyn Future<Output = R> + Send>>
    where
        F: Future<Output = R> + Send + 'static,
    {
        Box::pin(LOCALS.scope(locals, future))
    }

    fn get_task_locals() -> Option<TaskLocals> {
        LOCALS.try_with(Clone::clone).ok()
    }
}
