//! Calls from a coroutine, or from other code in the thread of a server's event loop.
//!
//! A coroutine cannot wait inside a call. Instead the call registers what it waits for, and ends
//! with an exception that only [`Call::is_blocked`] sees. The event loop then repeats the call. So
//! code that may end in this way must not have changed anything that the second try does not know
//! of.

use std::{
    cell::Cell,
    io,
    sync::{Arc, Mutex, MutexGuard},
};

use pyo3::{
    exceptions::{PyBlockingIOError, PyRuntimeError},
    prelude::*,
};

use super::LoopState;
use crate::{
    connection::{LockWaiters, Park, ReactorToken, Slice, Transport, Wait},
    locks::try_lock,
    python::waiting::{self, ComesBack, ParkedWork, Scheduler, WaitingWork},
};

thread_local! {
    /// The current call must be repeated.
    static BLOCKED: Cell<bool> = const { Cell::new(false) };
    /// The current call must be repeated only to let others have their turn first.
    static OTHERS_FIRST: Cell<bool> = const { Cell::new(false) };
    /// The slice of the current call, which begins when the call first asks for it.
    static SLICE: Slice = Slice::begin();
    static IS_TIMED: Cell<bool> = const { Cell::new(false) };
}

/// A call of a coroutine, until it is dropped.
pub(super) struct Call {
    before: Option<Arc<dyn Scheduler>>,
    _comes_back: ComesBack,
}

impl Call {
    pub(super) fn begin(state: &Arc<LoopState>) -> Self {
        BLOCKED.set(false);
        OTHERS_FIRST.set(false);
        IS_TIMED.set(false);
        let before = waiting::enter_event_loop(Some(state.clone()));
        Self { before, _comes_back: ComesBack::begin() }
    }

    /// Whether the exception of the call means that the call must be repeated.
    #[expect(clippy::unused_self, reason = "during the call only")]
    pub(super) fn is_blocked(&self) -> bool {
        BLOCKED.take()
    }

    /// Whether the call must be repeated only to let others have their turn.
    #[expect(clippy::unused_self, reason = "during the call only")]
    pub(super) fn lets_others_go_on(&self) -> bool {
        OTHERS_FIRST.take()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        waiting::enter_event_loop(self.before.take());
    }
}

impl Scheduler for LoopState {
    fn receive(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        if !waiting::comes_back() {
            return Err(would_hold_up());
        }
        let parker = Parker::new(py, self, transport);
        work(Wait::Park(&parker));
        if parker.blocked.get() {
            return Err(blocked());
        }
        Ok(())
    }

    fn send(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        if !transport.is_at_home(&self.remote) {
            return Err(would_hold_up());
        }
        work(Wait::Park(&Parker::new(py, self, transport)));
        Ok(())
    }

    fn with_parker(&self, py: Python<'_>, transport: &Transport, work: &mut ParkedWork<'_>) {
        work(Some(&Parker::new(py, self, transport)));
    }

    fn lock<'a>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> PyResult<MutexGuard<'a, ()>> {
        if let Some(guard) = try_lock(mutex) {
            return Ok(guard);
        }
        if !waiting::comes_back() {
            return Err(would_hold_up());
        }
        let parker = Parker::new(py, self, transport);
        if parker.wait_for_lock(transport.lock_waiters(), &|| try_lock(mutex).is_some()).is_ok() {
            // the next try will find out
            self.wake_soon(transport);
        }
        Err(blocked())
    }

    /// Registers the caller to wait for input, if there is none.
    fn await_input(&self, py: Python<'_>, transport: &Transport) -> PyResult<()> {
        if !waiting::comes_back() {
            return Err(would_hold_up());
        }
        let parker = Parker::new(py, self, transport);
        let Some(mut inbound) = transport.try_inbound() else { return Ok(()) };
        if parker.is_readable() || !inbound.is_drained() {
            return Ok(());
        }
        drop(inbound);
        transport.flush_before_wait(Wait::Park(&parker));
        if parker.wait_readable().is_ok() {
            return Ok(());
        }
        Err(blocked())
    }

    /// Ends the call, so that it is repeated, if it has taken long, or if the peer does not read
    /// what is sent to it meanwhile.
    fn pause(&self, py: Python<'_>, transport: &Transport) -> PyResult<()> {
        let parker = Parker::new(py, self, transport);
        if waiting::comes_back() && parker.pause().is_err() {
            return Err(blocked());
        }
        Ok(())
    }

    /// Ends the call, so that it is repeated, if it has taken long.
    fn let_others_run(&self, _py: Python<'_>) -> PyResult<()> {
        if waiting::comes_back() && is_over() {
            return Err(blocked());
        }
        Ok(())
    }

    fn has_own_thread(&self) -> bool {
        false
    }
}

/// Whether the slice of the current call is over, so that others must have their turn.
fn is_over() -> bool {
    // it begins with the first pause: most calls end before
    if !IS_TIMED.replace(true) {
        SLICE.with(Slice::begin_again);
        return false;
    }
    let is_over = SLICE.with(Slice::is_over);
    if is_over {
        OTHERS_FIRST.set(true);
    }
    is_over
}

/// The exception that only [`Call::is_blocked`] sees.
fn blocked() -> PyErr {
    BLOCKED.set(true);
    PyBlockingIOError::new_err(())
}

fn would_hold_up() -> PyErr {
    PyRuntimeError::new_err(
        "this call would hold up the event loop; await the method of the same name of \
         request.ws_stream in a coroutine, or run it in a thread: await asyncio.to_thread(...)",
    )
}

/// Registers what a caller waits for.
pub(super) struct Parker<'a, 'py> {
    py: Python<'py>,
    shared: &'a LoopState,
    transport: &'a Transport,
    /// The caller must repeat the call.
    blocked: Cell<bool>,
}

impl<'a, 'py> Parker<'a, 'py> {
    pub(super) fn new(py: Python<'py>, shared: &'a LoopState, transport: &'a Transport) -> Self {
        Self { py, shared, transport, blocked: Cell::new(false) }
    }

    fn token(&self) -> io::Result<ReactorToken> {
        self.shared.token(self.transport)
    }

    fn comes_back(&self) -> io::Result<()> {
        self.blocked.set(true);
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Park for Parker<'_, '_> {
    fn waits(&self) -> bool {
        false
    }

    fn is_readable(&self) -> bool {
        // if the socket cannot be watched, the read will report the error
        self.token().map_or(true, |token| self.shared.reactor().is_readable(token))
    }

    fn mark_drained(&self) {
        if let Ok(token) = self.token() {
            self.shared.reactor().mark_drained(token);
        }
    }

    fn pause(&self) -> io::Result<()> {
        if self.transport.is_backed_up() {
            self.transport.flush_before_wait(Wait::Park(self));
            if self.transport.is_backed_up() {
                return self.comes_back();
            }
        }
        if is_over() {
            return self.comes_back();
        }
        Ok(())
    }

    fn wait_readable(&self) -> io::Result<()> {
        let token = self.token()?;
        if self.shared.reactor().wake_reader(token, token.number()) {
            return self.comes_back();
        }
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        let token = self.token()?;
        if self.shared.reactor().wake_writer(token, token.number()) {
            return self.comes_back();
        }
        Ok(())
    }

    fn wait_for_lock(
        &self,
        lock_waiters: &LockWaiters,
        is_free: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        lock_waiters.register(self.shared.remote.waker(self.token()?.number()));
        if is_free() {
            return Ok(());
        }
        self.comes_back()
    }

    fn detached(&self, work: &mut (dyn FnMut() + Send)) {
        self.py.detach(work);
    }
}
