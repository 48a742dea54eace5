//! asyncio: coroutines that use connections, woken in batches.
//!
//! A reactor watches the sockets of all coroutines, and the asyncio event loop watches only the
//! descriptor of the reactor. When it is readable, one call of [`EventLoop::run`] finds all sockets
//! that are ready, and resumes the coroutines that wait for them one after the other. This saves a
//! trip through the event loop's queue for each of them.

mod agenda;
mod async_connection;
mod async_stream;
mod loop_state;
mod operation;
mod operation_future;
mod parker;
mod returning;
mod work;

use std::{
    sync::{atomic::Ordering, Arc, Mutex},
    time::{Duration, Instant},
};

use pyo3::{intern, prelude::*, types::PyDict, PyTraverseError, PyVisit};

pub(super) use self::{
    async_connection::AsyncConnection,
    async_stream::AsyncStream,
    loop_state::LoopState,
    operation::{drain_sends, Operation},
    operation_future::OperationFuture,
};
use self::{loop_state::Waiters, parker::Parker};
use super::{errors::os_error, handler_job::ConnectionGuard, waiting};
use crate::{
    connection::{
        batch::{self, Gathering},
        CallerId, ReactorToken, Transport, Wait,
    },
    locks::lock,
    server::Watchdog,
    system::{Native, System as _},
};

/// The most polls of the reactor in one call, as long as each finds something. A trip through the
/// event loop costs as much as some messages, but other tasks of the loop must not wait for long.
const MAX_POLLS: usize = 8;

/// The native half of an asyncio event loop.
#[pyclass(frozen, weakref, module = "fastwsh._core")]
pub(super) struct EventLoop(Arc<LoopState>);

impl EventLoop {
    pub(super) fn state(&self) -> &Arc<LoopState> {
        &self.0
    }
}

#[pymethods]
impl EventLoop {
    #[new]
    #[pyo3(signature = (event_loop, start=None))]
    fn new(event_loop: &Bound<'_, PyAny>, start: Option<Py<PyAny>>) -> PyResult<Self> {
        let py = event_loop.py();
        let done = event_loop.call_method0(intern!(py, "create_future"))?;
        done.call_method1(intern!(py, "set_result"), (py.None(),))?;
        let modules = py.import(intern!(py, "sys"))?.getattr(intern!(py, "modules"))?;
        let modules = modules.cast_into::<PyDict>()?.unbind();
        let event_loop = event_loop.clone().unbind();
        let state = LoopState::new(event_loop, start, done.unbind(), modules)
            .map_err(|error| os_error(&error))?;
        Ok(Self(Arc::new(state)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.0.traverse(Arc::strong_count(&self.0) == 1, &visit)
    }

    fn __clear__(&self) {
        self.0.clear();
    }

    fn fileno(&self) -> i32 {
        self.0.reactor().descriptor()
    }

    fn enter_thread(&self) {
        waiting::enter_event_loop(self.0.clone());
        // its handlers may use greenlets
        Native::stay_when_ended();
    }

    fn run(slf: &Bound<'_, Self>) -> PyResult<()> {
        let (py, own) = (slf.py(), slf.get());
        if own.0.may_nest(py)? {
            // the caller has entered a context, which nobody else can enter before it returns
            let Some(event_loop) = own.0.event_loop(py) else { return Ok(()) };
            let run = slf.getattr(intern!(py, "run_now"))?;
            return event_loop.call_method1(py, intern!(py, "call_soon"), (run,)).map(drop);
        }
        own.run_now(py)
    }

    fn run_now(&self, py: Python<'_>) -> PyResult<()> {
        if !self.0.says_when_it_waits.load(Ordering::Relaxed) {
            return self.run_all(py);
        }
        self.0.heartbeat.resume();
        let outcome = self.run_all(py);
        self.0.heartbeat.go_idle();
        outcome
    }

    fn watch_extra(&self, descriptor: i32) -> PyResult<()> {
        self.0.reactor().watch_extra(descriptor).map_err(|error| os_error(&error))
    }

    fn wait(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<bool> {
        // a timeout beyond the range of the clock means no limit
        let deadline = timeout.and_then(|seconds| {
            let wait = Duration::try_from_secs_f64(seconds.max(0.0)).ok()?;
            Instant::now().checked_add(wait)
        });
        let agenda = self.0.agenda(py)?;
        let mut woken: Vec<CallerId> = Vec::new();
        if self.0.has_woken() {
            self.resume_woken(py, &mut woken)?;
            if agenda.has_grown()? {
                return Ok(false);
            }
        }
        loop {
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            let is_last = left == Some(Duration::ZERO);
            let (polled, is_extra_readable) = if is_last {
                self.0.poll(left, &mut woken)
            } else {
                self.0.heartbeat.go_idle();
                let polled = py.detach(|| self.0.poll(left, &mut woken));
                self.0.heartbeat.resume();
                polled
            };
            polled.map_err(|error| os_error(&error))?;
            self.resume_woken(py, &mut woken)?;
            if is_last || is_extra_readable || agenda.has_grown()? {
                return Ok(is_extra_readable);
            }
        }
    }

    fn go_idle(&self) {
        self.0.heartbeat.go_idle();
    }

    fn resume(&self) {
        self.0.heartbeat.resume();
    }

    #[getter]
    fn slice(&self) -> u64 {
        self.0.heartbeat.beats()
    }

    fn watch(&self, on_stall: Py<PyAny>, loop_says: bool) -> PyResult<()> {
        self.0.says_when_it_waits.store(!loop_says, Ordering::Relaxed);
        let heartbeat = self.0.heartbeat.clone();
        let on_stall = move |taken: Duration| {
            let number = heartbeat.beats();
            // an interpreter that is ending can run nothing
            Python::try_attach(|py| {
                if let Err(error) = on_stall.call1(py, (number, taken.as_secs_f64())) {
                    error.write_unraisable(py, None);
                }
            });
        };
        self.0.heartbeat.go_idle();
        Watchdog::start(self.0.heartbeat.clone(), on_stall).map_err(|error| os_error(&error))
    }

    fn end(&self, py: Python<'_>) {
        self.0.heartbeat.end();
        let jobs = self.0.jobs.close();
        py.detach(|| drop(jobs));
        self.0.clear();
    }
}

impl EventLoop {
    fn run_all(&self, py: Python<'_>) -> PyResult<()> {
        let mut outcome = Ok(());
        let mut woken: Vec<CallerId> = Vec::new();
        for _ in 0..MAX_POLLS {
            let (polled, _) = self.0.poll(Some(Duration::ZERO), &mut woken);
            polled.map_err(|error| os_error(&error))?;
            self.call_inner_loops(&woken);
            match self.resume_woken(py, &mut woken) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        if !self.0.reactor().prepare_to_sleep() {
            self.0.remote.wake();
        }
        outcome
    }

    /// Makes the descriptor readable for an event loop that one of these callers runs in turn: there
    /// [`Self::run`] must be called for the others, and for what other threads bring meanwhile.
    fn call_inner_loops(&self, woken: &[CallerId]) {
        let has_told = !woken.is_empty() && !self.0.reactor().prepare_to_sleep();
        if has_told || woken.len() > 1 {
            self.0.remote.wake();
        }
    }

    /// Starts the jobs, and resumes the operations that wait for these connections. Returns whether
    /// there were any.
    fn resume_woken(&self, py: Python<'_>, woken: &mut Vec<CallerId>) -> PyResult<bool> {
        let has_started = self.start_jobs(py);
        // a coroutine that is resumed may run the event loop itself, which then resumes the rest of
        // them
        self.0.add_woken(woken);
        let Some(first) = self.0.next_woken() else { return Ok(has_started) };
        let mut outcome = Ok(true);
        let mut next = Some(first);
        let done = self.0.done(py);
        batch::gather(Gathering::Always);
        while let Some(caller) = next {
            self.0.heartbeat.beat();
            if let Err(error) = self.wake(py, caller, done.as_ref()) {
                outcome = outcome.and(Err(error));
            }
            next = self.0.next_woken();
        }
        batch::gather(Gathering::Never);
        batch::flush();
        outcome
    }

    /// Resumes the operations that wait for a connection.
    fn wake(&self, py: Python<'_>, caller: CallerId, done: Option<&Py<PyAny>>) -> PyResult<()> {
        let Some(Waiters { token, transport, first, others }) = self.0.take_waiters(caller) else {
            return Ok(());
        };
        if transport.has_held() {
            transport.flush_before_wait(Wait::Park(&Parker::new(py, &self.0, &transport)));
        }
        let (mut outcome, mut has_woken) = (Ok(()), false);
        for waiter in others.iter().chain(&first) {
            has_woken |= waiter.get().is_waiting();
            outcome = outcome.and(OperationFuture::wake(waiter.bind(py), done));
        }
        if has_woken {
            outcome
        } else {
            outcome.and(self.report_peer_end(py, token, &transport))
        }
    }

    /// Tells the handler if the peer has gone, as no operation waits that would notice it.
    fn report_peer_end(
        &self,
        py: Python<'_>,
        token: ReactorToken,
        transport: &Transport,
    ) -> PyResult<()> {
        let has_turn = self.0.with(token, |entry| {
            entry.has_missed |= entry.turns > 0;
            entry.turns > 0
        });
        if has_turn == Some(true) {
            // an operation goes on when others have had their turn, and looks then
            return Ok(());
        }
        let (has_ended, is_broken) = {
            let reactor = self.0.reactor();
            (reactor.has_ended(token), reactor.is_broken(token))
        };
        let ignores_unread = self.0.with(token, |entry| entry.ignores_unread) == Some(true);
        // on a connection that is broken or was cut, unread messages need no answer
        let is_over = is_broken || transport.closing().is_cut() || (has_ended && ignores_unread);
        if !is_over {
            let may_be_done = has_ended || transport.closing().is_going_away();
            if !may_be_done || !transport.is_peer_done(has_ended) {
                return Ok(());
            }
        }
        match self.0.with(token, |entry| entry.on_end.take()).flatten() {
            Some(on_end) => on_end.call0(py).map(drop),
            None => Ok(()),
        }
    }

    fn start_jobs(&self, py: Python<'_>) -> bool {
        let mut has_started = false;
        while let Some(job) = self.0.jobs.pop() {
            has_started = true;
            self.0.heartbeat.beat();
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
