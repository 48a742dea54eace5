//! The thread in which connections of event loops are opened.

use std::{
    future::Future,
    io, mem,
    pin::Pin,
    process,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
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
    runtime::{start as start_runtime, task, Task},
};

/// The runtime, and the process that has started it. It lives as long as the process.
static RUNTIME: Mutex<Option<(u32, &'static runtime::Runtime)>> = Mutex::new(None);

task_local! {
    static LOCALS: TaskLocals;
}

/// Who may be running Python code for this module: the thread while it goes on with a task, and
/// the threads that give an event loop its connection.
static VISITS: Mutex<Visits> = Mutex::new(Visits { owner: 0, count: 0, are_over: false });
/// Notified when there is none any more.
static NO_VISITS: Condvar = Condvar::new();

struct Visits {
    /// The process that they belong to.
    owner: u32,
    count: usize,
    /// Whether the program ends.
    are_over: bool,
}

impl Visits {
    /// Those of this process; a child of `fork` begins anew.
    fn own(&mut self) -> &mut Self {
        let owner = process::id();
        if self.owner != owner {
            *self = Self { owner, count: 0, are_over: false };
        }
        self
    }
}

/// One of them.
struct Visit(u32);

impl Visit {
    /// `None` if the program ends: there may be no interpreter any more.
    fn begin() -> Option<Self> {
        let mut shared = lock(&VISITS);
        let visits = shared.own();
        if visits.are_over {
            return None;
        }
        visits.count += 1;
        Some(Self(visits.owner))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut visits = lock(&VISITS);
        if visits.owner == self.0 {
            visits.count -= 1;
            if visits.count == 0 {
                NO_VISITS.notify_all();
            }
        }
    }
}

/// Waits until no thread runs Python code for this module, and lets none begin. Python unwinds a
/// thread that goes on in an interpreter that has ended, and that would abort the process.
pub(super) fn finish(limit: Duration) {
    wait_for_visits(limit).are_over = true;
}

/// Waits until no task is being polled, for this time at most; then they go on.
pub(super) fn settle(limit: Duration) {
    drop(wait_for_visits(limit));
}

fn wait_for_visits(limit: Duration) -> MutexGuard<'static, Visits> {
    let mut visits = lock(&VISITS);
    if visits.own().count > 0 {
        let waited = NO_VISITS.wait_timeout_while(visits, limit, |now| now.count > 0);
        visits = waited.unwrap_or_else(PoisonError::into_inner).0;
    }
    visits
}

/// A task that stops for ever when the program ends.
struct UntilExit(Task);

impl Future for UntilExit {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        match Visit::begin() {
            Some(_visit) => self.0.as_mut().poll(context),
            None => Poll::Pending,
        }
    }
}

/// Starts the thread, unless this process has it already. It does not survive `fork`, so a child has
/// one of its own.
///
/// # Errors
/// If the system has no descriptors or threads for it.
pub(super) fn start() -> io::Result<()> {
    // a function that Python calls at the end may connect, after `finish`
    lock(&VISITS).own().are_over = false;
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
        Self::handle().spawn(UntilExit(task(future)))
    }

    fn spawn_blocking<F: FnOnce() + Send + 'static>(work: F) -> JoinHandle<()> {
        // counted before the event loop may learn of its connection, and end with the program
        let Some(visit) = Visit::begin() else {
            // it owns objects of Python
            mem::forget(work);
            return Self::handle().spawn_blocking(|| ());
        };
        Self::handle().spawn_blocking(move || {
            let _visit = visit;
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
