//! The one way in which a call of Python's waits. Who calls decides: a handler in the hub hands the
//! thread on, a coroutine comes back later, anybody else waits in its own thread with the
//! interpreter detached.

use std::sync::{Mutex, MutexGuard};

use pyo3::prelude::*;

use super::{event_loop, hub};
use crate::connection::{Park, Transport, Wait};

/// Does what may wait to receive from the peer of `transport`, as the caller can.
///
/// # Errors
/// What was thrown into the caller while it waited; for a coroutine also that it has to come back.
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

/// Does what may wait for the peer of `transport` to take something. A coroutine never comes back
/// for that: what is left is sent later.
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

/// Lets others go on if the caller shares its thread and has gone on for long: for loops that go on as
/// long as a peer sends.
///
/// # Errors
/// As [`waiting`].
pub(super) fn pause(py: Python<'_>, transport: &Transport) -> PyResult<()> {
    match event_loop::here() {
        Some(here) => here.pause(py, transport),
        None => hub::yield_if_over_budget(py),
    }
}

/// Does what does not wait, with what is known of the sockets where the caller runs.
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

/// Takes a lock that others may hold while they wait for the peer of `transport`; they tell its
/// turns when they let go.
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

/// Waits until something has been received, with little on the stack: most handlers in the hub wait
/// here.
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
