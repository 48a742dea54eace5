//! `StreamOptions`: how a stream treats frames and messages. Asking whether there are no filters is
//! quick, because nearly every stream has none.

use std::sync::{
    atomic::{AtomicBool, Ordering},
    Mutex,
};

use pyo3::{
    prelude::*,
    types::{PyBool, PyList},
    PyTraverseError, PyVisit,
};

use crate::locks::{lock, try_lock};

/// The attributes of pywebsocket's class of this name.
///
/// A garbage collection may traverse zeroed memory, see `Made`. Zeroes here are an unlocked lock
/// around nothing.
#[pyclass(frozen, subclass, module = "fastwsh._core")]
pub(super) struct StreamOptions {
    attributes: Mutex<Attributes>,
    /// Whether a list of filters was read or set, so that it may have filters. It is read for each
    /// message, and saves the lock.
    may_have_filters: AtomicBool,
    /// Whether `unmask_receive` was set to something false.
    takes_unmasked: AtomicBool,
}

/// The values of the attributes; each is made when it is first read.
#[derive(Default)]
struct Attributes {
    outgoing_frame_filters: Option<Py<PyAny>>,
    incoming_frame_filters: Option<Py<PyAny>>,
    outgoing_message_filters: Option<Py<PyAny>>,
    incoming_message_filters: Option<Py<PyAny>>,
    encode_text_message_to_utf8: Option<Py<PyAny>>,
    mask_send: Option<Py<PyAny>>,
    unmask_receive: Option<Py<PyAny>>,
}

/// The direction of frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Outgoing,
    Incoming,
}

/// What an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum AttributeType {
    /// A list, to which its readers may append.
    Filters,
    Truthy,
    /// `unmask_receive`, which is read for each message.
    Unmask,
}

impl StreamOptions {
    /// Notes that an attribute is read or set.
    fn note_use(&self, kind: AttributeType) {
        if kind == AttributeType::Filters {
            self.may_have_filters.store(true, Ordering::Release);
        }
    }

    /// Notes that an attribute is set.
    fn note_set(&self, kind: AttributeType, value: &Bound<'_, PyAny>) -> PyResult<()> {
        self.note_use(kind);
        if kind == AttributeType::Unmask {
            self.takes_unmasked.store(!value.is_truthy()?, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether frames must arrive masked.
    pub(super) fn expects_masked(&self) -> bool {
        !self.takes_unmasked.load(Ordering::Relaxed)
    }

    /// Whether there is no filter in this direction; `false` also if that is not known.
    #[inline]
    pub(super) fn is_plain(&self, py: Python<'_>, direction: Direction) -> bool {
        !self.may_have_filters.load(Ordering::Acquire) || self.has_no_filter(py, direction)
    }

    #[inline(never)]
    fn has_no_filter(&self, py: Python<'_>, direction: Direction) -> bool {
        // this hardly ever fails: the lock is held only to copy a reference
        let Some(attributes) = try_lock(&self.attributes) else { return false };
        let is_empty = |filters: &Option<Py<PyAny>>| {
            filters.as_ref().is_none_or(|filters| {
                filters.bind(py).cast_exact::<PyList>().is_ok_and(PyListMethods::is_empty)
            })
        };
        match direction {
            Direction::Outgoing => {
                is_empty(&attributes.outgoing_frame_filters)
                    && is_empty(&attributes.outgoing_message_filters)
            }
            Direction::Incoming => {
                is_empty(&attributes.incoming_frame_filters)
                    && is_empty(&attributes.incoming_message_filters)
            }
        }
    }
}

fn no_filters(py: Python<'_>) -> Py<PyAny> {
    PyList::empty(py).into_any().unbind()
}

fn yes(py: Python<'_>) -> Py<PyAny> {
    PyBool::new(py, true).to_owned().into_any().unbind()
}

fn no(py: Python<'_>) -> Py<PyAny> {
    PyBool::new(py, false).to_owned().into_any().unbind()
}

macro_rules! attributes {
    ($($kind:ident $name:ident, $set:ident = $default:expr;)*) => {
        #[pymethods]
        impl StreamOptions {
            #[new]
            fn new() -> Self {
                Self {
                    attributes: Mutex::default(),
                    may_have_filters: AtomicBool::new(false),
                    takes_unmasked: AtomicBool::new(false),
                }
            }

            $(
                #[getter]
                fn $name(&self, py: Python<'_>) -> Py<PyAny> {
                    self.note_use(AttributeType::$kind);
                    if let Some(value) = &lock(&self.attributes).$name {
                        return value.clone_ref(py);
                    }
                    // made without holding the lock, because this may start a garbage collection
                    let default = $default(py);
                    lock(&self.attributes).$name.get_or_insert(default).clone_ref(py)
                }

                #[setter]
                fn $set(&self, value: Bound<'_, PyAny>) -> PyResult<()> {
                    self.note_set(AttributeType::$kind, &value)?;
                    let old = lock(&self.attributes).$name.replace(value.unbind());
                    // dropping the old value may run Python code
                    drop(old);
                    Ok(())
                }
            )*

            fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
                let Some(attributes) = try_lock(&self.attributes) else { return Ok(()) };
                $(visit.call(&attributes.$name)?;)*
                Ok(())
            }

            fn __clear__(&self) {
                let old = std::mem::take(&mut *lock(&self.attributes));
                drop(old);
            }
        }
    };
}

attributes! {
    Filters outgoing_frame_filters, set_outgoing_frame_filters = no_filters;
    Filters incoming_frame_filters, set_incoming_frame_filters = no_filters;
    Filters outgoing_message_filters, set_outgoing_message_filters = no_filters;
    Filters incoming_message_filters, set_incoming_message_filters = no_filters;
    Truthy encode_text_message_to_utf8, set_encode_text_message_to_utf8 = yes;
    Truthy mask_send, set_mask_send = no;
    Unmask unmask_receive, set_unmask_receive = yes;
}
