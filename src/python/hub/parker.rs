//! How a call of a handler waits: in the hub by letting other handlers run, elsewhere in its own
//! thread with the interpreter released.

use std::{
    cell::RefCell,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use pyo3::{prelude::*, sync::MutexExt};

use super::{here, is_hub_thread, os_error, HubThread};
use crate::{
    connection::{LockWaiters, Park, ReactorToken, Transport, Wait},
    locks::try_lock,
    python::thread_wait,
};

/// A handler in the hub that uses a connection, which may be that of another handler.
struct Parker<'a, 'py> {
    py: Python<'py>,
    hub: &'static HubThread,
    transport: &'a Transport,
    /// The exception that was raised in the handler while it waited.
    raised: RefCell<Option<PyErr>>,
}

/// Runs `work`, which may wait for the peer of `transport`, in the way in which the caller can
/// wait.
///
/// # Errors
/// What was thrown into the caller while it waited.
pub(in crate::python) fn waiting<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    let hub = match (here(), is_hub_thread()) {
        // the reactor has no deadlines, so the other handlers have to wait meanwhile
        (Some(_), _) if thread_wait::has_deadline() => {
            return thread_wait::waiting(py, transport, work)
        }
        (Some(hub), _) => hub,
        // code that runs between two handlers, such as a finalizer, must not wait for handlers
        (None, true) => return Ok(work(Wait::Never)),
        (None, false) => return thread_wait::waiting(py, transport, work),
    };
    let parker = Parker { py, hub, transport, raised: RefCell::new(None) };
    let result = work(Wait::Park(&parker));
    match parker.raised.into_inner() {
        Some(error) => Err(error),
        None => Ok(result),
    }
}

/// Runs `work`, which does not wait; in the hub, with the reactor's knowledge of the sockets.
pub(in crate::python) fn parked<T>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Option<&dyn Park>) -> T,
) -> T {
    let Some(hub) = here() else { return work(None) };
    work(Some(&Parker { py, hub, transport, raised: RefCell::new(None) }))
}

/// Returns the hub if the caller is in it, has no deadline, and there is no input. The caller is
/// then registered to be woken by input. In all other cases the reading code decides how to wait.
#[inline(never)]
pub(in crate::python) fn wants_input(
    py: Python<'_>,
    transport: &Transport,
) -> Option<&'static HubThread> {
    let hub = here().filter(|_| !thread_wait::has_deadline())?;
    let parker = Parker { py, hub, transport, raised: RefCell::new(None) };
    let mut inbound = transport.try_inbound()?;
    if parker.is_readable() || !inbound.is_drained() {
        return None;
    }
    // while the half is locked, so that no other thread takes it before it can see this
    transport.set_awaits_input(true);
    drop(inbound);
    let waits = waits_for_input(&parker);
    if !waits {
        transport.set_awaits_input(false);
    }
    waits.then_some(hub)
}

/// Whether the caller is registered to be woken by input.
fn waits_for_input(parker: &Parker<'_, '_>) -> bool {
    parker.transport.flush_before_wait(Wait::Never);
    if parker.transport.has_held() {
        return false;
    }
    let (Ok(token), Ok(caller)) = (parker.token(), parker.hub.caller()) else { return false };
    parker.hub.reactor.borrow_mut().wake_reader(token, caller)
}

/// Takes a lock that others may hold while they wait for the peer of `transport`. They notify its
/// [`LockWaiters`](crate::connection::LockWaiters) when they release it.
///
/// # Errors
/// What was thrown into the caller while it waited.
pub(in crate::python) fn turn<'a>(
    py: Python<'_>,
    transport: &Transport,
    mutex: &'a Mutex<()>,
) -> PyResult<MutexGuard<'a, ()>> {
    let Some(hub) = here() else {
        if is_hub_thread() {
            return try_lock(mutex).ok_or_else(|| os_error(&io::ErrorKind::WouldBlock.into()));
        }
        return Ok(mutex.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner));
    };
    let parker = Parker { py, hub, transport, raised: RefCell::new(None) };
    loop {
        if let Some(guard) = try_lock(mutex) {
            return Ok(guard);
        }
        if let Err(error) =
            parker.wait_for_lock(transport.lock_waiters(), &|| try_lock(mutex).is_some())
        {
            return Err(parker.raised.into_inner().unwrap_or_else(|| os_error(&error)));
        }
    }
}

impl Parker<'_, '_> {
    fn token(&self) -> io::Result<ReactorToken> {
        let reactor = &self.hub.reactor;
        self.transport.token(&self.hub.hub.remote, |socket| reactor.borrow_mut().register(socket))
    }

    fn park(&self) -> io::Result<()> {
        if self.raised.borrow().is_none() {
            let Err(error) = self.hub.park(self.py) else { return Ok(()) };
            *self.raised.borrow_mut() = Some(error);
        }
        Err(io::ErrorKind::Interrupted.into())
    }
}

impl Park for Parker<'_, '_> {
    fn waits(&self) -> bool {
        true
    }

    fn is_readable(&self) -> bool {
        // if the socket cannot be watched, the read will report the error
        self.token().map_or(true, |token| self.hub.reactor.borrow().is_readable(token))
    }

    fn mark_drained(&self) {
        if let Ok(token) = self.token() {
            self.hub.reactor.borrow_mut().mark_drained(token);
        }
    }

    fn pause(&self) -> io::Result<()> {
        if self.raised.borrow().is_none() {
            let Err(error) = self.hub.yield_if_over_budget(self.py) else { return Ok(()) };
            *self.raised.borrow_mut() = Some(error);
        }
        Err(io::ErrorKind::Interrupted.into())
    }

    fn wait_readable(&self) -> io::Result<()> {
        let (token, caller) = (self.token()?, self.hub.caller()?);
        if self.hub.reactor.borrow_mut().wake_reader(token, caller) {
            self.park()?;
        }
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        let (token, caller) = (self.token()?, self.hub.caller()?);
        if self.hub.reactor.borrow_mut().wake_writer(token, caller) {
            self.park()?;
        }
        Ok(())
    }

    fn wait_for_lock(
        &self,
        lock_waiters: &LockWaiters,
        is_free: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        lock_waiters.register(self.hub.hub.remote.waker(self.hub.caller()?));
        if is_free() {
            return Ok(());
        }
        self.park()
    }

    fn detached(&self, work: &mut (dyn FnMut() + Send)) {
        // the handler is not to blame if it has to wait for the interpreter afterwards
        self.hub.hub.slices.go_idle();
        self.py.detach(work);
        self.hub.hub.slices.resume();
    }
}
