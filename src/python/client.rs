//! `connect` and `connect_async`: the client's opening, for `fastwsh.client`.

use std::{
    collections::HashMap,
    io,
    path::PathBuf,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyString, PyType},
};
use tokio::{runtime::Builder, time::timeout};

use super::{
    connection::{Connection, Settings},
    opener::{self, Opener},
};
use crate::{
    client::{
        self, ConnectError, ConnectErrorKind, Connected, HeadDirection, Proxy, Target, TlsOptions,
        Trace, Verification,
    },
    protocol::{
        deflate::WindowBits,
        limits::{self, FrameLimits},
    },
    runtime,
};

/// How long a signal may go unnoticed while connecting.
const SIGNAL_SLICE: Duration = Duration::from_millis(100);

/// How long the end of the program may wait for connections over HTTP/2.
const EXIT_TIME: Duration = Duration::from_secs(1);

/// The most pings to remember until their pongs arrive.
const MAX_PINGS: usize = 1024;

/// The dict of options; `fastwsh.client.options` describes each.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(super) struct Options {
    headers: Vec<(String, String)>,
    subprotocols: Vec<String>,
    compression: bool,
    http_version: u8,
    open_timeout: Option<f64>,
    max_message_bytes: Option<u64>,
    ca_file: Option<PathBuf>,
    verify: bool,
    identity: Option<(PathBuf, PathBuf)>,
    server_hostname: Option<String>,
    /// The URL of a proxy.
    proxy: Option<String>,
    /// Environment variables that name proxies.
    proxy_variables: HashMap<String, String>,
    on_head: Option<Py<PyAny>>,
    head: Option<Vec<u8>>,
}

/// The connection, the subprotocol, the headers of the answer, and the parameters of
/// permessage-deflate if it was negotiated: our largest window, and whether we compress every
/// message on its own.
type Opened<'py> =
    (Bound<'py, Connection>, Option<String>, Vec<(String, String)>, Option<(Option<u8>, bool)>);

/// Everything that an attempt needs.
struct Attempt {
    target: Target,
    options: client::Options,
    max_message_bytes: Option<u64>,
}

impl Attempt {
    fn new(py: Python<'_>, url: &Bound<'_, PyString>, options: Options) -> PyResult<Self> {
        if options.http_version == 2 {
            finish_at_exit(py)?;
        }
        // a lone surrogate is refused as any other character that no URL has
        let target = Target::parse(&url.to_string_lossy()).map_err(|error| raised(py, error))?;
        let verification = if options.verify {
            Verification::Authorities(options.ca_file)
        } else {
            Verification::Off
        };
        let tls = TlsOptions {
            verification,
            identity: options.identity,
            server_name: options.server_hostname,
        };
        let max_message_bytes = options.max_message_bytes;
        let proxy = match &options.proxy {
            Some(url) => Proxy::parse(url).map(Some),
            None => Proxy::of_environment(&options.proxy_variables, &target),
        };
        let options = client::Options {
            headers: options.headers,
            subprotocols: options.subprotocols,
            compression: options.compression,
            http2: options.http_version == 2,
            // a time that is too long to express counts as no limit
            open_timeout: options
                .open_timeout
                .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            tls,
            proxy: proxy.map_err(|error| raised(py, error))?,
            trace: options.on_head.map(trace),
            head: options.head,
        };
        Ok(Self { target, options, max_message_bytes })
    }

    fn opened<'py>(&self, py: Python<'py>, connected: Connected) -> PyResult<Opened<'py>> {
        let settings = Settings {
            local_addr: (String::new(), 0),
            strict_compat: false,
            limits: FrameLimits {
                message_bytes: self.max_message_bytes.unwrap_or(u64::MAX),
                ..limits::FrameLimits::NONE
            },
            max_inflated_bytes: self.max_message_bytes,
            max_pings: MAX_PINGS,
            events: None,
        };
        let deflate = connected.deflate.map(|agreed| {
            let window = agreed.client_max_window_bits.map(WindowBits::bits);
            (window, agreed.client_no_context_takeover)
        });
        let (subprotocol, headers) = (connected.subprotocol.clone(), connected.headers.clone());
        let resource = self.target.resource().to_owned();
        let connection = Connection::of_client(connected, resource, settings, py.None());
        Ok((Bound::new(py, connection)?, subprotocol, headers, deflate))
    }
}

#[pyfunction]
pub(super) fn connect<'py>(
    py: Python<'py>,
    url: &Bound<'py, PyString>,
    options: Options,
) -> PyResult<Opened<'py>> {
    let attempt = Attempt::new(py, url, options)?;
    // a runtime for this call only, so that a program without asyncio has no thread of ours
    let runtime = runtime::start(Builder::new_current_thread().enable_all());
    let runtime = runtime.map_err(|error| not_started(py, &error))?;
    let outcome = {
        let mut connecting = pin!(client::connect(&attempt.target, &attempt.options));
        loop {
            let polled = py.detach(|| {
                runtime.block_on(async { timeout(SIGNAL_SLICE, connecting.as_mut()).await })
            });
            match (polled, py.check_signals()) {
                (Ok(outcome), Ok(())) => break Ok(outcome),
                (_, Err(error)) => break Err(error),
                (Err(_), Ok(())) => {}
            }
        }
    };
    // do not wait for a name service that does not answer
    runtime.shutdown_background();
    let connected = outcome?.map_err(|error| raised(py, error))?;
    attempt.opened(py, connected)
}

#[pyfunction]
pub(super) fn connect_async<'py>(
    py: Python<'py>,
    url: &Bound<'py, PyString>,
    options: Options,
) -> PyResult<Bound<'py, PyAny>> {
    let attempt = Attempt::new(py, url, options)?;
    opener::start().map_err(|error| not_started(py, &error))?;
    finish_at_exit(py)?;
    pyo3_async_runtimes::generic::future_into_py::<Opener, _, _>(py, async move {
        let connected = client::connect(&attempt.target, &attempt.options).await;
        Python::attach(|py| {
            let connected = connected.map_err(|error| raised(py, error))?;
            let opened = attempt.opened(py, connected)?;
            opened.into_pyobject(py).map(Bound::unbind)
        })
    })
}

/// Has the threads in the background finish when the program ends: those that give event loops their
/// connections, and that of HTTP/2, which sends what is left.
fn finish_at_exit(py: Python<'_>) -> PyResult<()> {
    static REGISTERED: PyOnceLock<()> = PyOnceLock::new();
    REGISTERED
        .get_or_try_init(py, || {
            let finish = wrap_pyfunction!(finish_connections, py)?;
            py.import("atexit")?.call_method1("register", (finish,)).map(drop)
        })
        .copied()
}

/// Whether the program ends, and connections with it.
static IS_FINISHING: AtomicBool = AtomicBool::new(false);

#[pyfunction]
pub(super) fn is_finishing() -> bool {
    IS_FINISHING.load(Ordering::SeqCst)
}

/// Waits until the threads that give event loops their connections have left the interpreter, if the
/// program ends: whoever connects so late is the only one that still can.
#[pyfunction]
pub(super) fn settle_openings(py: Python<'_>) {
    if is_finishing() {
        py.detach(|| opener::settle(EXIT_TIME));
    }
}

#[pyfunction]
fn finish_connections(py: Python<'_>) {
    IS_FINISHING.store(true, Ordering::SeqCst);
    py.detach(|| {
        opener::finish(EXIT_TIME);
        client::finish(EXIT_TIME);
    });
}

/// Calls `show(mark, head)`: `>` for what is sent, `<` for what is received.
fn trace(show: Py<PyAny>) -> Trace {
    Trace::new(move |way, head| {
        let mark = if way == HeadDirection::Sent { ">" } else { "<" };
        Python::attach(|py| {
            if let Err(error) = show.call1(py, (mark, PyBytes::new(py, head))) {
                error.write_unraisable(py, Some(show.bind(py)));
            }
        });
    })
}

fn not_started(py: Python<'_>, error: &io::Error) -> PyErr {
    raised(py, ConnectError::of_system(error))
}

/// The exception of `fastwsh.errors`.
fn raised(py: Python<'_>, error: ConnectError) -> PyErr {
    static CLASSES: [PyOnceLock<Py<PyType>>; 5] = [const { PyOnceLock::new() }; 5];
    let (number, name) = match error.kind() {
        ConnectErrorKind::Argument => (0, "ConnectArgumentError"),
        ConnectErrorKind::Timeout => (1, "ConnectTimeoutError"),
        ConnectErrorKind::Status => (2, "ConnectRefusedError"),
        ConnectErrorKind::Connection => (3, "ConnectError"),
        ConnectErrorKind::Proxy => (4, "ConnectProxyError"),
    };
    let class = match CLASSES[number].import(py, "fastwsh.errors", name) {
        Ok(class) => class.clone(),
        Err(error) => return error,
    };
    let raised = PyErr::from_type(class, (error.to_string(),));
    let value = raised.value(py);
    let set = || match error {
        ConnectError::Status { status, headers, body, .. } => {
            value.setattr(intern!(py, "status"), status)?;
            value.setattr(intern!(py, "headers"), headers)?;
            value.setattr(intern!(py, "body"), PyBytes::new(py, &body))
        }
        ConnectError::Proxy { status, .. } => value.setattr(intern!(py, "status"), status),
        _ => Ok(()),
    };
    match set() {
        Ok(()) => raised,
        Err(error) => error,
    }
}
