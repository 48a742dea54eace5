//! `BackplaneQueue`: what the topics of a server have for other servers, for Python.

use std::{os::fd::AsRawFd, sync::Arc};

use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyBytes};

use super::{errors::os_error, topics::Topics};
use crate::{
    protocol::frame::Opcode,
    topics::{self, Broker, Change, Message},
};

/// The native end of a backplane.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct BackplaneQueue {
    queue: Arc<topics::BackplaneQueue>,
    broker: Arc<Broker>,
    /// The server's name among the others.
    #[pyo3(get)]
    node: String,
}

/// Kind, topic, payload, whether it is text, epoch and number.
type ChangeFields<'py> = (u8, String, Bound<'py, PyBytes>, bool, u64, u64);

#[pymethods]
impl BackplaneQueue {
    #[new]
    fn new(topics: &Topics, node: String) -> PyResult<Self> {
        let queue = Arc::new(topics::BackplaneQueue::new().map_err(|error| os_error(&error))?);
        if !topics.0.set_backplane(queue.clone()) {
            return Err(PyRuntimeError::new_err("the server has a backplane already"));
        }
        Ok(Self { queue, broker: topics.0.clone(), node })
    }

    fn fileno(&self) -> i32 {
        self.queue.readable().as_raw_fd()
    }

    fn take<'py>(&self, py: Python<'py>) -> Vec<ChangeFields<'py>> {
        let change = |change: Change| match change {
            Change::Joined(topic) => (0, topic, PyBytes::new(py, b""), false, 0, 0),
            Change::Left(topic) => (1, topic, PyBytes::new(py, b""), false, 0, 0),
            Change::Published { topic, is_text, payload, epoch, number } => {
                (2, topic, PyBytes::new(py, &payload), is_text, epoch, number)
            }
        };
        self.queue.take().into_iter().map(change).collect()
    }

    fn receive(&self, py: Python<'_>, topic: &str, payload: &[u8], is_text: bool) -> usize {
        self.queue.note_received();
        let opcode = if is_text { Opcode::TEXT } else { Opcode::BINARY };
        py.detach(|| self.broker.receive(topic, &Message { opcode, payload }))
    }

    fn note(&self, is_connected: bool, missed: u64, lost: u64) {
        self.queue.note(is_connected, missed, lost);
    }

    fn close(&self) {
        self.queue.close();
    }
}
