//! `AsyncStream`: a stream with awaitable methods.

use pyo3::{intern, prelude::*, types::PyString, PyTraverseError, PyVisit};

use super::{
    async_connection::AsyncConnection,
    operation::Operation,
    work::{OutgoingClose, OutgoingMessage, Work},
};
use crate::python::{
    argument::{refuse_unless_bytes_like, Truthy},
    made::Made,
    stream::{CloseArgument, EndArgument, ReasonArgument, Stream, Unsent},
};

/// An awaitable stream over a blocking one.
#[pyclass(frozen, weakref, dict, module = "fastwsh._core")]
pub(in crate::python) struct AsyncStream {
    #[pyo3(get)]
    blocking: Py<Stream>,
    connection: Py<AsyncConnection>,
    is_made: Made,
}

#[pymethods]
impl AsyncStream {
    #[new]
    fn new(stream: Py<Stream>, connection: Py<AsyncConnection>) -> Self {
        Self { blocking: stream, connection, is_made: Made::YES }
    }

    fn receive_message(&self, py: Python<'_>) -> PyResult<Py<Operation>> {
        self.operation(py, Work::Receive(self.blocking.clone_ref(py)))
    }

    #[pyo3(signature = (message, end=EndArgument(true), binary=None))]
    #[pyo3(text_signature = "(self, message, end=True, binary=None)")]
    fn send_message(
        &self,
        message: &Bound<'_, PyAny>,
        end: EndArgument,
        binary: Option<Truthy>,
    ) -> PyResult<Py<Operation>> {
        let is_text = message.is_instance_of::<PyString>();
        let binary = binary.map_or(!is_text, |binary| binary.0);
        // raise the error here, where the mistake is, and not where the result is awaited
        match (is_text, binary) {
            (true, _) => {}
            (false, true) => refuse_unless_bytes_like(message)?,
            (false, false) => drop(message.getattr(intern!(message.py(), "encode"))?),
        }
        let outgoing = OutgoingMessage { message: message.clone().unbind(), end: end.0, binary };
        let py = message.py();
        let work = Work::Send(self.blocking.clone_ref(py), outgoing, Unsent::default());
        self.operation(py, work)
    }

    #[pyo3(signature = (body, binary=Truthy(false)))]
    #[pyo3(text_signature = "(self, body, binary=False)")]
    fn send_ping(&self, body: &Bound<'_, PyAny>, binary: Truthy) -> PyResult<Py<Operation>> {
        let binary = binary.0;
        let outgoing = OutgoingMessage { message: body.clone().unbind(), end: true, binary };
        let py = body.py();
        self.operation(py, Work::Ping(self.blocking.clone_ref(py), outgoing))
    }

    #[pyo3(signature = (code=1000.into(), reason=ReasonArgument(None), wait_response=Truthy(true)))]
    #[pyo3(text_signature = "(self, code=1000, reason='', wait_response=True)")]
    fn close_connection(
        &self,
        py: Python<'_>,
        code: CloseArgument,
        reason: ReasonArgument,
        wait_response: Truthy,
    ) -> PyResult<Py<Operation>> {
        let reason = reason.or_empty(py);
        let closing = OutgoingClose { code: code.0, reason, wait_response: wait_response.0 };
        self.operation(py, Work::Close(self.blocking.clone_ref(py), closing))
    }

    fn get_last_received_opcode(&self) -> PyResult<Option<u8>> {
        self.blocking.get().get_last_received_opcode()
    }

    fn __aiter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __anext__(&self, py: Python<'_>) -> PyResult<Py<Operation>> {
        self.operation(py, Work::Next(self.blocking.clone_ref(py)))
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.is_made.get() {
            return Ok(());
        }
        visit.call(&self.blocking)?;
        visit.call(&self.connection)
    }
}

impl AsyncStream {
    fn operation(&self, py: Python<'_>, work: Work) -> PyResult<Py<Operation>> {
        Operation::new(py, self.connection.clone_ref(py), work)
    }
}
