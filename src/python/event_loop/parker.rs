//! How callers in the thread of an event loop wait. A call of a coroutine registers what it waits
//! for, and returns [`WaitError::Retry`]; the event loop then makes the call again. Blocking calls may
//! not wait there at all.

use std::{
    cell::{Cell, OnceCell},
    io,
    sync::{Mutex, MutexGuard},
};

use pyo3::prelude::*;

use super::loop_state::LoopState;
use crate::{
    connection::{LockWaiters, Park, ReactorToken, TimeSlice, Transport, Wait},
    locks::try_lock,
    python::waiting::{
        would_block_event_loop, ParkedWork, Retry, Scheduler, WaitError, WaitingWork,
    },
};

/// One try of a coroutine's call. Until it is done, nothing may be changed that the next try does
/// not know of.
pub(super) struct Attempt<'a> {
    state: &'a LoopState,
    /// How long the try lasts.
    slice: OnceCell<TimeSlice>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(state: &'a LoopState) -> Self {
        Self { state, slice: OnceCell::new() }
    }

    pub(super) fn parker<'p, 'py>(
        &'p self,
        py: Python<'py>,
        transport: &'p Transport,
    ) -> Parker<'p, 'py> {
        Parker { slice: Some(&self.slice), ..Parker::new(py, self.state, transport) }
    }
}

impl Scheduler for Attempt<'_> {
    fn receive(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> Result<(), WaitError> {
        let parker = self.parker(py, transport);
        work(Wait::Park(&parker));
        parker.retry.get().map_or(Ok(()), |retry| Err(retry.into()))
    }

    fn send(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        Scheduler::send(self.state, py, transport, work)
    }

    fn with_parker(&self, py: Python<'_>, transport: &Transport, work: &mut ParkedWork<'_>) {
        work(Some(&self.parker(py, transport)));
    }

    fn lock<'a>(
        &self,
        py: Python<'_>,
        transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> Result<MutexGuard<'a, ()>, WaitError> {
        if let Some(guard) = try_lock(mutex) {
            return Ok(guard);
        }
        let parker = self.parker(py, transport);
        if parker.wait_for_lock(transport.lock_waiters(), &|| try_lock(mutex).is_some()).is_ok() {
            // the next try will find out
            self.state.wake_soon(transport);
        }
        Err(Retry::WhenWoken.into())
    }

    /// Registers the caller to wait for input, if there is none.
    fn await_input(&self, py: Python<'_>, transport: &Transport) -> Result<(), WaitError> {
        let parker = self.parker(py, transport);
        let Some(mut half) = transport.try_receive_half() else { return Ok(()) };
        if parker.is_readable() || !half.is_drained() {
            return Ok(());
        }
        drop(half);
        transport.flush_before_wait(Wait::Park(&parker));
        if parker.wait_readable().is_ok() {
            return Ok(());
        }
        Err(Retry::WhenWoken.into())
    }

    /// Ends the try if it has taken long, or if the peer does not read what is sent to it
    /// meanwhile.
    fn pause(&self, py: Python<'_>, transport: &Transport) -> Result<(), WaitError> {
        let parker = self.parker(py, transport);
        match parker.pause() {
            Ok(()) => Ok(()),
            Err(_) => Err(parker.retry.get().unwrap_or(Retry::WhenWoken).into()),
        }
    }

    /// Ends the try if it has taken long.
    fn let_others_run(&self, _py: Python<'_>) -> Result<(), WaitError> {
        if is_over(&self.slice) {
            return Err(Retry::AfterOthers.into());
        }
        Ok(())
    }

    fn has_own_thread(&self) -> bool {
        false
    }
}

/// Whether the slice of a try is over, so that others must have their turn. It begins with the first
/// call of this, since most tries end before.
fn is_over(slice: &OnceCell<TimeSlice>) -> bool {
    let is_over = slice.get().is_some_and(TimeSlice::is_over);
    slice.get_or_init(TimeSlice::begin);
    is_over
}

/// For blocking calls: they would hold up the event loop.
impl Scheduler for LoopState {
    fn receive(
        &self,
        _py: Python<'_>,
        _transport: &Transport,
        _work: &mut WaitingWork<'_>,
    ) -> Result<(), WaitError> {
        Err(would_block_event_loop().into())
    }

    fn send(
        &self,
        py: Python<'_>,
        transport: &Transport,
        work: &mut WaitingWork<'_>,
    ) -> PyResult<()> {
        if !transport.is_in_handlers_reactor(&self.remote) {
            return Err(would_block_event_loop());
        }
        work(Wait::Park(&Parker::new(py, self, transport)));
        Ok(())
    }

    fn with_parker(&self, py: Python<'_>, transport: &Transport, work: &mut ParkedWork<'_>) {
        work(Some(&Parker::new(py, self, transport)));
    }

    fn lock<'a>(
        &self,
        _py: Python<'_>,
        _transport: &Transport,
        mutex: &'a Mutex<()>,
    ) -> Result<MutexGuard<'a, ()>, WaitError> {
        try_lock(mutex).ok_or_else(|| would_block_event_loop().into())
    }

    fn await_input(&self, _py: Python<'_>, _transport: &Transport) -> Result<(), WaitError> {
        Err(would_block_event_loop().into())
    }

    fn has_own_thread(&self) -> bool {
        false
    }
}

/// Registers what a caller waits for.
pub(super) struct Parker<'a, 'py> {
    py: Python<'py>,
    state: &'a LoopState,
    transport: &'a Transport,
    slice: Option<&'a OnceCell<TimeSlice>>,
    /// Set if the caller must make the call again.
    retry: Cell<Option<Retry>>,
}

impl<'a, 'py> Parker<'a, 'py> {
    /// For a caller that makes its call only once.
    pub(super) fn new(py: Python<'py>, state: &'a LoopState, transport: &'a Transport) -> Self {
        Self { py, state, transport, slice: None, retry: Cell::new(None) }
    }

    fn token(&self) -> io::Result<ReactorToken> {
        self.state.token(self.transport)
    }

    /// Has the call go on, whatever an earlier step of it, such as sending held frames, would have
    /// waited for.
    fn go_on(&self) {
        self.retry.set(None);
    }

    fn retry(&self, retry: Retry) -> io::Result<()> {
        self.retry.set(Some(retry));
        Err(io::ErrorKind::WouldBlock.into())
    }
}

impl Park for Parker<'_, '_> {
    fn waits(&self) -> bool {
        false
    }

    fn is_readable(&self) -> bool {
        // if the socket cannot be watched, the read will report the error
        self.token().map_or(true, |token| self.state.reactor().is_readable(token))
    }

    fn mark_drained(&self) {
        if let Ok(token) = self.token() {
            self.state.reactor().mark_drained(token);
        }
    }

    fn pause(&self) -> io::Result<()> {
        if self.transport.is_backed_up()
            && !self.transport.drain_before_receiving(Wait::Park(self))
            && self.transport.is_backed_up()
        {
            return self.retry(Retry::WhenWoken);
        }
        if self.slice.is_some_and(is_over) {
            return self.retry(Retry::AfterOthers);
        }
        self.go_on();
        Ok(())
    }

    fn wait_readable(&self) -> io::Result<()> {
        let token = self.token()?;
        if self.state.reactor().wake_reader(token, token.number()) {
            return self.retry(Retry::WhenWoken);
        }
        self.go_on();
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        let token = self.token()?;
        if self.state.reactor().wake_writer(token, token.number()) {
            return self.retry(Retry::WhenWoken);
        }
        self.go_on();
        Ok(())
    }

    fn wait_for_lock(
        &self,
        lock_waiters: &LockWaiters,
        is_free: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        lock_waiters.register(self.state.remote.waker(self.token()?.number()));
        if is_free() {
            self.go_on();
            return Ok(());
        }
        self.retry(Retry::WhenWoken)
    }

    fn detached(&self, work: &mut (dyn FnMut() + Send)) {
        self.py.detach(work);
    }
}
