//! Calls from a coroutine, or from other code in the thread of a server's event loop.
//!
//! A coroutine cannot wait inside a call. Instead the call registers what it waits for, and ends
//! with an exception that only [`Call::is_blocked`] sees. The event loop then repeats the call. So
//! code that may end in this way must not have changed anything that the second try does not know
//! of.

use std::{
    cell::{Cell, RefCell},
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
};

thread_local! {
    /// The event loop that a server runs in this thread, or the one of the coroutine that makes the
    /// current call.
    static SHARED: RefCell<Option<Arc<LoopState>>> = const { RefCell::new(None) };
    /// Whether the caller repeats a call that would have to wait.
    static COMES_BACK: Cell<bool> = const { Cell::new(false) };
    /// The current call must be repeated.
    static BLOCKED: Cell<bool> = const { Cell::new(false) };
    /// The current call must be repeated only to let others have their turn first.
    static OTHERS_FIRST: Cell<bool> = const { Cell::new(false) };
    /// The slice of the current call, which begins when the call first asks for it.
    static SLICE: Slice = Slice::begin();
    static IS_TIMED: Cell<bool> = const { Cell::new(false) };
}

/// The caller, if it runs in an event loop.
pub(in crate::python) fn here() -> Option<Here> {
    SHARED.with_borrow(Clone::clone).map(Here)
}

/// Marks this thread as that of a server's event loop, for good.
pub(super) fn enter_for_good(shared: Arc<LoopState>) {
    SHARED.set(Some(shared));
}

/// A call of a coroutine, until it is dropped.
pub(super) struct Call {
    before: Option<Arc<LoopState>>,
    came_back: bool,
}

impl Call {
    pub(super) fn begin(shared: &Arc<LoopState>) -> Self {
        BLOCKED.set(false);
        OTHERS_FIRST.set(false);
        IS_TIMED.set(false);
        Self { before: SHARED.replace(Some(shared.clone())), came_back: COMES_BACK.replace(true) }
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
        SHARED.set(self.before.take());
        COMES_BACK.set(self.came_back);
    }
}

/// While this exists, a hook of the handler runs, which does not repeat its calls.
pub(in crate::python) struct Hook(bool);

impl Hook {
    pub(in crate::python) fn begin() -> Self {
        Self(COMES_BACK.replace(false))
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        COMES_BACK.set(self.0);
    }
}

/// A caller in an event loop.
pub(in crate::python) struct Here(Arc<LoopState>);

impl Here {
    pub(in crate::python) fn receiving<T>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: impl FnOnce(Wait<'_>) -> T,
    ) -> PyResult<T> {
        if !COMES_BACK.get() {
            return Err(would_hold_up());
        }
        let parker = self.parker(py, transport);
        let result = work(Wait::Park(&parker));
        if parker.blocked.get() {
            return Err(blocked());
        }
        Ok(result)
    }

    pub(in crate::python) fn sending<T>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: impl FnOnce(Wait<'_>) -> T,
    ) -> PyResult<T> {
        if !transport.is_at_home(&self.0.remote) {
            return Err(would_hold_up());
        }
        Ok(work(Wait::Park(&self.parker(py, transport))))
    }

    pub(in crate::python) fn parked<T>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: impl FnOnce(Option<&dyn Park>) -> T,
    ) -> T {
        work(Some(&self.parker(py, transport)))
    }

    pub(in crate::python) fn turn<'a>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> PyResult<MutexGuard<'a, ()>> {
        if let Some(guard) = try_lock(mutex) {
            return Ok(guard);
        }
        if !COMES_BACK.get() {
            return Err(would_hold_up());
        }
        let parker = self.parker(py, transport);
        if parker.wait_for_lock(transport.lock_waiters(), &|| try_lock(mutex).is_some()).is_ok() {
            // the next try will find out
            self.0.wake_soon(transport);
        }
        Err(blocked())
    }

    /// Ends the call, so that it is repeated, if it has taken long, or if the peer does not read
    /// what is sent to it meanwhile.
    pub(in crate::python) fn pause(&self, py: Python<'_>, transport: &Transport) -> PyResult<()> {
        let parker = self.parker(py, transport);
        if COMES_BACK.get() && parker.pause().is_err() {
            return Err(blocked());
        }
        Ok(())
    }

    /// Registers the caller to wait for input, if there is none.
    pub(in crate::python) fn await_input(
        &self,
        py: Python<'_>,
        transport: &Transport,
    ) -> PyResult<()> {
        if !COMES_BACK.get() {
            return Err(would_hold_up());
        }
        let parker = self.parker(py, transport);
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

    fn parker<'a, 'py>(&'a self, py: Python<'py>, transport: &'a Transport) -> Parker<'a, 'py> {
        Parker { py, shared: &self.0, transport, blocked: Cell::new(false) }
    }
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
    shared: &'a Arc<LoopState>,
    transport: &'a Transport,
    /// The caller must repeat the call.
    blocked: Cell<bool>,
}

impl<'a, 'py> Parker<'a, 'py> {
    pub(super) fn new(
        py: Python<'py>,
        shared: &'a Arc<LoopState>,
        transport: &'a Transport,
    ) -> Self {
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
        // the slice begins with the first pause: most calls end before
        if !IS_TIMED.replace(true) {
            SLICE.with(Slice::begin_again);
        } else if SLICE.with(Slice::is_over) {
            OTHERS_FIRST.set(true);
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
