//! `Server`: the native server under `fastwsh.server.WebSocketServer`.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    path::PathBuf,
    sync::{
        atomic::Ordering,
        mpsc::{Receiver, RecvTimeoutError},
        Arc, Mutex,
    },
    time::Duration,
};

use pyo3::{
    exceptions::{PyRuntimeError, PyValueError},
    prelude::*,
    sync::PyOnceLock,
    types::{PyTuple, PyWeakrefReference},
};

use super::{
    connection::{to_python, Settings},
    descriptor,
    dispatch::Dispatch,
    errors::os_error,
    event_loop::EventLoop,
    handler_job::Handlers,
    hub,
    inspection::Inspection,
    limits::Limits,
    proxies::Proxies,
    topics::Topics,
};
use crate::{
    connection::ServerClose,
    inspect::Inspector,
    locks::lock,
    protocol::close::CloseCode,
    server::{
        CgiConfig, Concurrency, Config, Destination, Event, EventSink, FindContentTypes,
        IsExecutable, Routes, Server as Core, SharedCounts, Threads,
    },
    tls_files::{self, ClientAuth, TlsFiles},
};

/// The native server.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct Server {
    core: Arc<Core>,
    dispatch: Arc<Dispatch>,
    routes: Arc<Routes>,
    events: Arc<EventSink>,
    receiver: Mutex<Receiver<Event>>,
    files: Option<TlsFiles>,
    inspector: Option<Arc<Inspector>>,
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

/// Maps the counts that this worker shares with others: a descriptor, which stays the caller's, the
/// slot of this process, and how many slots there are.
fn map_counts((descriptor, own, slots): (i32, usize, usize)) -> PyResult<Arc<SharedCounts>> {
    let counts = descriptor::duplicate(descriptor)
        .and_then(|file| SharedCounts::open(file, own, slots))
        .map_err(|error| os_error(&error))?;
    Ok(Arc::new(counts))
}

/// Asks an embedder's function whether a file is a program. An exception means no.
fn executable_check(is_executable: Py<PyAny>) -> IsExecutable {
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

/// Asks Python for the content types of files. An exception means that none is known.
fn content_type_finder(content_types: Option<Py<PyAny>>) -> FindContentTypes {
    FindContentTypes(Arc::new(move || {
        let Some(content_types) = &content_types else { return HashMap::new() };
        let types = Python::try_attach(|py| {
            let content_types = content_types.bind(py);
            let types = content_types.call0().and_then(|types| types.extract());
            types.unwrap_or_else(|error| {
                error.write_unraisable(py, Some(content_types));
                HashMap::new()
            })
        });
        types.unwrap_or_default()
    }))
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (
        run,
        owner,
        *,
        document_root,
        private_files,
        serve_dot_files,
        local_addr,
        limits,
        proxies,
        validation_host=None,
        validation_port=None,
        strict_compat=false,
        http2=false,
        http3_port=None,
        tls=None,
        content_types=None,
        cgi_directories=Vec::new(),
        cgi_timeout=None,
        cgi_user=None,
        cgi_is_executable=None,
        stack_size,
        hubs=0,
        shared_counts=None,
        slow_subscriber="close",
        inspect=None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "keyword-only in Python")]
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 extracts it")]
    fn new(
        run: Py<PyAny>,
        owner: &Bound<'_, PyAny>,
        document_root: PathBuf,
        private_files: Vec<PathBuf>,
        serve_dot_files: bool,
        local_addr: (String, u16),
        limits: Limits,
        proxies: Proxies,
        validation_host: Option<String>,
        validation_port: Option<u16>,
        strict_compat: bool,
        http2: bool,
        http3_port: Option<u16>,
        tls: Option<TlsArguments>,
        content_types: Option<Py<PyAny>>,
        cgi_directories: Vec<Vec<u8>>,
        cgi_timeout: Option<f64>,
        cgi_user: Option<(u32, u32)>,
        cgi_is_executable: Option<Py<PyAny>>,
        stack_size: usize,
        hubs: usize,
        shared_counts: Option<(i32, usize, usize)>,
        slow_subscriber: &str,
        inspect: Option<(usize, u64, u64)>,
    ) -> PyResult<Self> {
        let cgi_timeout = cgi_timeout.map(Duration::try_from_secs_f64).transpose();
        let cgi = CgiConfig {
            directories: cgi_directories,
            timeout: cgi_timeout.map_err(super::errors::value_error)?,
            user: cgi_user,
            server_name: local_addr.0.clone(),
            is_executable: cgi_is_executable.map(executable_check),
        };
        let (sink, receiver) = EventSink::channel();
        let (events, routes) = (Arc::new(sink), Arc::new(Routes::default()));
        let settings = Settings {
            local_addr,
            strict_compat,
            limits: limits.of_messages(),
            max_inflated_bytes: limits.of_inflated(),
            max_pings: limits.of_pings(),
            events: Some(events.clone()),
        };
        let handlers = Handlers {
            threads: Threads::new(stack_size),
            settings: Arc::new(settings),
            run,
            owner: PyWeakrefReference::new(owner)?.unbind(),
            events: events.clone(),
            topics: PyOnceLock::new(),
        };
        let hubs = (hubs > 0).then(|| hub::hubs(owner.py(), hubs)).transpose()?;
        let dispatch = Arc::new(Dispatch::new(handlers, hubs));
        let files = tls.map(to_files);
        let tls =
            files.as_ref().map(tls_files::load).transpose().map_err(super::errors::value_error)?;
        let inspector =
            inspect.map(|(limit, first, step)| Arc::new(Inspector::new(limit, first, step)));
        let config = Config {
            document_root,
            private_files,
            serve_dot_files,
            limits: limits.of_connections()?,
            shared_counts: shared_counts.map(map_counts).transpose()?,
            keepalive: limits.keepalive()?,
            proxies: proxies.of_connections()?,
            validation_host,
            validation_port,
            http2,
            http3_port,
            tls,
            content_types: content_type_finder(content_types),
            cgi,
            topics: limits.of_topics(slow_subscriber)?,
            inspector: inspector.clone(),
        };
        let core = Core::new(config, routes.clone(), dispatch.clone(), events.clone());
        let core = Arc::new(core.map_err(|error| os_error(&error))?);
        let _ = dispatch.core.set(Arc::downgrade(&core));
        let receiver = Mutex::new(receiver);
        Ok(Self { core, dispatch, routes, events, receiver, files, inspector })
    }

    #[getter]
    fn topics(&self) -> Topics {
        Topics(self.core.broker().clone())
    }

    #[getter]
    fn inspection(&self) -> Option<Inspection> {
        self.inspector.clone().map(Inspection)
    }

    fn set_event_loop(&self, event_loop: &EventLoop) {
        let _ = self.dispatch.event_loop.set(event_loop.state().clone());
    }

    fn set_routes(&self, routes: HashMap<Vec<u8>, Option<String>>) -> PyResult<()> {
        let destination = |name: Option<String>| match name.as_deref() {
            None => Ok(Destination::Undecided),
            Some("threads") => Ok(Destination::Handler(Concurrency::Threads)),
            Some("hub") => Ok(Destination::Handler(Concurrency::Hub)),
            Some("loop") => Ok(Destination::Handler(Concurrency::Loop)),
            Some(name) => {
                Err(PyValueError::new_err(format!("no concurrency of handlers: {name:?}")))
            }
        };
        let routes = routes.into_iter().map(|(path, name)| Ok((path, destination(name)?)));
        self.routes.set(routes.collect::<PyResult<_>>()?);
        Ok(())
    }

    fn ask_for_admission(&self, asks: bool) {
        self.dispatch.asks_admission.store(asks, Ordering::SeqCst);
    }

    fn ask_for_every_request(&self, asks: bool) {
        self.dispatch.asks_always.store(asks, Ordering::SeqCst);
    }

    fn set_body_paths(&self, paths: HashSet<String>) {
        *lock(&self.dispatch.body_paths) = paths;
    }

    #[pyo3(signature = (credential))]
    fn set_credential(&self, credential: Option<String>) {
        self.core.set_credential(credential);
    }

    #[staticmethod]
    fn check_tls(py: Python<'_>, tls: TlsArguments) -> PyResult<()> {
        let files = to_files(tls);
        py.detach(|| tls_files::load(&files)).map(drop).map_err(super::errors::value_error)
    }

    #[staticmethod]
    fn certificate_fault(py: Python<'_>, tls: TlsArguments) -> Option<String> {
        let files = to_files(tls);
        py.detach(|| tls_files::certificate_fault(&files))
    }

    fn reload_tls(&self, py: Python<'_>) -> PyResult<()> {
        let Some(files) = &self.files else { return Ok(()) };
        let config = py.detach(|| tls_files::load(files)).map_err(super::errors::value_error)?;
        self.core.set_tls(&config);
        Ok(())
    }

    fn set_log_level(&self, level: u8) {
        self.events.set_level(level);
    }

    fn listen(&self, descriptor: i32) -> PyResult<()> {
        let listen = |socket| self.core.listen(socket);
        descriptor::take_over(descriptor).and_then(listen).map_err(|error| os_error(&error))
    }

    fn serve_http3(
        &self,
        descriptor: i32,
        peer: (IpAddr, u16),
        local: (IpAddr, u16),
    ) -> PyResult<bool> {
        let serve = |socket| self.core.serve_http3(socket, peer.into(), local.into());
        descriptor::take_over(descriptor).and_then(serve).map_err(|error| os_error(&error))
    }

    fn serve_accepted(&self, descriptor: i32) -> PyResult<()> {
        let serve = |socket| self.core.serve_accepted(socket);
        descriptor::take_over(descriptor).and_then(serve).map_err(|error| os_error(&error))
    }

    fn stop_listening(&self, py: Python<'_>) {
        py.detach(|| self.core.stop_listening());
    }

    fn report_refusals(&self) {
        self.events.want_refusals();
    }

    fn listen_for_metrics(&self, descriptor: i32) -> PyResult<()> {
        let listen = |socket| self.core.listen_for_metrics(socket);
        descriptor::take_over(descriptor).and_then(listen).map_err(|error| os_error(&error))
    }

    fn metrics(&self, py: Python<'_>) -> String {
        py.detach(|| self.core.metrics())
    }

    fn next_event<'py>(
        &self,
        py: Python<'py>,
        timeout: f64,
    ) -> PyResult<Option<Bound<'py, PyTuple>>> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(super::errors::value_error)?;
        let event = py.detach(|| lock(&self.receiver).recv_timeout(timeout));
        let event = match event {
            Ok(Event::Line { level, logger, text }) => {
                ("line", level as u8 * 10, logger, text).into_pyobject(py)
            }
            Ok(Event::NoHandler { resource, upgrade }) => {
                ("no_handler", resource, upgrade).into_pyobject(py)
            }
            Ok(Event::Stall { resource, taken }) => {
                ("stall", resource, taken.as_secs_f64()).into_pyobject(py)
            }
            Ok(Event::End) => ("end",).into_pyobject(py),
            Ok(Event::Refused { peer, resource, status, http_version }) => {
                ("refused", to_python(py, peer)?, resource, status, http_version).into_pyobject(py)
            }
            Err(RecvTimeoutError::Timeout) if self.core.has_ended() => ("end",).into_pyobject(py),
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(PyRuntimeError::new_err("the server has ended"));
            }
        };
        event.map(Some)
    }

    fn take_lost_events(&self) -> u64 {
        self.events.take_lost()
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let server_close =
            ServerClose::new(CloseCode::GOING_AWAY, "").map_err(super::errors::value_error)?;
        py.detach(|| self.core.close(&server_close));
        Ok(())
    }

    fn wait_closed(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(super::errors::value_error)?;
        Ok(py.detach(|| self.core.registry().wait_empty(timeout)))
    }

    fn wait_handlers(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        let timeout = Duration::try_from_secs_f64(timeout).map_err(super::errors::value_error)?;
        Ok(py.detach(|| self.core.registry().wait_handlers(timeout)))
    }

    fn end(&self, py: Python<'_>) {
        py.detach(|| {
            self.core.end();
            self.dispatch.handlers.threads.end();
        });
    }
}
