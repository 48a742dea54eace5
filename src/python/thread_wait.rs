//! How the calls of a client wait: they handle signals meanwhile, and may have a deadline.

use std::{
    cell::{Cell, RefCell},
    io,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    task::{Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use pyo3::{
    exceptions::{PyTimeoutError, PyValueError},
    prelude::*,
};

use crate::connection::{LockWaiters, Park, Readiness, Transport, Wait};

/// A signal that arrives just before a wait begins does not end the wait; it is noticed after this
/// time.
const SIGNAL_SLICE: Duration = Duration::from_millis(500);

/// The time after the deadline in which the peer may still take the rest of a frame, such as a
/// pong, before the connection counts as lost.
const SEND_GRACE: Duration = Duration::from_secs(10);

/// The time after the deadline for reading what has arrived. A peer that sends more all the time,
/// such as pings or empty fragments, would otherwise hold a caller for ever.
const READ_GRACE: Duration = Duration::from_secs(1);

thread_local! {
    /// How this thread waits now; `None` means in the system call, without a deadline.
    static CURRENT: Cell<Option<WaitLimits>> = const { Cell::new(None) };
}

/// How long a caller waits.
#[derive(Debug, Clone, Copy)]
struct WaitLimits {
    deadline: Option<Instant>,
    cuts_sends: bool,
}

impl WaitLimits {
    /// Ends a caller that reads without a wait for long after its deadline.
    ///
    /// # Errors
    /// `TimeoutError`.
    fn check_reading(self) -> PyResult<()> {
        match self.deadline {
            Some(deadline) if deadline.elapsed() > READ_GRACE => Err(timed_out()),
            _ => Ok(()),
        }
    }
}

fn timed_out() -> PyErr {
    PyTimeoutError::new_err("timed out")
}

/// Restores how the thread waited before.
struct Restore(Option<WaitLimits>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[pyfunction]
#[pyo3(signature = (timeout, work, *, cuts_sends=false))]
pub(super) fn call_within<'py>(
    timeout: Option<f64>,
    work: &Bound<'py, PyAny>,
    cuts_sends: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let _restore = Restore(CURRENT.get());
    CURRENT.set(Some(WaitLimits { deadline: deadline(timeout)?, cuts_sends }));
    work.call0()
}

/// The time when the seconds are over; `None` means never.
fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("timeout is not a number; give seconds, or None"));
    }
    // a time that is too long to express counts as no limit
    let limit = Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    Ok(limit.and_then(|limit| Instant::now().checked_add(limit)))
}

/// Lets signal handlers run in a loop that a peer keeps going, and ends it after its deadline.
///
/// # Errors
/// The exception of a signal handler, or `TimeoutError`.
pub(super) fn pause(py: Python<'_>) -> PyResult<()> {
    let Some(limits) = CURRENT.get() else { return Ok(()) };
    py.check_signals()?;
    limits.check_reading()
}

/// Whether the caller has a deadline.
pub(super) fn has_deadline() -> bool {
    CURRENT.get().is_some_and(|limits| limits.deadline.is_some())
}

/// Runs `work`, which may wait for the peer of `transport`, in a thread that may block.
///
/// # Errors
/// The exception of a signal handler, or `TimeoutError`.
pub(super) fn waiting<T: Send>(
    py: Python<'_>,
    transport: &Transport,
    work: impl FnOnce(Wait<'_>) -> T + Send,
) -> PyResult<T> {
    let Some(limits) = CURRENT.get() else { return Ok(py.detach(|| work(Wait::Long))) };
    let (result, raised) = py.detach(|| {
        let waiter = Waiter {
            transport,
            limits,
            may_be_readable: Cell::new(false),
            signals_seen: Cell::new(None),
            raised: RefCell::new(None),
        };
        let result = work(Wait::Park(&waiter));
        (result, waiter.raised.into_inner())
    });
    raised.map_or(Ok(result), Err)
}

/// A thread that has released the interpreter and waits with poll(2).
struct Waiter<'a> {
    transport: &'a Transport,
    limits: WaitLimits,
    /// Whether the socket may be readable; false after a read that found less than it wanted.
    may_be_readable: Cell<bool>,
    /// When a loop without waits last let signal handlers run; `None` before its second turn.
    signals_seen: Cell<Option<Instant>>,
    /// The exception that ends the call.
    raised: RefCell<Option<PyErr>>,
}

/// Wakes a thread that has parked itself.
struct Unpark {
    thread: Thread,
    has_woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.has_woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl Waiter<'_> {
    /// Calls `is_done` with short waits until it returns `true`, and handles signals in between.
    /// Returns `false` when the time is over.
    fn wait(
        &self,
        deadline: Option<Instant>,
        mut is_done: impl FnMut(Duration) -> io::Result<bool>,
    ) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let slice = left.map_or(SIGNAL_SLICE, |left| left.min(SIGNAL_SLICE));
            match is_done(slice) {
                Ok(true) => return Ok(true),
                Ok(false) if left.is_some_and(|left| left <= slice) => return Ok(false),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.run_signal_handlers()?;
        }
    }

    #[expect(clippy::redundant_closure_for_method_calls, reason = "a path has one lifetime only")]
    fn run_signal_handlers(&self) -> io::Result<()> {
        // an interpreter that is ending has no signal handlers any more
        match Python::try_attach(|py| py.check_signals()) {
            Some(Err(error)) => Err(self.end(error)),
            _ => Ok(()),
        }
    }

    /// Waits no longer than the caller allows.
    fn wait_in_time(&self, is_done: impl FnMut(Duration) -> io::Result<bool>) -> io::Result<()> {
        if self.wait(self.limits.deadline, is_done)? {
            return Ok(());
        }
        Err(self.end(timed_out()))
    }

    fn end(&self, error: PyErr) -> io::Error {
        *self.raised.borrow_mut() = Some(error);
        io::ErrorKind::Interrupted.into()
    }
}

impl Park for Waiter<'_> {
    fn waits(&self) -> bool {
        true
    }

    fn is_readable(&self) -> bool {
        self.may_be_readable.get()
    }

    fn mark_drained(&self) {
        self.may_be_readable.set(false);
    }

    fn pause(&self) -> io::Result<()> {
        // seldom, because other threads may hold the interpreter
        let now = Instant::now();
        match self.signals_seen.get() {
            Some(seen) if now.duration_since(seen) < SIGNAL_SLICE => {}
            Some(_) => {
                self.signals_seen.set(Some(now));
                self.run_signal_handlers()?;
            }
            None => self.signals_seen.set(Some(now)),
        }
        self.limits.check_reading().map_err(|error| self.end(error))
    }

    fn wait_readable(&self) -> io::Result<()> {
        self.wait_in_time(|slice| self.transport.poll(Readiness::Readable, slice))?;
        self.may_be_readable.set(true);
        Ok(())
    }

    fn wait_writable(&self) -> io::Result<()> {
        let is_writable = |slice| self.transport.poll(Readiness::Writable, slice);
        if self.limits.cuts_sends {
            return self.wait_in_time(is_writable);
        }
        let deadline = self.limits.deadline.and_then(|deadline| deadline.checked_add(SEND_GRACE));
        if self.wait(deadline, is_writable)? {
            return Ok(());
        }
        Err(rustix::io::Errno::TIMEDOUT.into())
    }

    fn wait_for_lock(
        &self,
        lock_waiters: &LockWaiters,
        is_free: &dyn Fn() -> bool,
    ) -> io::Result<()> {
        let unpark =
            Arc::new(Unpark { thread: thread::current(), has_woken: AtomicBool::new(true) });
        self.wait_in_time(|slice| {
            // a waker serves once; one that still waits must not be joined by another in each slice
            if unpark.has_woken.swap(false, Ordering::SeqCst) {
                lock_waiters.register(Waker::from(unpark.clone()));
            }
            if !is_free() {
                thread::park_timeout(slice);
            }
            Ok(is_free())
        })
    }

    fn detached(&self, work: &mut (dyn FnMut() + Send)) {
        work();
    }
}
