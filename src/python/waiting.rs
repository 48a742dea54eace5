//! The one place that decides how a call from Python waits. A handler in the hub lets other
//! handlers run, a coroutine repeats the call later, and every other caller waits in its own thread
//! with the interpreter released.

use std::sync::{Mutex, MutexGuard};

use pyo3::prelude::*;

use super::{event_loop, hub};
use crate::connection::{Park, Transport, Wait};

/// Runs `work`, which may wait for bytes from the peer of `transport`, in the way in which the
/// caller can wait.
///
/// # Errors
/// The exception that was raised in the caller while it waited, or, in a coroutine, the one that
/// says that the call must be repeated.
pub(super) fn waiting<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    match event_loop::here() {
        Some(here) => here.receiving(py, transport, work),
        None => hub::waiting(py, transport, work),
    }
}

/// Runs `work`, which may wait until the peer of `transport` reads. A coroutine does not repeat the
/// call: what the kernel does not take is sent later.
///
/// # Errors
/// As [`waiting`].
pub(super) fn sending<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    match event_loop::here() {
        Some(here) => here.sending(py, transport, work),
        None => hub::waiting(py, transport, work),
    }
}

/// Lets others run if the caller shares its thread and has used it for long. Loops that last as
/// long as a peer sends call this.
///
/// # Errors
/// As [`waiting`].
pub(super) fn pause(py: Python<'_>, transport: &Transport) -> PyResult<()> {
    match event_loop::here() {
        Some(here) => here.pause(py, transport),
        None => hub::yield_if_over_budget(py),
    }
}

/// Runs `work`, which does not wait, with the knowledge of the reactor where the caller runs.
pub(super) fn parked<T>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Option<&dyn Park>) -> T,
) -> T {
    match event_loop::here() {
        Some(here) => here.parked(py, transport, work),
        None => hub::parked(py, transport, work),
    }
}

/// Takes a lock that others may hold while they wait for the peer of `transport`. They notify its
/// [`LockWaiters`](crate::connection::LockWaiters) when they release it.
///
/// # Errors
/// As [`waiting`].
pub(super) fn turn<'a>(
    py: Python<'_>,
    transport: &Transport,
    mutex: &'a Mutex<()>,
) -> PyResult<MutexGuard<'a, ()>> {
    match event_loop::here() {
        Some(here) => here.turn(py, transport, mutex),
        None => hub::turn(py, transport, mutex),
    }
}

/// Whether the caller has its thread to itself.
pub(super) fn has_own_thread() -> bool {
    hub::here().is_none() && event_loop::here().is_none()
}

/// Waits for input with little on the stack: most handlers in the hub wait here, and their stacks
/// are copied.
///
/// # Errors
/// As [`waiting`].
pub(super) fn await_input(py: Python<'_>, transport: &Transport) -> PyResult<()> {
    if transport.is_more_buffered() {
        return Ok(());
    }
    if let Some(here) = event_loop::here() {
        return here.await_input(py, transport);
    }
    let Some(hub) = hub::wants_input(py, transport) else { return Ok(()) };
    let parked = hub.park(py);
    transport.set_awaits_input(false);
    parked
}
