//! How a call from Python waits: there is a [`Scheduler`] for each kind of thread. The hub runs
//! another handler meanwhile, an event loop repeats the call later, and any other thread waits in
//! the system call with the interpreter released.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*, sync::MutexExt};

use super::thread_wait;
use crate::connection::{Park, Transport, Wait};

/// Work that may wait, in the way that its argument says. A scheduler calls it once, or fails.
pub(super) type WaitingWork<'a> = dyn FnMut(Wait<'_>) + Send + 'a;

/// Work that does not wait.
pub(super) type ParkedWork<'a> = dyn FnMut(Option<&dyn Park>) + 'a;

/// How callers in one kind of thread wait.
///
/// Every method with a `PyResult` fails with the exception that was raised in the caller while it
/// waited, or, in a coroutine, with the one that says that the call must be repeated.
pub(super) trait Scheduler {
    /// Runs `work`, which may wait for bytes from the peer of `transport`.
    fn receive(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()>;

    /// Does what may wait until the peer of `transport` reads.
    fn send(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()>;

    /// Runs `work`, which does not wait, with the knowledge of this thread's reactor.
    fn with_parker(&self, py: Python<'_>, transport: &Transport, work: &mut ParkedWork<'_>);

    /// Locks `mutex`, whose holders may wait for the peer of `transport` and wake its lock waiters.
    fn lock<'a>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> PyResult<MutexGuard<'a, ()>>;

    /// Waits for input, with little on the stack.
    fn await_input(&self, py: Python<'_>, transport: &Transport) -> PyResult<()>;

    /// Lets others run if the caller has run for long in a loop that a peer keeps going.
    fn pause(&self, py: Python<'_>, transport: &Transport) -> PyResult<()>;

    /// Lets others run if the caller has done much in a loop that ends by itself.
    fn let_others_run(&self, py: Python<'_>) -> PyResult<()>;

    /// Whether the caller has its thread to itself.
    fn has_own_thread(&self) -> bool;
}

/// A scheduler for callers that share a thread and take turns in the middle of their calls.
pub(super) trait TurnTaking: Scheduler {
    /// The same object, for compilers that do not convert it by themselves (before Rust 1.86).
    fn as_scheduler(&self) -> &dyn Scheduler;

    /// Lets others run if the caller has used up its budget.
    fn yield_if_over_budget(&self, py: Python<'_>) -> PyResult<()>;

    /// Counts bytes that the caller sends or has received.
    fn charge_bytes(&self, bytes: usize);
}

thread_local! {
    /// Set in the hub's thread.
    static HUB: Cell<Option<&'static dyn TurnTaking>> = const { Cell::new(None) };
    /// The event loop that a server runs in this thread, or the one of the coroutine that makes the
    /// current call.
    static EVENT_LOOP: RefCell<Option<Arc<dyn Scheduler>>> = const { RefCell::new(None) };
    /// Whether the caller makes a call again that cannot wait.
    static COMES_BACK: Cell<bool> = const { Cell::new(false) };
}

/// Marks this thread as the hub's, for good.
pub(super) fn enter_hub(hub: &'static dyn TurnTaking) {
    HUB.set(Some(hub));
}

/// Marks this thread's calls as calls in an event loop. Returns the event loop that was set before.
pub(super) fn enter_event_loop(
    event_loop: Option<Arc<dyn Scheduler>>,
) -> Option<Arc<dyn Scheduler>> {
    EVENT_LOOP.replace(event_loop)
}

/// Whether the caller makes a call again that cannot wait.
pub(super) fn comes_back() -> bool {
    COMES_BACK.get()
}

/// Sets, until it is dropped, whether the caller repeats calls that cannot wait.
pub(super) struct ComesBack(bool);

impl ComesBack {
    pub(super) fn begin() -> Self {
        Self(COMES_BACK.replace(true))
    }

    /// For code that does not repeat its calls: a handler's hooks.
    pub(super) fn suspend() -> Self {
        Self(COMES_BACK.replace(false))
    }
}

impl Drop for ComesBack {
    fn drop(&mut self) {
        COMES_BACK.set(self.0);
    }
}

fn here<T>(ask: impl FnOnce(&(dyn Scheduler + '_)) -> T) -> T {
    // clone it first: the call may set another event loop, which needs the cell
    if let Some(event_loop) = EVENT_LOOP.with_borrow(Clone::clone) {
        return ask(&*event_loop);
    }
    match HUB.get() {
        Some(hub) => ask(hub.as_scheduler()),
        None => ask(&OwnThread),
    }
}

/// Runs `work`, which may wait for bytes from the peer of `transport`, in the way in which the
/// caller can wait.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn waiting<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    once(work, |work| here(|here| here.receive(py, transport, work)))
}

/// Runs `work`, which may wait until the peer of `transport` reads. A coroutine does not repeat the
/// call: the rest is sent later.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn sending<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    once(work, |work| here(|here| here.send(py, transport, work)))
}

fn once<T: Send>(
    work: impl FnOnce(Wait<'_>) -> T + Send,
    run: impl FnOnce(&mut WaitingWork<'_>) -> PyResult<()>,
) -> PyResult<T> {
    let (mut work, mut result) = (Some(work), None);
    run(&mut |wait| result = work.take().map(|work| work(wait)))?;
    result.ok_or_else(|| PyRuntimeError::new_err("the call was not made"))
}

/// Lets others run if the caller shares its thread and has used it for long. Loops that last as
/// long as a peer sends call this.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn pause(py: Python<'_>, transport: &Transport) -> PyResult<()> {
    here(|here| here.pause(py, transport))
}

/// Lets others run if the caller shares its thread and has used it for long. A coroutine must be
/// able to repeat the call.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn let_others_run(py: Python<'_>) -> PyResult<()> {
    here(|here| here.let_others_run(py))
}

/// Lets others run if the caller takes turns with them and has used up its budget.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn yield_if_over_budget(py: Python<'_>) -> PyResult<()> {
    HUB.get().map_or(Ok(()), |hub| hub.yield_if_over_budget(py))
}

/// Counts bytes that a handler sends or has received.
pub(super) fn charge_bytes(bytes: usize) {
    if let Some(hub) = HUB.get() {
        hub.charge_bytes(bytes);
    }
}

/// Runs `work`, which does not wait, with the knowledge of the reactor of the caller's thread.
pub(super) fn parked<T>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Option<&dyn Park>) -> T,
) -> Option<T> {
    let (mut work, mut result) = (Some(work), None);
    here(|here| {
        here.with_parker(py, transport, &mut |parker| {
            result = work.take().map(|work| work(parker));
        });
    });
    result
}

/// Locks `mutex`, whose holders may wait for the peer of `transport` and wake its lock waiters.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn turn<'a>(
    py: Python<'_>,
    transport: &Transport,
    mutex: &'a Mutex<()>,
) -> PyResult<MutexGuard<'a, ()>> {
    here(|here| here.lock(py, transport, mutex))
}

/// Whether the caller has its thread to itself.
pub(super) fn has_own_thread() -> bool {
    here(|here| here.has_own_thread())
}

/// Waits for input with little on the stack: most handlers in the hub wait here, and their stacks
/// are copied.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn await_input(py: Python<'_>, transport: &Transport) -> PyResult<()> {
    if transport.is_more_buffered() {
        return Ok(());
    }
    here(|here| here.await_input(py, transport))
}

/// A thread with only one caller.
struct OwnThread;

impl Scheduler for OwnThread {
    fn receive(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        thread_wait::waiting(py, transport, work)
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
    ) -> PyResult<MutexGuard<'a, ()>> {
        Ok(mutex.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }

    fn await_input(&self, _py: Python<'_>, _transport: &Transport) -> PyResult<()> {
        // nothing to do: the call that receives waits itself
        Ok(())
    }

    fn pause(&self, _py: Python<'_>, _transport: &Transport) -> PyResult<()> {
        Ok(())
    }

    fn let_others_run(&self, _py: Python<'_>) -> PyResult<()> {
        Ok(())
    }

    fn has_own_thread(&self) -> bool {
        true
    }
}
