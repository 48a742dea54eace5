//! Attributes of a stream's request and options, as handlers may have set them.

use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyBool, PyList, PyString},
};

use super::{underlying::Underlying, Inner};
use crate::{
    protocol::closing::Closing,
    python::{connection::Connection, options::Direction, repr},
};

/// Whether an object is true for Python. It is `False` for nearly every message, which is quicker to
/// see than to ask for.
fn is_true(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if object.is(&*PyBool::new(object.py(), false)) {
        return Ok(false);
    }
    object.is_truthy()
}

impl Inner {
    #[inline]
    pub(super) fn underlying<'py>(&self, py: Python<'py>) -> PyResult<Underlying<'py>> {
        let connection = self.attribute(py, intern!(py, "connection"))?;
        Ok(match connection.cast_into_exact::<Connection>() {
            Ok(connection) if connection.get().has_own_methods() => {
                Underlying::Python(connection.into_any())
            }
            Ok(connection) => Underlying::Native(connection),
            Err(error) => Underlying::Python(error.into_inner()),
        })
    }

    #[inline]
    pub(super) fn attribute<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Some(attributes) = &self.attributes {
            if let Some(value) = attributes.bind(py).get_item(name)? {
                return Ok(value);
            }
        }
        self.other_attribute(py, name)
    }

    /// An attribute that is not in the request's dict.
    #[cold]
    fn other_attribute<'py>(
        &self,
        py: Python<'py>,
        name: &Bound<'py, PyString>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.request.bind(py).getattr(name)
    }

    pub(super) fn client_terminated(&self, py: Python<'_>) -> PyResult<bool> {
        is_true(&self.attribute(py, intern!(py, "client_terminated"))?)
    }

    /// Whether our side has sent a close frame. If the server has sent one on its own, sets
    /// `request.server_terminated` first. A handler that has set it back may send on.
    #[inline]
    pub(super) fn server_terminated(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
    ) -> PyResult<bool> {
        let name = intern!(py, "server_terminated");
        // before the attribute is read: a thread that closes sets the attribute first
        let closing = match underlying {
            Underlying::Native(connection) => connection.get().transport.closing(),
            Underlying::Python(_) => Closing::default(),
        };
        if is_true(&self.attribute(py, name)?)? {
            return Ok(true);
        }
        if closing.is_going_away() {
            return self.set(py, name, true).map(|()| true);
        }
        if let Underlying::Native(connection) = underlying {
            if closing.has_handler_closed() {
                connection.get().transport.note_reopened();
            }
        }
        Ok(false)
    }

    #[cold]
    pub(super) fn set(
        &self,
        py: Python<'_>,
        name: &Bound<'_, PyString>,
        value: impl for<'a> IntoPyObject<'a>,
    ) -> PyResult<()> {
        self.request.bind(py).setattr(name, value)
    }

    /// Whether there is no filter in this direction.
    #[inline]
    pub(super) fn is_plain(&self, py: Python<'_>, direction: Direction) -> bool {
        self.own_options.as_ref().is_some_and(|options| options.get().is_plain(py, direction))
    }

    pub(super) fn filters<'py>(
        &self,
        py: Python<'py>,
        frames: &Bound<'py, PyString>,
        messages: &Bound<'py, PyString>,
    ) -> PyResult<(Bound<'py, PyList>, Bound<'py, PyList>)> {
        let options = self.options.bind(py);
        let list = |name: &Bound<'py, PyString>| {
            options
                .getattr(name)?
                .cast_into::<PyList>()
                .map_err(|_| PyTypeError::new_err(format!("StreamOptions.{name} must be a list")))
        };
        Ok((list(frames)?, list(messages)?))
    }

    pub(super) fn remote_addr(&self, py: Python<'_>) -> PyResult<String> {
        let connection = self.attribute(py, intern!(py, "connection"))?;
        Ok(repr(&connection.getattr(intern!(py, "remote_addr"))?))
    }
}
