//! `Agenda`: what asyncio's own event loop has to do next, besides waiting for descriptors.
//!
//! This reads two attributes of `asyncio.BaseEventLoop` that no documentation promises.
//! `tests/test_async_contract.py` checks them for the version of Python that runs the tests:
//!
//! - `_ready` has the callbacks to call now. It stays the same object as long as the loop runs.
//! - `_scheduled` is a heap of the timers, the first of which is the next.

use pyo3::{intern, prelude::*, types::PyList};

/// What the event loop knew before it began to wait.
pub(super) struct Agenda<'py> {
    event_loop: Bound<'py, PyAny>,
    ready: Bound<'py, PyAny>,
    first_timer: Option<usize>,
}

impl<'py> Agenda<'py> {
    pub(super) fn new(event_loop: Bound<'py, PyAny>) -> PyResult<Self> {
        let ready = event_loop.getattr(intern!(event_loop.py(), "_ready"))?;
        let first_timer = first_timer(&event_loop)?;
        Ok(Self { event_loop, ready, first_timer })
    }

    /// Whether the event loop has more to do than it knew before it began to wait, so that it may
    /// not wait on.
    pub(super) fn has_grown(&self) -> PyResult<bool> {
        Ok(self.ready.len()? > 0 || first_timer(&self.event_loop)? != self.first_timer)
    }
}

/// The address of the next timer. Timers leave the heap only when the event loop goes on, so no
/// other can get the address meanwhile.
fn first_timer(event_loop: &Bound<'_, PyAny>) -> PyResult<Option<usize>> {
    let scheduled = event_loop.getattr(intern!(event_loop.py(), "_scheduled"))?;
    let scheduled = scheduled.cast::<PyList>()?;
    if scheduled.is_empty() {
        return Ok(None);
    }
    Ok(Some(scheduled.get_item(0)?.as_ptr() as usize))
}
