//! `fastwsh._core`: the extension module. It is thin: it has no protocol rule and no socket code.

mod argument;
mod backplane_queue;
mod client;
mod clock;
mod compile;
mod connection;
mod deflate;
mod descriptor;
mod dispatch;
mod errors;
mod event_loop;
mod functions;
mod handler_job;
mod header;
mod hub;
mod inspection;
mod limits;
mod made;
mod opener;
mod options;
mod proxies;
mod server;
mod stream;
mod thread_wait;
mod topics;
mod waiting;
mod worker;

use pyo3::{prelude::*, sync::PyOnceLock, types::PyType};

use crate::protocol::HandshakeError;

/// The native half of fastwsh: protocol rules, sockets and the stream state machine.
#[pymodule(gil_used = false)]
mod _core {
    use pyo3::{
        prelude::*,
        types::{PyCFunction, PyDict, PyTuple},
    };

    use super::hub::Hub;
    #[pymodule_export]
    use super::{
        backplane_queue::BackplaneQueue,
        client::{connect, connect_async, is_finishing, settle_openings},
        clock::{real_monotonic, real_time},
        compile::compile_source,
        connection::Connection,
        deflate::{
            DeflateFramer, DeflateOffer, IncomingFrameFilter, IncomingMessageFilter,
            OutgoingFrameFilter, OutgoingMessageFilter, RawDeflater, RawInflater,
        },
        descriptor::duplicate_socket,
        event_loop::{
            drain_sends, AsyncConnection, AsyncConnectionGuard, AsyncStream, EventLoop, Operation,
            OperationFuture,
        },
        functions::{
            apply_mask, check_header_field, compute_accept, create_closing_handshake_body,
            create_header, create_length_header, decode_key, parse_extensions, parse_token_list,
            parse_uri, parse_window_bits, quote_if_necessary, scan_lws, scan_quoted_string,
            scan_token, unescape_path,
        },
        header::HeaderDecoder,
        inspection::Inspection,
        options::StreamOptions,
        server::Server,
        stream::Stream,
        thread_wait::call_within,
        topics::{check_topic, Topics},
        worker::{available_parallelism, end_with_peer},
    };

    /// Registers the function that must run last when the interpreter ends.
    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        let py = module.py();
        let end = PyCFunction::new_closure(
            py,
            None,
            None,
            |_: &Bound<'_, PyTuple>, _: Option<&Bound<'_, PyDict>>| Hub::end_all(),
        )?;
        py.import("atexit")?.call_method1("register", (end,)).map(drop)
    }

    #[pymodule_export]
    #[allow(non_upper_case_globals, reason = "Python's name for it")]
    const __version__: &str = env!("CARGO_PKG_VERSION");
}

/// The exception that `Connection.open` raises if the opening handshake is not acceptable.
fn session_error(py: Python<'_>, error: &HandshakeError) -> PyErr {
    static HANDSHAKE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static VERSION: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    const MODULE: &str = "fastwsh.pywebsocket.handshake.base";
    let text = error.to_string();
    let raised = match error.supported_versions() {
        Some(versions) => VERSION
            .import(py, MODULE, "VersionException")
            .map(|class| PyErr::from_type(class.clone(), (text, versions))),
        None => HANDSHAKE
            .import(py, MODULE, "HandshakeException")
            .map(|class| PyErr::from_type(class.clone(), (text, error.status()))),
    };
    raised.unwrap_or_else(|error| error)
}

/// `repr()` of an object, for a message.
fn repr(object: &Bound<'_, PyAny>) -> String {
    object.repr().map_or_else(|_| "?".to_owned(), |text| text.to_string_lossy().into_owned())
}
