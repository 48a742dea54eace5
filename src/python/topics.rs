//! `Topics`: the topics of one server, for Python.

use std::{io, sync::Arc};

use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError, PyValueError},
    prelude::*,
    types::{PyBytes, PyString},
};

use super::{
    argument::{bytes_of, Truthy},
    connection::Connection,
    errors::{os_error, value_error},
    stream::Stream,
    waiting::current_scheduler,
};
use crate::{
    connection::Transport,
    locks::lock,
    protocol::frame::Opcode,
    topics::{check_name, Broker, Compression, Message},
};

/// Messages from this size on are published while other threads run Python.
const DETACH_BYTES: usize = 16 * 1024;

/// So are messages for so many subscribers.
const DETACH_SUBSCRIBERS: usize = 64;

/// The topics of one server.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct Topics(pub(super) Arc<Broker>);

/// The bytes of a message, which stay where Python has them.
enum Payload<'py> {
    Text(Bound<'py, PyString>),
    Bytes(Bound<'py, PyBytes>),
}

#[pymethods]
impl Topics {
    #[staticmethod]
    fn of(py: Python<'_>, connection: &Connection) -> PyResult<Py<PyAny>> {
        Ok(connection.topics_or_error()?.1.clone_ref(py))
    }

    #[staticmethod]
    fn here(py: Python<'_>) -> Option<Py<PyAny>> {
        current_scheduler().topics(py)
    }

    #[staticmethod]
    #[pyo3(signature = (connection, stream))]
    fn begin(connection: &Connection, stream: Option<&Bound<'_, PyAny>>) -> PyResult<bool> {
        let has_early =
            lock(&connection.pending_subscriptions).as_ref().is_some_and(|it| !it.is_empty());
        // before the lock is taken, because this may run Python code
        let compression = if has_early { compression_of(stream)? } else { None };
        if has_early {
            let broker = connection.broker_or_error()?;
            broker.make_queue(&connection.transport).map_err(|error| os_error(&error))?;
            connection.transport.hold_deliveries();
        }
        let mut early = lock(&connection.pending_subscriptions);
        // locked until all are subscribed: another thread that leaves one of them must come after
        for topic in early.take().unwrap_or_default() {
            connection.join(&topic, compression)?;
        }
        Ok(has_early)
    }

    #[staticmethod]
    fn release(py: Python<'_>, connection: &Connection) {
        py.detach(|| connection.transport.release_deliveries());
    }

    #[pyo3(signature = (connection, topic, stream))]
    fn subscribe(
        &self,
        connection: &Connection,
        topic: &Bound<'_, PyAny>,
        stream: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let name = name_of(topic)?;
        self.check(connection)?;
        if let Some(early) = &mut *lock(&connection.pending_subscriptions) {
            if !early.iter().any(|known| known == name) {
                early.push(name.to_owned());
            }
            return Ok(());
        }
        connection.join(name, compression_of(stream)?)
    }

    fn unsubscribe(&self, connection: &Connection, topic: &Bound<'_, PyAny>) -> PyResult<()> {
        let name = name_of(topic)?;
        self.check(connection)?;
        if let Some(early) = &mut *lock(&connection.pending_subscriptions) {
            early.retain(|known| known != name);
        }
        self.0.unsubscribe(&connection.transport, name).map_err(value_error)
    }

    #[pyo3(signature = (topic, message, binary, exclude))]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 extracts it")]
    fn publish(
        &self,
        py: Python<'_>,
        topic: &Bound<'_, PyAny>,
        message: &Bound<'_, PyAny>,
        binary: Option<Truthy>,
        exclude: Vec<PyRef<'_, Connection>>,
    ) -> PyResult<usize> {
        self.refuse_copy()?;
        let name = name_of(topic)?;
        let exclude: Vec<Arc<Transport>> =
            exclude.iter().map(|connection| connection.transport.clone()).collect();
        let (payload, opcode) = payload_of(message, binary.map(|binary| binary.0))?;
        let payload = match &payload {
            Payload::Text(text) => text.to_str()?.as_bytes(),
            Payload::Bytes(bytes) => bytes.as_bytes(),
        };
        let message = Message { opcode, payload };
        let takes_long =
            payload.len() >= DETACH_BYTES || self.0.subscribers_at_most(name) >= DETACH_SUBSCRIBERS;
        let published = if takes_long {
            py.detach(|| self.0.publish(name, &message, &exclude))
        } else {
            self.0.publish(name, &message, &exclude)
        };
        published.map_err(value_error)
    }

    fn subscribers(&self, topic: &Bound<'_, PyAny>) -> PyResult<usize> {
        self.refuse_copy()?;
        self.0.subscribers(name_of(topic)?).map_err(value_error)
    }
}

impl Topics {
    /// # Errors
    /// If this process was forked from that of the server.
    fn refuse_copy(&self) -> PyResult<()> {
        if self.0.is_copy() {
            return Err(PyRuntimeError::new_err(
                "this process was forked from the server's, which has the connections: hand the \
                 message to the server's process, by a queue for instance, or publish with \
                 fastwsh.publish and --backplane",
            ));
        }
        Ok(())
    }

    /// # Errors
    /// If the connection is not one of this server.
    fn check(&self, connection: &Connection) -> PyResult<()> {
        self.refuse_copy()?;
        if Arc::ptr_eq(connection.broker_or_error()?, &self.0) {
            return Ok(());
        }
        Err(value_error("the request belongs to a connection of another server"))
    }
}

/// Raises `ValueError` unless there can be a topic of this name.
#[pyfunction]
pub(super) fn check_topic(topic: &Bound<'_, PyAny>) -> PyResult<()> {
    name_of(topic).map(drop)
}

/// The payload of a message and its type.
fn payload_of<'py>(
    message: &Bound<'py, PyAny>,
    binary: Option<bool>,
) -> PyResult<(Payload<'py>, Opcode)> {
    if let Ok(text) = message.cast::<PyString>() {
        if binary == Some(true) {
            return Err(PyTypeError::new_err(
                "a binary message must be bytes, not str: encode it, or leave binary out",
            ));
        }
        return Ok((Payload::Text(text.clone()), Opcode::TEXT));
    }
    let Ok(bytes) = bytes_of(message) else {
        let kind = message.get_type().name()?;
        return Err(PyTypeError::new_err(format!(
            "a message must be str or a bytes-like object, not {kind}"
        )));
    };
    if binary != Some(false) {
        return Ok((Payload::Bytes(bytes), Opcode::BINARY));
    }
    if let Err(error) = std::str::from_utf8(bytes.as_bytes()) {
        return Err(PyValueError::new_err(format!("a text message must be UTF-8: {error}")));
    }
    Ok((Payload::Bytes(bytes), Opcode::TEXT))
}

/// The name of a topic.
fn name_of<'a>(topic: &'a Bound<'_, PyAny>) -> PyResult<&'a str> {
    let Ok(name) = topic.cast::<PyString>() else {
        let kind = topic.get_type().name()?;
        return Err(PyTypeError::new_err(format!("the name of a topic must be a str, not {kind}")));
    };
    let name = name.to_str()?;
    check_name(name).map_err(value_error)?;
    Ok(name)
}

impl Connection {
    fn topics_or_error(&self) -> PyResult<&(Arc<Broker>, Py<PyAny>)> {
        self.topics.as_ref().ok_or_else(|| {
            PyTypeError::new_err("only connections of a server can subscribe to topics")
        })
    }

    fn broker_or_error(&self) -> PyResult<&Arc<Broker>> {
        Ok(&self.topics_or_error()?.0)
    }

    fn join(&self, topic: &str, compression: Option<Compression>) -> PyResult<()> {
        let broker = self.broker_or_error()?;
        broker.subscribe(&self.transport, topic, compression).map_err(|error| match error.kind() {
            io::ErrorKind::InvalidInput => value_error(error),
            _ => os_error(&error),
        })
    }
}

/// How messages of topics are compressed for a stream.
fn compression_of(stream: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Compression>> {
    match stream.map(|stream| stream.cast::<Stream>()) {
        Some(Ok(stream)) => stream.get().shared_compression(stream.py()),
        // messages of an unknown stream are not compressed, which is always allowed
        _ => Ok(None),
    }
}
