//! The hub: handlers that wait only in calls of this module share one thread, each in a greenlet.
//!
//! A handler that has to wait switches directly to the next handler that can go on. Only new and
//! ended connections pass through the thread's main greenlet. If no handler can go on, the one that
//! has noticed it waits for the sockets of all.
//!
//! While a greenlet waits, its stack is copied elsewhere, so nothing outside may point into it.

mod greenlets;
mod hubs;
mod parker;

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io,
    sync::{atomic::Ordering, Arc},
    thread,
    time::Duration,
};

use pyo3::{prelude::*, types::PyTuple};

use self::greenlets::{Greenlet, Greenlets, Raised};
pub(super) use self::hubs::{Hub, Hubs};
use super::{
    errors::os_error,
    handler_job::{ConnectionGuard, HandlerJob},
    waiting,
};
use crate::{
    connection::{
        batch::{self, Gathering, HasNext},
        CallerId, Reactor, TimeSlice,
    },
    locks::lock,
    server::Watchdog,
    system::{Native, System as _},
};

/// The most calls of the stream, or KiB through it, for a handler that never waits, before it lets
/// others run, unless its slice ends earlier.
const BUDGET: u32 = 512;

/// The most handlers that run between two looks at sockets and new connections, unless a slice ends
/// earlier.
const POLL_EVERY: u32 = 64;

/// The state that only the hub's thread uses.
pub(super) struct HubThread {
    hub: Arc<Hub>,
    reactor: RefCell<Reactor>,
    ready: RefCell<VecDeque<CallerId>>,
    tasks: RefCell<Vec<Option<Task>>>,
    free: RefCell<Vec<CallerId>>,
    /// The handler that runs now; `None` for the main greenlet.
    current: Cell<Option<CallerId>>,
    /// Whether the main greenlet goes on because a handler has switched to it, and not because one
    /// has ended.
    handed_over: Cell<bool>,
    /// What is left of [`BUDGET`] for the handler that runs.
    budget: Cell<u32>,
    /// When the handler that runs has used the thread for long enough.
    slice: TimeSlice,
    /// Whether the last call of a handler has read the clock.
    has_read_clock: Cell<bool>,
    /// How many handlers may still run before the next look at sockets, of [`POLL_EVERY`].
    until_poll: Cell<u32>,
    /// When the next look at sockets is due, whatever `until_poll` says.
    poll_slice: TimeSlice,
    greenlets: Greenlets,
}

/// A connection with a running handler.
struct Task {
    greenlet: Greenlet,
    connection: Py<PyAny>,
}

/// Which caller goes on.
enum Next {
    /// The caller that has asked.
    Same,
    Main,
    Task(CallerId, Greenlet),
}

/// The hubs of the process: see [`Hubs::of_process`].
pub(super) fn hubs(py: Python<'_>, count: usize) -> PyResult<Hubs> {
    Hubs::of_process(py, count, HubThread::run)
}

/// Dropped when the hub's thread ends. That should not happen; if it does, connections go to
/// threads.
struct Alive(Arc<Hub>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

impl HasNext for HubThread {
    fn has_next(&self) -> bool {
        self.ready.try_borrow().is_ok_and(|ready| !ready.is_empty())
    }
}

impl HubThread {
    fn run(hub: Arc<Hub>, reactor: Reactor) {
        let _alive = Alive(hub.clone());
        Native::stay_when_ended();
        // an interpreter that is ending can run nothing
        let _ = Python::try_attach(|py| match Self::new(py, hub, reactor) {
            Ok(here) => {
                // leaked on purpose: greenlets that wait refer to it
                let here: &'static Self = Box::leak(Box::new(here));
                waiting::enter_hub(here);
                batch::gather(Gathering::While(here));
                here.serve(py);
            }
            Err(error) => error.write_unraisable(py, None),
        });
    }

    fn new(py: Python<'_>, hub: Arc<Hub>, reactor: Reactor) -> PyResult<Self> {
        let watched = hub.clone();
        Watchdog::start(hub.heartbeat.clone(), move |taken| watched.stalled(taken))
            .map_err(|error| os_error(&error))?;
        Ok(Self {
            hub,
            reactor: RefCell::new(reactor),
            ready: RefCell::default(),
            tasks: RefCell::default(),
            free: RefCell::default(),
            current: Cell::new(None),
            handed_over: Cell::new(false),
            budget: Cell::new(BUDGET),
            slice: TimeSlice::begin(),
            has_read_clock: Cell::new(false),
            until_poll: Cell::new(POLL_EVERY),
            poll_slice: TimeSlice::begin(),
            greenlets: Greenlets::new(py)?,
        })
    }

    fn serve(&self, py: Python<'_>) {
        // the first connection may have arrived already, and its handler may block
        self.hub.heartbeat.resume();
        loop {
            for _ in 0..POLL_EVERY {
                let Some(job) = self.hub.jobs.pop() else { break };
                self.start(py, job);
            }
            if let Next::Task(id, greenlet) = self.next(py, None) {
                self.enter(Some(id));
                let result = self.greenlets.switch_to(py, &greenlet);
                self.back_in_main(py, result);
            }
        }
    }

    /// Begins a connection. Returns when its handler, or another one after it, switches back or
    /// ends.
    fn start(&self, py: Python<'_>, job: HandlerJob) {
        self.hub.heartbeat.beat();
        let Some((connection, run, guard)) = job.begin(py) else { return };
        let begun = self.greenlets.take(py).and_then(|greenlet| {
            Ok((greenlet, PyTuple::new(py, [run, connection.clone().into_any()])?))
        });
        let (greenlet, arguments) = match begun {
            Ok(begun) => begun,
            Err(error) => return error.write_unraisable(py, Some(connection.as_any())),
        };
        let task =
            Task { greenlet: greenlet.clone_ref(py), connection: connection.into_any().unbind() };
        let Some(id) = self.add(task, guard) else { return };
        self.enter(Some(id));
        self.hub.heartbeat.note_turn();
        let result = self.greenlets.begin(&greenlet, &arguments);
        self.back_in_main(py, result);
    }

    fn add(&self, task: Task, guard: ConnectionGuard) -> Option<CallerId> {
        let mut tasks = self.tasks.borrow_mut();
        let free = self.free.borrow_mut().pop();
        let id = if let Some(id) = free {
            id
        } else {
            tasks.push(None);
            CallerId::try_from(tasks.len() - 1).ok()?
        };
        tasks[id as usize] = Some(task);
        let mut owners = lock(&self.hub.owners);
        if owners.len() < tasks.len() {
            owners.resize_with(tasks.len(), || None);
        }
        owners[id as usize] = Some(guard);
        Some(id)
    }

    fn back_in_main(&self, py: Python<'_>, result: Result<(), Raised<'_>>) {
        let result = result.map_err(Raised::fetch);
        let last = self.current.replace(None);
        // a handler has switched here to let new connections begin; nothing has ended
        if self.handed_over.replace(false) {
            return;
        }
        let Some(id) = last else { return };
        self.hub.heartbeat.beat();
        self.hub.running.store(CallerId::MAX, Ordering::Relaxed);
        // the handler has ended: take everything that belongs to it out of the tables before
        // dropping it, as dropping may run Python code that uses the hub
        let task = self.tasks.borrow_mut()[id as usize].take();
        let owner = lock(&self.hub.owners)[id as usize].take();
        self.free.borrow_mut().push(id);
        let Some(Task { greenlet, connection }) = task else { return };
        if let Err(error) = result.and_then(|()| self.greenlets.keep(py, greenlet)) {
            error.write_unraisable(py, Some(connection.bind(py)));
        }
        drop(connection);
        drop(owner);
    }

    /// Decides which handler goes on. If none can, waits for the sockets of all.
    fn next(&self, py: Python<'_>, asking: Option<CallerId>) -> Next {
        loop {
            let ready = self.ready.borrow_mut().pop_front();
            let looks = ready.is_none() || self.is_poll_due();
            if looks && !self.hub.jobs.is_empty() {
                // new connections begin in the main greenlet; the handler that was next keeps its
                // turn
                self.ready.borrow_mut().extend(ready);
                // look in between, so that many new connections do not keep the old ones waiting
                self.poll_sockets(py, Some(Duration::ZERO));
                return Next::Main;
            }
            let Some(id) = ready else {
                self.poll_sockets(py, None);
                continue;
            };
            if looks {
                self.poll_sockets(py, Some(Duration::ZERO));
                if asking == Some(id) && self.has_next() {
                    self.ready.borrow_mut().push_back(id);
                    continue;
                }
            } else {
                self.until_poll.set(self.until_poll.get() - 1);
            }
            if asking == Some(id) {
                return Next::Same;
            }
            // the number may belong to a handler that has ended
            if let Some(Some(task)) = self.tasks.borrow().get(id as usize) {
                return Next::Task(id, task.greenlet.clone_ref(py));
            }
        }
    }

    /// Whether so many handlers have run since the last look at sockets, or for so long, that it is
    /// time for the next one.
    fn is_poll_due(&self) -> bool {
        self.until_poll.get() == 0 || self.poll_slice.is_over()
    }

    /// Looks for sockets that are ready.
    fn poll_sockets(&self, py: Python<'_>, timeout: Option<Duration>) {
        batch::flush();
        self.until_poll.set(POLL_EVERY);
        let mut reactor = self.reactor.borrow_mut();
        let mut ready = self.ready.borrow_mut();
        let (reactor, ready, hub) = (&mut *reactor, &mut *ready, &*self.hub);
        let polled = if timeout.is_some() {
            reactor.poll(timeout, ready)
        } else {
            hub.heartbeat.go_idle();
            let polled = py.detach(|| {
                let polled = reactor.poll(timeout, ready);
                hub.stop_if_ending();
                polled
            });
            hub.heartbeat.resume();
            polled
        };
        self.poll_slice.begin_again();
        if polled.is_err() {
            // this can fail only if the kernel has no memory; try again later
            py.detach(|| thread::sleep(Duration::from_millis(10)));
        }
    }

    /// Lets others run until the calling handler is woken, which may happen without a reason.
    fn park(&self, py: Python<'_>) -> PyResult<()> {
        self.switch_away(py).map_err(Raised::fetch)
    }

    /// The same, with little on the stack.
    fn switch_away<'py>(&self, py: Python<'py>) -> Result<(), Raised<'py>> {
        let current = self.current.get();
        let switched = match self.next(py, current) {
            Next::Same => Ok(()),
            Next::Main => {
                self.handed_over.set(true);
                self.greenlets.switch_to_main(py)
            }
            Next::Task(id, greenlet) => {
                // its slice begins where it goes on, below
                self.current.set(Some(id));
                self.greenlets.switch_to(py, &greenlet)
            }
        };
        self.enter(current);
        self.hub.heartbeat.note_turn();
        switched
    }

    /// Counts a call of the handler, and returns whether it has used up its budget. The clock is
    /// read at every second call: an echo is two of them.
    fn charge_call(&self) -> bool {
        let Some(left) = self.budget.get().checked_sub(1) else { return true };
        let has_read_clock = self.has_read_clock.replace(!self.has_read_clock.get());
        if !has_read_clock && self.slice.is_over() {
            return true;
        }
        self.budget.set(left);
        false
    }

    /// Lets others run if the calling handler has used up its budget.
    fn yield_if_over_budget(&self, py: Python<'_>) -> PyResult<()> {
        if self.is_in_handler() && self.charge_call() {
            return self.yield_now(py);
        }
        Ok(())
    }

    /// Lets all others run that can go on, and then the calling handler.
    fn yield_now(&self, py: Python<'_>) -> PyResult<()> {
        // if it is never out of input, nobody else may be known to be ready
        self.until_poll.set(0);
        self.ready.borrow_mut().extend(self.current.get());
        self.park(py)
    }

    fn enter(&self, id: Option<CallerId>) {
        self.current.set(id);
        self.budget.set(BUDGET);
        self.slice.begin_again();
        self.hub.running.store(id.unwrap_or(CallerId::MAX), Ordering::Relaxed);
        self.hub.heartbeat.beat();
    }

    /// The calling handler's number.
    fn caller(&self) -> io::Result<CallerId> {
        self.current.get().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }
}
