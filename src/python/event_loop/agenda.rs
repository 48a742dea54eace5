//! `Agenda`: what asyncio's own event loop has to do next, besides waiting for descriptors.
//!
//! This reads two attributes of `asyncio.BaseEventLoop` that no documentation promises.
//! `tests/test_async_contract.py` checks them for the version of Python that runs the tests:
//!
//! - `_ready` has the callbacks to call now. It stays the same object as long as the loop runs.
//! - `_scheduled` is a heap of the timers, the first of which is the next. Only the event loop itself
//!   replaces it, before it begins to wait.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::{intern, prelude::*, types::PyList};

/// What the event loop knew before it began to wait.
pub(super) struct Agenda<'a, 'py> {
    event_loop: Bound<'py, PyAny>,
    ready: Bound<'py, PyAny>,
    scheduled: Bound<'py, PyList>,
    first_timer: Option<usize>,
    /// How often the event loop has begun to wait, and how often it had then.
    waits: &'a AtomicU64,
    wait: u64,
}

impl<'a, 'py> Agenda<'a, 'py> {
    pub(super) fn new(event_loop: Bound<'py, PyAny>, waits: &'a AtomicU64) -> PyResult<Self> {
        let ready = event_loop.getattr(intern!(event_loop.py(), "_ready"))?;
        let scheduled = scheduled(&event_loop)?;
        let first_timer = first_timer(&scheduled)?;
        let wait = waits.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Self { event_loop, ready, scheduled, first_timer, waits, wait })
    }

    /// Whether the event loop has more to do than it knew before it began to wait, so that it may
    /// not wait on.
    pub(super) fn has_grown(&self) -> PyResult<bool> {
        if self.ready.len()? > 0 {
            return Ok(true);
        }
        let first_timer = if self.waits.load(Ordering::Relaxed) == self.wait {
            first_timer(&self.scheduled)?
        } else {
            // the event loop was run within a step of a task, and may have another heap
            first_timer(&scheduled(&self.event_loop)?)?
        };
        Ok(first_timer != self.first_timer)
    }
}

fn scheduled<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyList>> {
    Ok(event_loop.getattr(intern!(event_loop.py(), "_scheduled"))?.cast_into::<PyList>()?)
}

/// The address of the next timer. Timers leave the heap only when the event loop goes on, so no
/// other can get the address meanwhile.
fn first_timer(scheduled: &Bound<'_, PyList>) -> PyResult<Option<usize>> {
    if scheduled.is_empty() {
        return Ok(None);
    }
    Ok(Some(scheduled.get_item(0)?.as_ptr() as usize))
}
