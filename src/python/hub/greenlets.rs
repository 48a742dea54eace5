//! The greenlets in which handlers run, and the switch from one of them to another.
//!
//! A switch goes through greenlet's C API (`greenlet.h`): a call of the method `switch` would take
//! another hundred bytes of stack, which are copied with the rest at each switch. The code that does it
//! is unsafe, as Python knows nothing of the functions in a capsule.

use std::{cell::RefCell, ffi::c_void, hint::black_box};

use pyo3::{
    ffi, intern,
    prelude::*,
    types::{PyCapsule, PyTuple},
};

/// The most idle greenlets to keep, enough for a burst of short connections.
const MAX_IDLE: usize = 64;

/// `PyGreenlet_Switch`: the greenlet, the arguments or null, the keyword arguments or null. An
/// interpreter that ends may unwind a thread through it.
type Switch = unsafe extern "C-unwind" fn(
    *mut ffi::PyObject,
    *mut ffi::PyObject,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// The beginning of the table in the capsule `greenlet._C_API`.
#[repr(C)]
struct CApi {
    /// Types, exceptions and functions that are not used here.
    others: [*const c_void; 6],
    switch: Switch,
}

/// The greenlets of a hub's thread.
pub(super) struct Greenlets {
    switch: Switch,
    new_greenlet: Py<PyAny>,
    /// The greenlet of the thread itself.
    main: Py<PyAny>,
    /// The function that a greenlet runs: one connection after the other.
    work: Py<PyAny>,
    /// Greenlets of handlers that have ended, to be reused. Making one costs more than everything
    /// else that Python does for a connection, because of the memory for its frames.
    idle: RefCell<Vec<Greenlet>>,
}

/// A greenlet that runs handlers.
pub(super) struct Greenlet(Py<PyAny>);

/// Python has raised an exception, which is still to be fetched.
pub(super) struct Raised<'py>(Python<'py>);

impl Raised<'_> {
    #[cold]
    pub(super) fn fetch(self) -> PyErr {
        PyErr::fetch(self.0)
    }
}

impl Greenlet {
    pub(super) fn clone_ref(&self, py: Python<'_>) -> Self {
        Self(self.0.clone_ref(py))
    }
}

impl Greenlets {
    pub(super) fn new(py: Python<'_>) -> PyResult<Self> {
        let module = py.import("greenlet")?;
        let main = module.call_method0("getcurrent")?;
        // SAFETY: greenlet.h describes the table; greenlet never changes it.
        #[allow(unsafe_code)]
        let api = unsafe { PyCapsule::import::<CApi>(py, c"greenlet._C_API") }?;
        Ok(Self {
            switch: api.switch,
            new_greenlet: module.getattr("greenlet")?.unbind(),
            work: py
                .import("fastwsh.running.session")?
                .call_method1("make_worker", (main.getattr("switch")?,))?
                .unbind(),
            main: main.unbind(),
            idle: RefCell::default(),
        })
    }

    /// A greenlet that waits for a connection.
    pub(super) fn take(&self, py: Python<'_>) -> PyResult<Greenlet> {
        if let Some(greenlet) = self.idle.borrow_mut().pop() {
            return Ok(greenlet);
        }
        let greenlet = self.new_greenlet.bind(py).call1((&self.work,))?;
        // to where it waits for a connection: a greenlet keeps its first arguments until it ends
        greenlet.call_method0(intern!(py, "switch"))?;
        Ok(Greenlet(greenlet.unbind()))
    }

    /// Keeps the greenlet of a handler that has ended, if it can be reused: it must be like a new
    /// one, without context variables.
    pub(super) fn keep(&self, py: Python<'_>, greenlet: Greenlet) -> PyResult<()> {
        let object = greenlet.0.bind(py);
        if object.getattr(intern!(py, "dead"))?.is_truthy()? {
            return Ok(());
        }
        object.setattr(intern!(py, "gr_context"), py.None())?;
        let mut idle = self.idle.borrow_mut();
        if idle.len() < MAX_IDLE {
            idle.push(greenlet);
            return Ok(());
        }
        drop(idle);
        // end it by an exception where it waits
        greenlet.0.bind(py).call_method0(intern!(py, "throw")).map(drop)
    }

    /// Switches to a greenlet that waits for a connection, with the arguments that begin it.
    pub(super) fn begin<'py>(
        &self,
        greenlet: &Greenlet,
        job: &Bound<'py, PyTuple>,
    ) -> Result<(), Raised<'py>> {
        self.switch(job.py(), &greenlet.0, job.as_ptr())
    }

    /// Switches to a greenlet whose handler goes on. Returns when another one switches back.
    #[inline]
    pub(super) fn switch_to<'py>(
        &self,
        py: Python<'py>,
        greenlet: &Greenlet,
    ) -> Result<(), Raised<'py>> {
        self.switch(py, &greenlet.0, std::ptr::null_mut())
    }

    /// Switches to the thread's own greenlet, as most handlers do when they wait for the first time.
    ///
    /// greenlet itself needs 64 bytes of stack less for this than to reach another greenlet. If the
    /// copy of a handler's stack were larger at its second wait than at its first, the memory of the
    /// first one could not be used again, which would cost 1.5 KiB per connection. So the stack gets
    /// more than these bytes here.
    #[inline(never)]
    pub(super) fn switch_to_main<'py>(&self, py: Python<'py>) -> Result<(), Raised<'py>> {
        let room = [0_u8; 64];
        black_box(&room);
        let switched = self.switch(py, &self.main, std::ptr::null_mut());
        black_box(&room);
        switched
    }

    #[inline]
    fn switch<'py>(
        &self,
        py: Python<'py>,
        greenlet: &Py<PyAny>,
        arguments: *mut ffi::PyObject,
    ) -> Result<(), Raised<'py>> {
        // SAFETY: the caller holds the greenlet and the arguments until the call returns, which is a
        // new reference or null.
        #[allow(unsafe_code)]
        let result = unsafe {
            let result = (self.switch)(greenlet.as_ptr(), arguments, std::ptr::null_mut());
            Bound::from_owned_ptr_or_opt(py, result)
        };
        result.map(drop).ok_or(Raised(py))
    }
}
