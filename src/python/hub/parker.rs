//! How a call of a handler in the hub waits: by letting other handlers run.

use std::{
    cell::RefCell,
    io,
    sync::{Mutex, MutexGuard},
};

use pyo3::prelude::*;

use super::{os_error, HubThread};
use crate::{
    connection::{LockWaiters, Park, ReactorToken, Transport, Wait},
    locks::try_lock,
    python::{
        connection::Connection,
        thread_wait,
        waiting::{ParkedWork, Scheduler, WaitError, WaitingWork},
    },
};

/// A handler in the hub that uses a connection, which may be that of another handler.
struct Parker<'a, 'py> {
    py: Python<'py>,
    hub: &'a HubThread,
    transport: &'a Transport,
    /// The exception that was raised in the handler while it waited.
    raised: RefCell<Option<PyErr>>,
}

impl Scheduler for HubThread {
    fn receive(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> Result<(), WaitError> {
        Ok(self.wait_for_peer(py, transport, work)?)
    }

    fn send(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        self.wait_for_peer(py, transport, work)
    }

    fn with_parker(&self, py: Python<'_>, transport: &Transport, work: &mut ParkedWork<'_>) {
        if self.is_in_handler() {
            work(Some(&self.parker(py, transport)));
        } else {
            work(None);
        }
    }

    fn lock<'a>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> Result<MutexGuard<'a, ()>, WaitError> {
        if !self.is_in_handler() {
            let failed = || os_error(&io::ErrorKind::WouldBlock.into()).into();
            return try_lock(mutex).ok_or_else(failed);
        }
        let parker = self.parker(py, transport);
        loop {
            if let Some(guard) = try_lock(mutex) {
                return Ok(guard);
            }
            if let Err(error) =
                parker.wait_for_lock(transport.lock_waiters(), &|| try_lock(mutex).is_some())
            {
                return Err(parker.raised.into_inner().unwrap_or_else(|| os_error(&error)).into());
            }
        }
    }

    fn await_input(&self, py: Python<'_>, transport: &Transport) -> Result<(), WaitError> {
        if !self.wants_input(py, transport) {
            return Ok(());
        }
        let switched = self.switch_away(py);
        transport.awaited_input().end();
        switched.map_err(|raised| raised.fetch().into())
    }

    fn pause(&self, py: Python<'_>, _transport: &Transport) -> Result<(), WaitError> {
        Ok(self.yield_if_over_budget(py)?)
    }

    fn let_others_run(&self, py: Python<'_>) -> Result<(), WaitError> {
        Ok(self.yield_if_over_budget(py)?)
    }

    fn is_over_budget(&self) -> bool {
        self.is_in_handler() && self.charge_call()
    }

    fn yield_now(&self, py: Python<'_>) -> PyResult<()> {
        HubThread::yield_now(self, py)
    }

    fn charge_bytes(&self, bytes: usize) {
        let cost = u32::try_from(bytes / 1024).unwrap_or(u32::MAX);
        self.budget.set(self.budget.get().saturating_sub(cost));
    }

    fn has_own_thread(&self) -> bool {
        !self.is_in_handler()
    }

    fn topics(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        let tasks = self.tasks.borrow();
        let task = tasks.get(self.current.get()? as usize)?.as_ref()?;
        let connection = task.connection.bind(py).cast::<Connection>().ok()?;
        connection.get().topics.as_ref().map(|(_, topics)| topics.clone_ref(py))
    }
}

impl HubThread {
    pub(super) fn is_in_handler(&self) -> bool {
        self.current.get().is_some()
    }

    /// Runs `work`, which may wait for the peer of `transport`.
    #[inline]
    fn wait_for_peer(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        if !self.is_in_handler() {
            // code that runs between two handlers, such as a finalizer, must not wait for handlers
            work(Wait::Never);
            return Ok(());
        }
        if thread_wait::has_deadline() {
            // the reactor has no deadlines, so the other handlers have to wait meanwhile
            return thread_wait::waiting(py, transport, work);
        }
        let parker = self.parker(py, transport);
        work(Wait::Park(&parker));
        parker.raised.into_inner().map_or(Ok(()), Err)
    }

    fn parker<'a, 'py>(&'a self, py: Python<'py>, transport: &'a Transport) -> Parker<'a, 'py> {
        Parker { py, hub: self, transport, raised: RefCell::new(None) }
    }

    /// Whether the caller is in a handler, has no deadline, and there is no input. The caller is then
    /// registered to be woken by input. In all other cases the reading code decides how to wait.
    #[inline(never)]
    fn wants_input(&self, py: Python<'_>, transport: &Transport) -> bool {
        if !self.is_in_handler() || thread_wait::has_deadline() {
            return false;
        }
        let parker = self.parker(py, transport);
        let awaited_input = transport.awaited_input();
        let half = transport.try_receive_half();
        if !awaited_input.begin(half, |half| !parker.is_readable() && half.is_drained()) {
            return false;
        }
        let waits = waits_for_input(&parker);
        if !waits {
            awaited_input.end();
        }
        waits
    }
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

impl Parker<'_, '_> {
    #[inline]
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
        self.hub.hub.heartbeat.go_idle();
        self.py.detach(work);
        self.hub.hub.heartbeat.resume();
    }
}
