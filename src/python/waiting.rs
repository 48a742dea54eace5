//! How a call from Python waits: there is a [`Scheduler`] for each kind of caller. The hub runs
//! another handler meanwhile, a coroutine makes the call again later, and any other thread waits in
//! the system call with the interpreter released.

use std::{
    cell::{Cell, RefCell},
    ops::Deref,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*, sync::MutexExt};

use super::thread_wait;
use crate::connection::{Park, Transport, Wait};

/// Work that may wait, in the way that its argument says. A scheduler calls it once, or fails.
pub(super) type WaitingWork<'a> = dyn FnMut(Wait<'_>) + Send + 'a;

/// Work that does not wait.
pub(super) type ParkedWork<'a> = dyn FnMut(Option<&dyn Park>) + 'a;

/// When a coroutine makes a call again that cannot be done yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// When the event loop wakes it.
    WhenWoken,
    /// After others have had their turn.
    AfterOthers,
}

/// Why a call ends without a result.
pub(super) enum WaitError {
    /// A coroutine is to make the call again. Only the scheduler of an attempt returns this.
    Retry(Retry),
    /// An exception was raised, in the call or in the caller while it waited. In a box, as results lie
    /// on stacks that are copied while handlers in the hub wait.
    Raised(Box<PyErr>),
}

impl WaitError {
    /// The exception for a caller that makes its call only once.
    #[cold]
    pub(super) fn into_exception(self) -> PyErr {
        match self {
            Self::Raised(error) => *error,
            Self::Retry(_) => would_block_event_loop(),
        }
    }
}

impl From<PyErr> for WaitError {
    #[cold]
    fn from(error: PyErr) -> Self {
        Self::Raised(Box::new(error))
    }
}

impl From<Retry> for WaitError {
    fn from(retry: Retry) -> Self {
        Self::Retry(retry)
    }
}

/// The exception for a call that an event loop would have to wait for.
#[cold]
pub(super) fn would_block_event_loop() -> PyErr {
    PyRuntimeError::new_err(
        "this call would hold up the event loop; await the method of the same name of \
         request.ws_stream in a coroutine, or run it in a thread: await asyncio.to_thread(...)",
    )
}

/// How callers in one kind of thread wait.
pub(super) trait Scheduler {
    /// Runs `work`, which may wait for bytes from the peer of `transport`.
    fn receive(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> Result<(), WaitError>;

    /// Runs `work`, which may wait until the peer of `transport` reads. A coroutine does not make the
    /// call again: the rest is sent later.
    fn send(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()>;

    /// Runs `work`, which does not wait, with the knowledge of this thread's reactor.
    fn with_parker(&self, py: Python<'_>, transport: &Transport, work: &mut ParkedWork<'_>);

    /// Locks `mutex`. Its holder may wait for the peer of `transport` meanwhile, and wakes the
    /// transport's lock waiters afterwards.
    fn lock<'a>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> Result<MutexGuard<'a, ()>, WaitError>;

    /// Waits for input with little on the stack: most handlers in the hub wait here, and their
    /// stacks are copied.
    fn await_input(&self, py: Python<'_>, transport: &Transport) -> Result<(), WaitError>;

    /// Lets others run if the caller has run for long in a loop that a peer keeps going. Does nothing
    /// where callers do not take turns, as the next ones.
    fn pause(&self, _py: Python<'_>, _transport: &Transport) -> Result<(), WaitError> {
        Ok(())
    }

    /// Lets others run if the caller has done much in a loop that ends by itself.
    fn let_others_run(&self, _py: Python<'_>) -> Result<(), WaitError> {
        Ok(())
    }

    /// Counts a call, and returns whether the caller has used up its budget.
    fn is_over_budget(&self) -> bool {
        false
    }

    /// Lets others run in the middle of a call. Only the hub can do this.
    fn yield_now(&self, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    /// Counts bytes that the caller sends or has received, for [`Self::is_over_budget`].
    fn charge_bytes(&self, _bytes: usize) {}

    /// Whether the caller has its thread to itself.
    fn has_own_thread(&self) -> bool;

    /// The topics of the caller's server, where the scheduler knows which handler calls.
    fn topics(&self, _py: Python<'_>) -> Option<Py<PyAny>> {
        None
    }
}

/// What is known of a thread. Each call of a handler looks here, so it is one variable that needs
/// no destructor: reaching a variable of a thread costs a call in a library that is loaded late.
struct ThreadMarks {
    /// Set in the hub's thread.
    hub: Cell<Option<&'static dyn Scheduler>>,
    /// Whether `EVENT_LOOP` has one.
    has_event_loop: Cell<bool>,
}

thread_local! {
    static MARKS: ThreadMarks =
        const { ThreadMarks { hub: Cell::new(None), has_event_loop: Cell::new(false) } };
    /// The event loop that a server runs in this thread, or the one of the coroutine that makes the
    /// current call.
    static EVENT_LOOP: RefCell<Option<Arc<dyn Scheduler>>> = const { RefCell::new(None) };
}

/// Marks this thread as the hub's, for good.
pub(super) fn enter_hub(hub: &'static dyn Scheduler) {
    MARKS.with(|marks| marks.hub.set(Some(hub)));
}

/// Marks this thread's calls as calls in an event loop, for good.
pub(super) fn enter_event_loop(event_loop: Arc<dyn Scheduler>) {
    drop(set_event_loop(Some(event_loop)));
}

/// Sets the event loop of this thread's calls, and returns the one before.
fn set_event_loop(event_loop: Option<Arc<dyn Scheduler>>) -> Option<Arc<dyn Scheduler>> {
    MARKS.with(|marks| marks.has_event_loop.set(event_loop.is_some()));
    EVENT_LOOP.replace(event_loop)
}

/// Marks, until it is dropped, this thread's calls as calls in the event loop of a coroutine: its
/// hooks may call the stream.
pub(super) enum InEventLoop {
    /// The thread is that event loop's own.
    Anyway,
    /// With what to set again.
    Entered(Option<Arc<dyn Scheduler>>),
}

impl InEventLoop {
    pub(super) fn enter<S: Scheduler + 'static>(event_loop: &Arc<S>) -> Self {
        let is_entered = EVENT_LOOP.with_borrow(|entered| {
            entered.as_ref().is_some_and(|entered| {
                std::ptr::addr_eq(Arc::as_ptr(entered), Arc::as_ptr(event_loop))
            })
        });
        if is_entered {
            return Self::Anyway;
        }
        Self::Entered(set_event_loop(Some(event_loop.clone())))
    }
}

impl Drop for InEventLoop {
    fn drop(&mut self) {
        if let Self::Entered(before) = self {
            drop(set_event_loop(before.take()));
        }
    }
}

/// The scheduler of the calling thread.
pub(super) enum CurrentScheduler {
    EventLoop(Arc<dyn Scheduler>),
    Hub(&'static dyn Scheduler),
    OwnThread,
}

impl Deref for CurrentScheduler {
    type Target = dyn Scheduler;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::EventLoop(event_loop) => &**event_loop,
            Self::Hub(hub) => *hub,
            Self::OwnThread => &OwnThread,
        }
    }
}

/// The scheduler of the calling thread.
pub(super) fn current_scheduler() -> CurrentScheduler {
    let (hub, has_event_loop) = MARKS.with(|marks| (marks.hub.get(), marks.has_event_loop.get()));
    if has_event_loop {
        if let Some(event_loop) = EVENT_LOOP.with_borrow(Clone::clone) {
            return CurrentScheduler::EventLoop(event_loop);
        }
    }
    hub.map_or(CurrentScheduler::OwnThread, CurrentScheduler::Hub)
}

impl dyn Scheduler + '_ {
    /// Lets others run if the caller has used up its budget.
    pub(super) fn yield_if_over_budget(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_over_budget() {
            return self.yield_now(py);
        }
        Ok(())
    }

    /// Runs `work`, which may wait for bytes from the peer of `transport`.
    pub(super) fn waiting<T: Send>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: impl FnOnce(Wait<'_>) -> T + Send,
    ) -> Result<T, WaitError> {
        once(work, |work| self.receive(py, transport, work))
    }

    /// Runs `work`, which may wait until the peer of `transport` reads.
    pub(super) fn sending<T: Send>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: impl FnOnce(Wait<'_>) -> T + Send,
    ) -> PyResult<T> {
        once(work, |work| self.send(py, transport, work))
    }

    /// Runs `work`, which does not wait, with the knowledge of the reactor of the caller's thread.
    pub(super) fn parked<T>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: impl FnOnce(Option<&dyn Park>) -> T,
    ) -> Option<T> {
        let (mut work, mut result) = (Some(work), None);
        self.with_parker(py, transport, &mut |parker| {
            result = work.take().map(|work| work(parker));
        });
        result
    }
}

fn once<T: Send, E: From<PyErr>>(
    work: impl FnOnce(Wait<'_>) -> T + Send,
    run: impl FnOnce(&mut WaitingWork<'_>) -> Result<(), E>,
) -> Result<T, E> {
    let (mut work, mut result) = (Some(work), None);
    run(&mut |wait| result = work.take().map(|work| work(wait)))?;
    result.ok_or_else(|| PyRuntimeError::new_err("the call was not made").into())
}

/// Runs `work`, which may wait for bytes from the peer of `transport`, for a caller that does this
/// only once.
///
/// # Errors
/// The exception that was raised while the caller waited, or the one that says that it must not
/// wait here.
pub(super) fn waiting<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    current_scheduler().waiting(py, transport, work).map_err(WaitError::into_exception)
}

/// Runs `work`, which may wait until the peer of `transport` reads.
///
/// # Errors
/// As [`waiting`].
pub(super) fn sending<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    current_scheduler().sending(py, transport, work)
}

/// A thread with only one caller.
struct OwnThread;

impl Scheduler for OwnThread {
    fn receive(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> Result<(), WaitError> {
        Ok(thread_wait::waiting(py, transport, work)?)
    }

    fn pause(&self, py: Python<'_>, _transport: &Transport) -> Result<(), WaitError> {
        Ok(thread_wait::pause(py)?)
    }

    fn send(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        thread_wait::waiting(py, transport, work)
    }

    fn with_parker(&self, _py: Python<'_>, _transport: &Transport, work: &mut ParkedWork<'_>) {
        work(None);
    }

    fn lock<'a>(
        &self,
        py: Python<'_>,
        _transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> Result<MutexGuard<'a, ()>, WaitError> {
        Ok(mutex.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }

    fn await_input(&self, _py: Python<'_>, _transport: &Transport) -> Result<(), WaitError> {
        // nothing to do: the call that receives waits itself
        Ok(())
    }

    fn has_own_thread(&self) -> bool {
        true
    }
}
