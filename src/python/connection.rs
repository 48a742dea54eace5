//! `Connection`: what a handler sees as `request.connection`, and what the session asks of it.

use std::{
    io,
    net::SocketAddr,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
};

use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyBytes, PyList, PyString},
};

use super::errors::os_error;
use crate::{
    protocol::{
        handshake::{Answer, Opening},
        head::RequestHead,
    },
    server::{answer::Refusal, Inbound, Outcome, Registry, Transport, Wait},
};

/// What a server prescribes for all of its connections.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// `server_name` and `server_port` as handlers see them.
    pub(super) local_addr: (String, u16),
    pub(super) strict_compat: bool,
    pub(super) max_message_bytes: u64,
}

/// One connection of the server.
#[pyclass(frozen, weakref, module = "fastwsh._core")]
pub(super) struct Connection {
    pub(super) transport: Arc<Transport>,
    pub(super) settings: Arc<Settings>,
    registry: Arc<Registry>,
    id: u64,
    head: RequestHead,
    resource: String,
    tls: bool,
    peer: Option<SocketAddr>,
    accept: std::sync::OnceLock<String>,
    clean: AtomicBool,
    /// The server's Python object; embedders find it through `_request_handler`.
    #[pyo3(get)]
    server: Py<PyAny>,
}

/// What the opening handshake asks for: subprotocols, and extensions with their parameters.
type Offers = (Option<Vec<String>>, Option<Vec<(String, Vec<(String, Option<String>)>)>>);

impl Connection {
    pub(super) fn new(
        candidate: crate::server::Candidate,
        settings: Arc<Settings>,
        registry: Arc<Registry>,
        server: Py<PyAny>,
    ) -> Self {
        Self {
            transport: candidate.transport,
            settings,
            registry,
            id: candidate.id,
            head: candidate.head,
            resource: candidate.resource,
            tls: candidate.tls,
            peer: candidate.peer,
            accept: std::sync::OnceLock::new(),
            clean: AtomicBool::new(false),
            server,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        if self.clean.load(Ordering::Relaxed) {
            Outcome::Clean
        } else {
            Outcome::Abrupt
        }
    }
}

#[pymethods]
impl Connection {
    #[pyo3(text_signature = "(self, data)")]
    fn write(&self, py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<usize> {
        if data.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("a bytes-like object is required, not 'str'"));
        }
        let bytes = super::stream::bytes_of(data)?;
        let bytes = bytes.as_bytes();
        py.detach(|| self.transport.write(bytes)).map_err(|error| os_error(&error))?;
        Ok(bytes.len())
    }

    #[pyo3(signature = (length=-1), text_signature = "(self, length=-1)")]
    fn read<'py>(&self, py: Python<'py>, length: i64) -> PyResult<Bound<'py, PyBytes>> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = py
            .detach(|| {
                self.transport.flush_before_wait();
                read_exactly(&mut self.transport.inbound(), wanted)
            })
            .map_err(|error| os_error(&error))?;
        Ok(PyBytes::new(py, &bytes))
    }

    #[getter(remote_addr)]
    fn peer_address<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let Some(peer) = self.peer else { return Ok(PyString::new(py, "").into_any()) };
        let host = peer.ip().to_string();
        let address = match peer {
            SocketAddr::V4(peer) => (host, peer.port()).into_pyobject(py)?,
            SocketAddr::V6(peer) => {
                (host, peer.port(), peer.flowinfo(), peer.scope_id()).into_pyobject(py)?
            }
        };
        Ok(address.into_any())
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
        let lines = self.head.lines.iter().map(|line| {
            let bytes: Vec<u8> = line.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            PyBytes::new(py, &bytes)
        });
        PyList::new(py, lines)
    }

    #[getter]
    fn method(&self) -> &str {
        &self.head.method
    }

    #[getter]
    fn resource(&self) -> &str {
        &self.resource
    }

    #[getter]
    fn protocol(&self) -> &str {
        &self.head.version
    }

    #[getter]
    fn request_line(&self) -> &str {
        self.head.lines.first().map_or("", |line| line.trim_end_matches(['\r', '\n']))
    }

    #[getter]
    fn headers(&self) -> Vec<(&str, &str)> {
        self.head.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    #[getter]
    fn is_tls(&self) -> bool {
        self.tls
    }

    #[getter]
    fn _request_handler<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("fastwsh.request")?.getattr("RequestHandler")?.call1((slf,))
    }

    #[getter]
    fn strict_compat(&self) -> bool {
        self.settings.strict_compat
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    fn open(&self, py: Python<'_>) -> PyResult<Offers> {
        let opening =
            Opening::check(&self.head).map_err(|error| super::session_error(py, &error))?;
        // a second call would find the same
        let _ = self.accept.set(opening.accept);
        let extensions = opening.extensions.map(|extensions| {
            extensions.into_iter().map(|item| (item.name, item.parameters)).collect()
        });
        Ok((opening.protocols, extensions))
    }

    #[pyo3(signature = (protocol, extensions, extra))]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 extracts it")]
    fn send_answer(
        &self,
        py: Python<'_>,
        protocol: Option<&str>,
        extensions: Option<&str>,
        extra: Vec<(String, String)>,
    ) -> PyResult<bool> {
        let accept = self.accept.get().map(String::as_str).unwrap_or_default();
        let answer = Answer { accept, protocol, extensions, extra: &extra }.format();
        py.detach(|| self.transport.write(&answer)).map_err(|error| os_error(&error))?;
        Ok(self.registry.establish(self.id))
    }

    #[pyo3(signature = (status, supported_versions=None))]
    fn send_refusal(
        &self,
        py: Python<'_>,
        status: u16,
        supported_versions: Option<String>,
    ) -> PyResult<()> {
        let refusal = match supported_versions {
            None => Refusal::new(status),
            Some(versions) => Refusal {
                headers: vec![("Sec-WebSocket-Version", versions)],
                ..Refusal::without_page(status)
            },
        };
        let answer = refusal.format(self.head.method != "HEAD");
        py.detach(|| self.transport.write(&answer)).map_err(|error| os_error(&error))
    }

    fn set_clean(&self) {
        self.clean.store(true, Ordering::Relaxed);
    }
}

/// Reads until `wanted` bytes are there or the stream ends.
pub(super) fn read_exactly(inbound: &mut Inbound, wanted: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    loop {
        let buffered = inbound.bytes();
        let count = buffered.len().min(wanted - bytes.len());
        bytes.extend_from_slice(&buffered[..count]);
        inbound.consume(count);
        if bytes.len() == wanted {
            return Ok(bytes);
        }
        let missing = (wanted - bytes.len()) as u64;
        if inbound.fill_target(&mut bytes, missing, Wait::Long)? == 0 {
            return Ok(bytes);
        }
    }
}
