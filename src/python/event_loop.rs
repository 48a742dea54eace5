//! asyncio: coroutines that use connections, woken in batches.
//!
//! A reactor watches the sockets of all coroutines, and the asyncio event loop watches only the
//! descriptor of the reactor. When it is readable, one call of [`EventLoop::run`] finds all sockets
//! that are ready, and resumes the coroutines that wait for them one after the other. This saves a
//! trip through the event loop's queue for each of them.

mod budget;
mod caller;
mod operation;
mod poller;
mod stream;
mod work;

use std::{
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex, MutexGuard,
    },
    time::Duration,
};

use pyo3::prelude::*;

pub(super) use self::{operation::Operation, poller::AsyncConnection, stream::AsyncStream};
use super::{
    errors::os_error,
    handler_job::{ConnectionGuard, HandlerJob},
    waiting,
};
use crate::{
    connection::{CallerId, Reactor, ReactorToken, Remote, Transport, Wait},
    locks::lock,
    server::{JobQueue, Slices, Watchdog},
};

/// The most looks at the sockets in one call, as long as each finds something. A trip through the
/// event loop costs as much as some messages, but other tasks of the loop must not wait for long.
const LOOKS: usize = 8;

/// The state of one event loop: what its coroutines wait for.
pub(super) struct LoopState {
    reactor: Mutex<Reactor>,
    remote: Arc<Remote>,
    /// Connections, by the number of their place in the reactor.
    watched: Mutex<Vec<Option<Watched>>>,
    /// Closed when no job will run any more.
    jobs: JobQueue<HandlerJob>,
    /// The slices of its thread, for the watchdog.
    slices: Arc<Slices>,
    /// Whether this code must report when the thread waits, because nothing else does.
    says_when_it_waits: AtomicBool,
    /// Cleared at the end, because these objects refer back to the owner of this one.
    python: Mutex<Option<Loop>>,
}

/// The Python objects of the event loop.
struct Loop {
    event_loop: Py<PyAny>,
    /// Called with each connection from a server, and with the function to call at the connection's
    /// end.
    start: Option<Py<PyAny>>,
}

/// A connection that coroutines use, and the operations that wait for it.
struct Watched {
    token: ReactorToken,
    transport: Arc<Transport>,
    waiters: Vec<Py<Operation>>,
    /// Operations that let others have their turn. They will meet what there is to tell.
    turns: usize,
    /// There was something to tell meanwhile.
    has_missed: bool,
    /// Called when the peer goes away while no operation waits for it.
    on_end: Option<Py<PyAny>>,
}

impl LoopState {
    /// Accepts a connection for a coroutine function. Returns the job if the event loop has ended.
    pub(super) fn submit(&self, job: HandlerJob) -> Option<HandlerJob> {
        if let Err(job) = self.jobs.push(job) {
            return Some(job);
        }
        self.remote.call();
        None
    }

    fn reactor(&self) -> MutexGuard<'_, Reactor> {
        lock(&self.reactor)
    }

    fn token(&self, transport: &Transport) -> io::Result<ReactorToken> {
        transport.token(&self.remote, |socket| self.reactor().register(socket))
    }

    /// Starts to watch a connection.
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

    /// Registers an operation to be woken when it should try again. Returns `false` if the
    /// connection is not watched any more.
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

    /// Wakes the operations that wait for the connection, so that they try again.
    fn wake_soon(&self, transport: &Transport) {
        if let Ok(token) = self.token(transport) {
            self.remote.waker(token.number()).wake();
        }
    }

    /// Resumes the operations that wait for a connection.
    fn wake(self: &Arc<Self>, py: Python<'_>, caller: CallerId) -> PyResult<()> {
        let found = {
            let mut watched = lock(&self.watched);
            let entry = watched.get_mut(caller as usize).and_then(Option::as_mut);
            entry.map(|entry| {
                // nearly always there is one waiter, so keep the memory of the list for the next
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

    /// Tells the handler if the peer has gone, as no operation waits that would notice it.
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
            jobs: JobQueue::default(),
            slices: Arc::default(),
            says_when_it_waits: AtomicBool::new(false),
            python: Mutex::new(Some(Loop { event_loop, start })),
        })))
    }

    fn fileno(&self) -> i32 {
        self.0.reactor().descriptor()
    }

    fn enter_thread(&self) {
        waiting::enter_event_loop(Some(self.0.clone()));
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
            // an interpreter that is ending can run nothing
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
        let jobs = self.0.jobs.close();
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
        while let Some(job) = self.0.jobs.pop() {
            has_started = true;
            self.0.slices.begin();
            let Some((connection, _, guard)) = job.begin(py) else { continue };
            let Some(start) = self.0.start(py) else { continue };
            let on_end = AsyncConnectionGuard(Mutex::new(Some(guard)));
            if let Err(error) = start.call1(py, (&connection, on_end)) {
                error.write_unraisable(py, Some(connection.as_any()));
            }
        }
        has_started
    }
}

/// Called when the coroutine of a connection has ended; closes the connection.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct AsyncConnectionGuard(Mutex<Option<ConnectionGuard>>);

#[pymethods]
impl AsyncConnectionGuard {
    #[pyo3(signature = (*_arguments))]
    fn __call__(&self, py: Python<'_>, _arguments: &Bound<'_, PyAny>) {
        let guard = lock(&self.0).take();
        py.detach(|| drop(guard));
    }
}
