//! How a call of Python's waits: a [`Scheduler`] for each kind of thread. The hub hands its thread to
//! another handler, an event loop has the call made again later, and any other thread waits in the
//! system call with the interpreter detached.

use std::{
    cell::{Cell, RefCell},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use pyo3::{exceptions::PyRuntimeError, prelude::*, sync::MutexExt};

use super::thread_wait;
use crate::connection::{Park, Transport, Wait};

/// Work that may wait as it is told to. A scheduler calls it once, or fails.
pub(super) type WaitingWork<'a> = dyn FnMut(Wait<'_>) + Send + 'a;

/// Work that does not wait.
pub(super) type ParkedWork<'a> = dyn FnMut(Option<&dyn Park>) + 'a;

/// How callers in one kind of thread wait.
///
/// Every method that returns a `PyResult` fails with what was raised in the caller while it waited;
/// for a coroutine also with the demand to make the call again.
pub(super) trait Scheduler {
    /// Does what may wait to receive from the peer of `transport`.
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

    /// Does what does not wait, with what this thread knows of its sockets.
    fn with_parker(&self, py: Python<'_>, transport: &Transport, work: &mut ParkedWork<'_>);

    /// Locks `mutex`, whose holders may wait for the peer of `transport` and wake its lock waiters.
    fn lock<'a>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> PyResult<MutexGuard<'a, ()>>;

    /// Waits until something has been received, with little on the stack.
    fn await_input(&self, py: Python<'_>, transport: &Transport) -> PyResult<()>;

    /// Lets others run if the caller has run for long in a loop that a peer keeps going.
    fn pause(&self, py: Python<'_>, transport: &Transport) -> PyResult<()>;

    /// Whether the caller has its thread to itself.
    fn has_own_thread(&self) -> bool;
}

/// A scheduler whose callers share the thread and take turns in the middle of their calls.
pub(super) trait TurnTaking: Scheduler {
    /// Lets others run if the caller has used up its share.
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

/// Says that this thread is the hub's, for good.
pub(super) fn enter_hub(hub: &'static dyn TurnTaking) {
    HUB.set(Some(hub));
}

/// Says that this thread's calls are made in an event loop; returns the one before.
pub(super) fn enter_event_loop(
    event_loop: Option<Arc<dyn Scheduler>>,
) -> Option<Arc<dyn Scheduler>> {
    EVENT_LOOP.replace(event_loop)
}

/// Whether the caller makes a call again that cannot wait.
pub(super) fn comes_back() -> bool {
    COMES_BACK.get()
}

/// Says whether the caller makes calls again, until it is dropped.
pub(super) struct ComesBack(bool);

impl ComesBack {
    pub(super) fn begin() -> Self {
        Self(COMES_BACK.replace(true))
    }

    /// For code that is not made to be called again: a handler's hooks.
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
    // not borrowed while it is asked: the call may begin another one
    if let Some(event_loop) = EVENT_LOOP.with_borrow(Clone::clone) {
        return ask(&*event_loop);
    }
    match HUB.get() {
        Some(hub) => ask(hub),
        None => ask(&OwnThread),
    }
}

/// Does what may wait to receive from the peer of `transport`, as the caller can.
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

/// Does what may wait until the peer of `transport` reads. A coroutine's call is never made again for
/// that: what is left is sent later.
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

/// Lets others run if the caller shares its thread and has run for long: for loops that a peer keeps
/// going.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn pause(py: Python<'_>, transport: &Transport) -> PyResult<()> {
    here(|here| here.pause(py, transport))
}

/// Lets others run if the caller takes turns with them and has used up its share.
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

/// Does what does not wait, with what the caller's thread knows of its sockets.
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

/// Waits until something has been received, with little on the stack: most handlers in the hub wait
/// here.
///
/// # Errors
/// As [`Scheduler`].
pub(super) fn await_input(py: Python<'_>, transport: &Transport) -> PyResult<()> {
    if transport.is_more_buffered() {
        return Ok(());
    }
    here(|here| here.await_input(py, transport))
}

/// A thread that nobody shares.
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
        // the call that receives waits
        Ok(())
    }

    fn pause(&self, _py: Python<'_>, _transport: &Transport) -> PyResult<()> {
        Ok(())
    }

    fn has_own_thread(&self) -> bool {
        true
    }
}
