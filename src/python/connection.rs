//! `Connection`: the object that a handler sees as `request.connection`, with the methods that the
//! session needs. A client's connection is the same class, without a server.

mod address;
mod answer;
mod early_bytes;
mod head;
mod own_methods;
mod raw;
mod settings;

use std::sync::{Arc, Mutex};

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBytes, PyList, PyString},
    PyTraverseError, PyVisit,
};

pub(super) use self::{address::to_python, raw::read_exactly, settings::Settings};
use self::{
    head::Head,
    own_methods::{set_plainly, OwnMethods},
    raw::{read_some, write_all},
};
use super::{
    argument::memory_of,
    errors::{reading_error, sending_error},
    made::Made,
    waiting::{self, sending},
};
use crate::{
    client::Connected,
    connection::{Flusher, Outcome, Transport},
    locks::lock,
    protocol::{
        handshake::Opening,
        head::{latin1, RequestHead},
    },
    server::{AnswerSlot, Registry, Server as Core},
    topics::Broker,
};

/// One connection of the server, or of a client.
#[pyclass(frozen, weakref, dict, module = "fastwsh._core")]
pub(super) struct Connection {
    pub(super) transport: Arc<Transport>,
    pub(super) settings: Arc<Settings>,
    /// The server's registry, and the connection's number in it; `None` for a client.
    registered: Option<(Arc<Registry>, u64)>,
    head: Mutex<Head>,
    resource: String,
    tls: bool,
    accept: std::sync::OnceLock<String>,
    /// The value of `Alt-Svc` for the answer.
    alternative: Option<String>,
    /// The server's topics, and the object that Python has for them; `None` for a client.
    pub(super) topics: Option<(Arc<Broker>, Py<PyAny>)>,
    /// Topics to subscribe to when the opening handshake is done; `None` from then on.
    pub(super) pending_subscriptions: Mutex<Option<Vec<String>>>,
    own_methods: OwnMethods,
    is_made: Made,
    /// Accepts the answer, if it is not sent as bytes of the transport.
    answer_slot: Option<Arc<AnswerSlot>>,
    /// The server's Python object; embedders find it through `_request_handler`.
    #[pyo3(get)]
    server: Py<PyAny>,
}

/// What the opening handshake offers: subprotocols, and extensions with their parameters; and the
/// value of Origin.
type Offers =
    (Option<Vec<String>>, Option<Vec<(String, Vec<(String, Option<String>)>)>>, Option<String>);

impl Connection {
    pub(super) fn new(
        pending: crate::server::PendingConnection,
        settings: Arc<Settings>,
        core: &Core,
        topics: Py<PyAny>,
        server: Py<PyAny>,
    ) -> Self {
        Self {
            transport: pending.transport,
            settings,
            registered: Some((core.registry().clone(), pending.id)),
            topics: Some((core.broker().clone(), topics)),
            pending_subscriptions: Mutex::new(Some(Vec::new())),
            head: Mutex::new(Head::Parsed(Box::new(pending.head))),
            resource: pending.resource,
            tls: pending.tls,
            accept: std::sync::OnceLock::new(),
            alternative: pending.alternative,
            own_methods: OwnMethods::default(),
            is_made: Made::YES,
            answer_slot: pending.answer_slot,
            server,
        }
    }

    /// A client's connection after its opening handshake; its request is not needed any more.
    pub(super) fn of_client(
        connected: Connected,
        resource: String,
        settings: Settings,
        none: Py<PyAny>,
    ) -> Self {
        let tls = connected.socket.is_tls();
        // a client holds nothing back: masked frames are sent at once
        let flusher = Arc::new(Flusher::default());
        let Connected { socket, rest, .. } = connected;
        let peer = socket.peer();
        Self {
            transport: Arc::new(Transport::new(socket, rest, flusher, peer)),
            settings: Arc::new(settings),
            registered: None,
            topics: None,
            pending_subscriptions: Mutex::new(None),
            head: Mutex::new(Head::Packed(Box::default())),
            resource,
            tls,
            accept: std::sync::OnceLock::new(),
            alternative: None,
            own_methods: OwnMethods::default(),
            is_made: Made::YES,
            answer_slot: None,
            server: none,
        }
    }

    fn head<T>(&self, look: impl FnOnce(&RequestHead) -> T) -> Option<T> {
        lock(&self.head).with(look)
    }
}

#[pymethods]
impl Connection {
    /// The server may refer back to objects of this connection.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if !self.is_made.get() {
            return Ok(());
        }
        visit.call(&self.server)
    }

    fn __setattr__(
        slf: &Bound<'_, Self>,
        name: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        slf.get().own_methods.note(name)?;
        set_plainly(slf, name, Some(value))
    }

    fn __delattr__(slf: &Bound<'_, Self>, name: &Bound<'_, PyString>) -> PyResult<()> {
        set_plainly(slf, name, None)
    }

    #[pyo3(text_signature = "(self, data)")]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        if data.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("a bytes-like object is required, not 'str'"));
        }
        let bytes = memory_of(data)?;
        let bytes = bytes.as_bytes();
        self.transport.note_raw();
        if self.refuses_early_bytes() {
            return Ok(bytes.len());
        }
        write_all(py, &self.transport, bytes)?;
        waiting::current_scheduler().yield_if_over_budget(py)?;
        Ok(bytes.len())
    }

    #[pyo3(signature = (length=-1), text_signature = "(self, length=-1)")]
    fn read<'py>(&self, py: Python<'py>, length: i64) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = match usize::try_from(length) {
            Ok(most) => read_some(py, &self.transport, most)?,
            Err(_) => read_exactly(py, &self.transport, usize::MAX)?,
        };
        let bytes = bytes.map_err(|error| reading_error(py, &self.transport, &error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn half_close(&self, py: Python<'_>) -> PyResult<()> {
        sending(py, &self.transport, |wait| self.transport.end_sending(wait))?
            .map_err(|error| sending_error(py, &self.transport, &error))
    }

    fn reset(&self, py: Python<'_>) {
        py.detach(|| self.transport.reset());
        if let Some(slot) = &self.answer_slot {
            slot.give_up();
            slot.wake_task();
        }
    }

    #[getter(remote_addr)]
    fn peer_address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, self.transport.peer())
    }

    #[getter(local_addr)]
    fn own_address(&self) -> (String, u16) {
        self.settings.local_addr.clone()
    }

    fn get_remote_addr<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.peer_address(py)
    }

    fn get_local_addr(&self) -> (String, u16) {
        self.own_address()
    }

    fn get_memorized_lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        // copied first: to make a list may start a garbage collection, and so run code that looks at
        // the head as well
        let lines = |head: &RequestHead| head.lines().map(<[u8]>::to_vec).collect();
        let lines: Vec<Vec<u8>> = self.head(lines).unwrap_or_default();
        PyList::new(py, lines.iter().map(|line| PyBytes::new(py, line)))
    }

    #[getter]
    fn method(&self) -> String {
        self.head(|head| head.method.clone()).unwrap_or_default()
    }

    #[getter]
    fn resource(&self) -> &str {
        &self.resource
    }

    #[getter]
    fn protocol(&self) -> String {
        self.head(|head| head.version.clone()).unwrap_or_default()
    }

    #[getter]
    fn request_line(&self) -> String {
        let first = self.head(|head| head.lines().next().map(latin1)).flatten();
        first.map_or_else(String::new, |line| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    #[getter]
    fn headers(&self) -> Vec<(String, String)> {
        self.head(|head| head.headers.to_pairs()).unwrap_or_default()
    }

    #[getter]
    fn is_tls(&self) -> bool {
        self.tls
    }

    #[getter]
    fn asks_for_websocket(&self) -> bool {
        self.head(Opening::is_meant).unwrap_or(false)
    }

    #[getter]
    fn _request_handler<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("fastwsh.running.request")?.getattr("RequestHandler")?.call1((slf,))
    }

    #[getter]
    fn strict_compat(&self) -> bool {
        self.settings.strict_compat
    }

    #[getter]
    fn max_inflated_bytes(&self) -> Option<u64> {
        self.settings.max_inflated_bytes
    }

    fn header(&self, name: &str) -> Option<String> {
        self.head(|head| head.header(name).map(str::to_owned)).flatten()
    }

    fn open(&self, py: Python<'_>) -> PyResult<Offers> {
        let check =
            |head: &RequestHead| (Opening::check(head), head.header("Origin").map(str::to_owned));
        let Some((checked, origin)) = self.head(check) else { return Ok((None, None, None)) };
        let opening = checked.map_err(|error| super::session_error(py, &error))?;
        // a second call would set the same value
        let _ = self.accept.set(opening.accept);
        let extensions = opening.extensions.map(|extensions| {
            extensions.into_iter().map(|item| (item.name, item.parameters)).collect()
        });
        Ok((opening.protocols, extensions, origin))
    }

    #[pyo3(signature = (protocol, extensions, extra, through))]
    fn send_answer(
        &self,
        protocol: Option<&str>,
        extensions: Option<&str>,
        extra: Vec<(String, String)>,
        through: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        self.accept_handshake(protocol, extensions, extra, through)
    }

    #[pyo3(signature = (status, why, headers=Vec::new(), body=None))]
    fn send_refusal(
        &self,
        py: Python<'_>,
        status: u16,
        why: &Bound<'_, PyString>,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
    ) -> PyResult<()> {
        self.refuse_handshake(py, status, why, headers, body)
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        sending(py, &self.transport, |wait| self.transport.flush_before_wait(wait))
    }

    fn set_ping_hook(&self, present: bool) {
        self.transport.set_hooks_pings(present);
    }

    fn disconnect(&self, py: Python<'_>) {
        py.detach(|| drop(self.transport.finish(Outcome::Clean)));
    }

    fn account(&self) -> (u64, u64, u64, u64, Option<u16>) {
        let account = self.transport.account();
        (
            account.received.messages(),
            account.sent.messages(),
            account.received.wire,
            account.sent.wire,
            account.close_sent,
        )
    }

    fn note_failure(&self) {
        self.transport.note_failure();
    }

    fn is_peer_gone(&self) -> bool {
        self.transport.is_peer_gone()
    }

    fn has_ended(&self) -> bool {
        self.transport.closing().has_handler_ended()
    }

    fn set_clean(&self) {
        self.transport.note_handshake_done();
    }
}
