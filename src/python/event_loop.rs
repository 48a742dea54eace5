//! asyncio: coroutines that use connections, woken in batches.
//!
//! The sockets of an event loop's coroutines are watched by a reactor of their own, whose
//! descriptor the event loop watches. When it is readable, one call of [`EventLoop::run`] asks for
//! all sockets that are ready and lets the coroutines that wait for them go on, one after the
//! other, without a trip through the event loop's queue for each.

mod caller;
mod operation;
mod poller;
mod stream;
mod work;

use std::{
    collections::VecDeque,
    io,
    sync::{
        atomic::{AtomicBool, AtomicUsize, Ordering},
        Arc, Mutex, MutexGuard,
    },
    time::Duration,
};

use pyo3::prelude::*;

pub(super) use self::{
    caller::{here, Hook},
    operation::Operation,
    poller::AsyncConnection,
    stream::AsyncStream,
};
use super::{
    connection::Connection,
    dispatch::{ConnectionGuard, HandlerJob},
    errors::os_error,
};
use crate::{
    connection::{CallerId, Reactor, ReactorToken, Remote, Slice, Transport, Wait},
    locks::lock,
    server::{Slices, Watchdog},
};

/// Looks at the sockets in one call, as long as there is something to find: a trip through the
/// event loop costs as much as some messages, and others in the loop are not to wait for long.
const LOOKS: usize = 8;

/// Messages that a coroutine receives or sends without waiting until the others have their turn, if it
/// has not used up its slice before.
const BUDGET: usize = 64;

/// What coroutines in one event loop wait for.
pub(super) struct LoopState {
    reactor: Mutex<Reactor>,
    remote: Arc<Remote>,
    /// By the number of a connection's place.
    watched: Mutex<Vec<Option<Watched>>>,
    jobs: Mutex<VecDeque<HandlerJob>>,
    /// Nobody takes jobs any more.
    ended: AtomicBool,
    /// What its thread does at a time, for whoever watches it.
    slices: Arc<Slices>,
    /// Nobody else says when it waits.
    says_when_it_waits: AtomicBool,
    /// Dropped at the end: it refers back to whoever has this.
    python: Mutex<Option<Loop>>,
}

/// The event loop as Python has it.
struct Loop {
    event_loop: Py<PyAny>,
    /// Called with each connection that a server hands in, and what to call at its end.
    start: Option<Py<PyAny>>,
}

/// A connection that coroutines use.
struct Watched {
    token: ReactorToken,
    transport: Arc<Transport>,
    waiters: Vec<Py<Operation>>,
    /// Operations that go on when others have had their turn: they will meet what there is to tell.
    turns: usize,
    /// There was something to tell meanwhile.
    has_missed: bool,
    /// Called when the peer has gone while nobody waits for it.
    on_end: Option<Py<PyAny>>,
}

impl LoopState {
    /// Takes a connection whose handler is a coroutine function; gives it back if nobody is there.
    pub(super) fn submit(&self, job: HandlerJob) -> Option<HandlerJob> {
        if self.ended.load(Ordering::SeqCst) {
            return Some(job);
        }
        lock(&self.jobs).push_back(job);
        self.remote.call();
        None
    }

    fn reactor(&self) -> MutexGuard<'_, Reactor> {
        lock(&self.reactor)
    }

    fn token(&self, transport: &Transport) -> io::Result<ReactorToken> {
        transport.token(&self.remote, |socket| self.reactor().register(socket))
    }

    /// Looks after a connection from here on.
    fn watch(&self, transport: &Arc<Transport>) -> io::Result<ReactorToken> {
        let token = self.token(transport)?;
        let number = token.number() as usize;
        let mut watched = lock(&self.watched);
        if watched.len() <= number {
            watched.resize_with(number + 1, || None);
        }
        let entry = Watched {
            token,
            transport: transport.clone(),
            waiters: Vec::new(),
            turns: 0,
            has_missed: false,
            on_end: None,
        };
        let before = watched[number].replace(entry);
        drop(watched);
        drop(before);
        Ok(token)
    }

    fn event_loop(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.python).as_ref().map(|python| python.event_loop.clone_ref(py))
    }

    fn start(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        lock(&self.python).as_ref()?.start.as_ref().map(|start| start.clone_ref(py))
    }

    /// Has an operation woken when the connection should be looked at again; `false` if nobody
    /// looks after it any more.
    fn add_waiter(&self, token: ReactorToken, waiter: Py<Operation>) -> bool {
        let mut given_up = Vec::new();
        let is_added = self.with(token, |entry| {
            if entry.waiters.iter().any(|waiter| !waiter.get().is_waiting()) {
                // cancelled
                let waiters = std::mem::take(&mut entry.waiters);
                (entry.waiters, given_up) =
                    waiters.into_iter().partition(|waiter| waiter.get().is_waiting());
            }
            entry.waiters.push(waiter);
        });
        drop(given_up);
        is_added.is_some()
    }

    fn forget(&self, token: ReactorToken) {
        let mut watched = lock(&self.watched);
        let entry = watched.get_mut(token.number() as usize);
        let entry = entry.and_then(|entry| entry.take_if(|entry| entry.token == token));
        drop(watched);
        drop(entry);
    }

    fn with<T>(&self, token: ReactorToken, change: impl FnOnce(&mut Watched) -> T) -> Option<T> {
        let mut watched = lock(&self.watched);
        let entry = watched.get_mut(token.number() as usize)?.as_mut();
        entry.filter(|entry| entry.token == token).map(change)
    }

    /// Has whoever waits for the connection look again.
    fn wake_soon(&self, transport: &Transport) {
        if let Ok(token) = self.token(transport) {
            self.remote.waker(token.number()).wake();
        }
    }

    /// Lets those who wait for a connection look again.
    fn wake(self: &Arc<Self>, py: Python<'_>, caller: CallerId) -> PyResult<()> {
        let found = {
            let mut watched = lock(&self.watched);
            let entry = watched.get_mut(caller as usize).and_then(Option::as_mut);
            entry.map(|entry| {
                // nearly always there is one, whose place is used again
                let first = entry.waiters.pop();
                let others = if entry.waiters.is_empty() {
                    Vec::new()
                } else {
                    std::mem::take(&mut entry.waiters)
                };
                (entry.token, entry.transport.clone(), first, others)
            })
        };
        let Some((token, transport, first, others)) = found else { return Ok(()) };
        if transport.has_held() {
            transport.flush_before_wait(Wait::Park(&caller::Parker::new(py, self, &transport)));
        }
        let (mut outcome, mut has_woken) = (Ok(()), false);
        for waiter in others.iter().chain(&first) {
            has_woken |= waiter.get().is_waiting();
            outcome = outcome.and(Operation::wake(waiter.bind(py)));
        }
        if has_woken {
            outcome
        } else {
            outcome.and(self.look_after(py, token, &transport))
        }
    }

    /// Notes that an operation lets others have their turn.
    fn begin_turn(&self, token: ReactorToken) {
        self.with(token, |entry| entry.turns += 1);
    }

    /// Notes that it goes on, or is given up.
    fn end_turn(&self, token: ReactorToken) {
        let must_look = self.with(token, |entry| {
            entry.turns = entry.turns.saturating_sub(1);
            entry.turns == 0 && std::mem::take(&mut entry.has_missed)
        });
        if must_look == Some(true) {
            self.remote.waker(token.number()).wake();
        }
    }

    /// Tells the handler if the peer has gone: nobody else would.
    fn look_after(
        &self,
        py: Python<'_>,
        token: ReactorToken,
        transport: &Transport,
    ) -> PyResult<()> {
        let has_ended = self.reactor().has_ended(token);
        let may_be_done = has_ended || transport.closing().is_going_away();
        if !may_be_done || !transport.is_peer_done(has_ended) {
            return Ok(());
        }
        let on_end = self.with(token, |entry| {
            entry.has_missed = entry.turns > 0;
            if entry.has_missed {
                None
            } else {
                entry.on_end.take()
            }
        });
        match on_end.flatten() {
            Some(on_end) => on_end.call0(py).map(drop),
            None => Ok(()),
        }
    }
}

/// The native half of an asyncio event loop.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct EventLoop(Arc<LoopState>);

impl EventLoop {
    pub(super) fn shared(&self) -> &Arc<LoopState> {
        &self.0
    }
}

#[pymethods]
impl EventLoop {
    #[new]
    #[pyo3(signature = (event_loop, start=None))]
    fn new(event_loop: Py<PyAny>, start: Option<Py<PyAny>>) -> PyResult<Self> {
        let reactor = Reactor::new().map_err(|error| os_error(&error))?;
        let remote = reactor.remote().clone();
        reactor.prepare_to_sleep();
        Ok(Self(Arc::new(LoopState {
            reactor: Mutex::new(reactor),
            remote,
            watched: Mutex::default(),
            jobs: Mutex::default(),
            ended: AtomicBool::new(false),
            slices: Arc::default(),
            says_when_it_waits: AtomicBool::new(false),
            python: Mutex::new(Some(Loop { event_loop, start })),
        })))
    }

    fn fileno(&self) -> i32 {
        self.0.reactor().descriptor()
    }

    fn enter_thread(&self) {
        caller::enter_for_good(self.0.clone());
    }

    fn run(&self, py: Python<'_>) -> PyResult<()> {
        if !self.0.says_when_it_waits.load(Ordering::Relaxed) {
            return self.run_all(py);
        }
        self.0.slices.resume();
        let outcome = self.run_all(py);
        self.0.slices.go_idle();
        outcome
    }

    fn rest(&self) {
        self.0.slices.go_idle();
    }

    fn resume(&self) {
        self.0.slices.resume();
    }

    #[getter]
    fn slice(&self) -> u64 {
        self.0.slices.number()
    }

    fn watch(&self, on_stall: Py<PyAny>, loop_says: bool) -> PyResult<()> {
        self.0.says_when_it_waits.store(!loop_says, Ordering::Relaxed);
        let slices = self.0.slices.clone();
        let bark = move |taken: Duration| {
            let number = slices.number();
            // nothing can be run in an interpreter that is ending
            Python::try_attach(|py| {
                if let Err(error) = on_stall.call1(py, (number, taken.as_secs_f64())) {
                    error.write_unraisable(py, None);
                }
            });
        };
        self.0.slices.go_idle();
        Watchdog::start(self.0.slices.clone(), bark).map_err(|error| os_error(&error))
    }

    fn end(&self, py: Python<'_>) {
        self.0.slices.end();
        self.0.ended.store(true, Ordering::SeqCst);
        let jobs = std::mem::take(&mut *lock(&self.0.jobs));
        py.detach(|| drop(jobs));
        let python = lock(&self.0.python).take();
        drop(python);
    }
}

impl EventLoop {
    fn run_all(&self, py: Python<'_>) -> PyResult<()> {
        let mut outcome = Ok(());
        let mut woken: Vec<CallerId> = Vec::new();
        for _ in 0..LOOKS {
            let polled = self.0.reactor().poll(Some(Duration::ZERO), &mut woken);
            polled.map_err(|error| os_error(&error))?;
            let has_started = self.start_jobs(py);
            if woken.is_empty() && !has_started {
                break;
            }
            for caller in woken.drain(..) {
                self.0.slices.begin();
                outcome = outcome.and(self.0.wake(py, caller));
            }
            if outcome.is_err() {
                break;
            }
        }
        if !self.0.reactor().prepare_to_sleep() {
            self.0.remote.call();
        }
        outcome
    }

    fn start_jobs(&self, py: Python<'_>) -> bool {
        let mut has_started = false;
        let take = || lock(&self.0.jobs).pop_front();
        while let Some(job) = take() {
            has_started = true;
            self.0.slices.begin();
            let Some((connection, _, guard)) = job.begin(py) else { continue };
            let Some(start) = self.0.start(py) else { continue };
            let departure = AsyncConnectionGuard {
                connection: connection.clone().unbind(),
                guard: Mutex::new(Some(guard)),
            };
            if let Err(error) = start.call1(py, (&connection, departure)) {
                error.write_unraisable(py, Some(connection.as_any()));
            }
        }
        has_started
    }
}

/// What is called when the coroutine of a connection has ended; closes the connection.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct AsyncConnectionGuard {
    connection: Py<Connection>,
    guard: Mutex<Option<ConnectionGuard>>,
}

#[pymethods]
impl AsyncConnectionGuard {
    #[pyo3(signature = (*_arguments))]
    fn __call__(&self, py: Python<'_>, _arguments: &Bound<'_, PyAny>) {
        let Some(mut guard) = lock(&self.guard).take() else { return };
        guard.set_outcome(self.connection.get().outcome());
        py.detach(|| drop(guard));
    }
}

/// How much a coroutine may do before the others have their turn. One thread uses it.
struct Budget {
    left: AtomicUsize,
    slice: Slice,
}

impl Budget {
    fn new() -> Self {
        Self { left: AtomicUsize::new(BUDGET), slice: Slice::begin() }
    }

    fn renew(&self) {
        self.left.store(BUDGET, Ordering::Relaxed);
    }

    /// Whether there was something left. Most coroutines wait after a message or two: the clock runs from
    /// the third one on.
    fn spend(&self) -> bool {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
        match BUDGET - left {
            0 | 1 => true,
            2 => {
                self.slice.begin_again();
                true
            }
            _ => left > 0 && !self.slice.is_over(),
        }
    }
}
