//! `Server`: the native server under `fastwsh.server.WebSocketServer`.

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{
        mpsc::{Receiver, RecvTimeoutError},
        Arc, Mutex, OnceLock, PoisonError, Weak,
    },
    time::Duration,
};

use pyo3::{exceptions::PyRuntimeError, prelude::*, types::PyWeakrefReference};

use super::{
    connection::{Connection, Settings},
    descriptor,
    errors::os_error,
};
use crate::{
    protocol::{
        close::{self, CloseCode},
        frame::Opcode,
        send::{append_frame, control},
    },
    server::{
        tls::{self, ClientAuth, TlsFiles},
        Acceptor, Candidate, CgiConfig, Config, Event, EventSink, Executor, IsExecutable, Level,
        Outcome, Registry, Routes, Server as Core, Threads, Transport,
    },
};

/// The native server.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct Server {
    core: Arc<Core>,
    routes: Arc<Routes>,
    events: Arc<EventSink>,
    receiver: Mutex<Receiver<Event>>,
    files: Option<TlsFiles>,
}

/// Private key, certificate, CA for client certificates, and whether those are optional.
type TlsArguments = (PathBuf, PathBuf, Option<PathBuf>, bool);

fn to_files((private_key, certificate, client_ca, optional): TlsArguments) -> TlsFiles {
    let client_auth = match client_ca {
        None => ClientAuth::None,
        Some(path) if optional => ClientAuth::Optional(path),
        Some(path) => ClientAuth::Required(path),
    };
    TlsFiles { private_key, certificate, client_auth }
}

/// An embedder's answer to whether a file is a program; an exception is none.
fn asking(is_executable: Py<PyAny>) -> IsExecutable {
    Arc::new(move |path| {
        let answer = Python::try_attach(|py| {
            let is_executable = is_executable.bind(py);
            let answer = is_executable.call1((path.as_os_str(),));
            answer.and_then(|answer| answer.is_truthy()).unwrap_or_else(|error| {
                error.write_unraisable(py, Some(is_executable));
                false
            })
        });
        answer.unwrap_or(false)
    })
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (
        run,
        owner,
        *,
        document_root,
        local_addr,
        head_timeout=None,
        validation_host=None,
        validation_port=None,
        strict_compat=false,
        max_message_bytes=None,
        tls=None,
        content_types=HashMap::new(),
        cgi_directories=Vec::new(),
        cgi_timeout=None,
        cgi_user=None,
        cgi_is_executable=None,
        stack_size,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    fn new(
        run: Py<PyAny>,
        owner: &Bound<'_, PyAny>,
        document_root: PathBuf,
        local_addr: (String, u16),
        head_timeout: Option<f64>,
        validation_host: Option<String>,
        validation_port: Option<u16>,
        strict_compat: bool,
        max_message_bytes: Option<u64>,
        tls: Option<TlsArguments>,
        content_types: HashMap<String, String>,
        cgi_directories: Vec<String>,
        cgi_timeout: Option<f64>,
        cgi_user: Option<(u32, u32)>,
        cgi_is_executable: Option<Py<PyAny>>,
        stack_size: usize,
    ) -> PyResult<Self> {
        let head_timeout = head_timeout
            .map(Duration::try_from_secs_f64)
            .transpose()
            .map_err(super::errors::value_error)?;
        let cgi = CgiConfig {
            directories: cgi_directories,
            timeout: cgi_timeout
                .map(Duration::try_from_secs_f64)
                .transpose()
                .map_err(super::errors::value_error)?,
            user: cgi_user,
            server_name: local_addr.0.clone(),
            is_executable: cgi_is_executable.map(asking),
        };
        let settings = Settings {
            local_addr,
            strict_compat,
            max_message_bytes: max_message_bytes.unwrap_or(u64::MAX),
        };
        let (sink, receiver) = EventSink::channel();
        let (events, routes) = (Arc::new(sink), Arc::new(Routes::default()));
        let dispatch = Arc::new(Dispatch {
            core: OnceLock::new(),
            executor: Box::new(Threads::new(stack_size)),
            settings: Arc::new(settings),
            run,
            owner: PyWeakrefReference::new(owner)?.unbind(),
            events: events.clone(),
        });
        let files = tls.map(to_files);
        let tls = files.as_ref().map(tls::load).transpose().map_err(super::errors::value_error)?;
        let config = Config {
            document_root,
            head_timeout,
            validation_host,
            validation_port,
            tls,
            content_types,
            cgi,
        };
        let core = Core::new(config, routes.clone(), dispatch.clone(), events.clone());
        let core = Arc::new(core.map_err(|error| os_error(&error))?);
        // set once, before any listener
        let _ = dispatch.core.set(Arc::downgrade(&core));
        Ok(Self { core, routes, events, receiver: Mutex::new(receiver), files })
    }

    fn set_routes(&self, paths: Vec<String>) {
        self.routes.set(paths.into_iter().collect());
    }

    #[pyo3(signature = (credential))]
    fn set_credential(&self, credential: Option<String>) {
        self.core.set_credential(credential);
    }

    fn reload_tls(&self, py: Python<'_>) -> PyResult<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let config = py.detach(|| tls::load(files)).map_err(super::errors::value_error)?;
        self.core.set_tls(config);
        Ok(())
    }

    fn set_log_level(&self, level: u8) {
        self.events.set_level(level);
    }

    fn listen(&self, descriptor: i32) -> PyResult<()> {
        self.core.listen(descriptor::take_over(descriptor)).map_err(|error| os_error(&error))
    }

    fn next_event(
        &self,
        py: Python<'_>,
        timeout: f64,
    ) -> PyResult<Option<(u8, String, String, bool)>> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(super::errors::value_error)?;
        let event = py.detach(|| {
            let receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
            receiver.recv_timeout(timeout)
        });
        match event {
            Ok(Event::Line { level, logger, text }) => {
                Ok(Some((level as u8 * 10, logger.to_owned(), text, false)))
            }
            Ok(Event::NoHandler { resource, upgrade }) => {
                Ok(Some((0, String::new(), resource, upgrade)))
            }
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                Err(PyRuntimeError::new_err("the server has ended"))
            }
        }
    }

    fn take_lost_events(&self) -> u64 {
        self.events.take_lost()
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let body =
            close::format_body(CloseCode::GOING_AWAY, "").map_err(super::errors::value_error)?;
        let header =
            control(Opcode::CLOSE, body.len(), None).map_err(super::errors::value_error)?;
        let mut frame = Vec::new();
        append_frame(&header, &body, &mut frame);
        py.detach(|| self.core.close(&frame));
        Ok(())
    }

    fn wait_closed(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(super::errors::value_error)?;
        Ok(py.detach(|| self.core.registry().wait_empty(timeout)))
    }

    fn end(&self, py: Python<'_>) {
        py.detach(|| self.core.end());
    }
}

/// Gives each candidate to the executor, and its connection to Python.
struct Dispatch {
    core: OnceLock<Weak<Core>>,
    executor: Box<dyn Executor>,
    settings: Arc<Settings>,
    run: Py<PyAny>,
    owner: Py<PyWeakrefReference>,
    events: Arc<EventSink>,
}

/// Leaves the registry and closes the socket, however the handler ended.
struct Leave {
    core: Arc<Core>,
    registry: Arc<Registry>,
    transport: Arc<Transport>,
    id: u64,
    outcome: Outcome,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.core.finish(&self.transport, self.outcome);
        self.registry.remove(self.id);
    }
}

impl Acceptor for Dispatch {
    fn accept(self: Arc<Self>, candidate: Candidate) {
        let Some(core) = self.core.get().and_then(Weak::upgrade) else { return };
        let registry = core.registry().clone();
        let leave = Leave {
            core,
            registry: registry.clone(),
            transport: candidate.transport.clone(),
            id: candidate.id,
            outcome: Outcome::Abrupt,
        };
        let dispatch = self.clone();
        let job = Box::new(move || {
            let mut leave = leave;
            // nothing can be run in an interpreter that is ending
            let outcome = Python::try_attach(|py| dispatch.run(py, candidate, registry));
            leave.outcome = outcome.flatten().unwrap_or(Outcome::Abrupt);
        });
        if let Err(error) = self.executor.spawn(job) {
            self.events.line(Level::Error, "websocket_server.WebSocketServer", || {
                format!("No thread for a connection: {error}; raise the limit of processes")
            });
        }
    }
}

impl Dispatch {
    fn run(
        &self,
        py: Python<'_>,
        candidate: Candidate,
        registry: Arc<Registry>,
    ) -> Option<Outcome> {
        let owner = self.owner.bind(py).call0().ok()?.unbind();
        let connection = Connection::new(candidate, self.settings.clone(), registry, owner);
        let connection = Bound::new(py, connection).ok()?;
        if let Err(error) = self.run.bind(py).call1((&connection,)) {
            error.write_unraisable(py, Some(connection.as_any()));
        }
        Some(connection.get().outcome())
    }
}
