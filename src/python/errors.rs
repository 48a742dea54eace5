//! Converts Rust's errors to the exception classes that pywebsocket's handlers catch. The classes
//! are written in Python, in `fastwsh.pywebsocket`, and are imported when the first exception is
//! raised.

use std::io;

use pyo3::{
    exceptions::{PyBlockingIOError, PyConnectionError, PyOSError, PyValueError},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyTuple, PyType},
    BoundObject,
};
use rustix::io::Errno;

use crate::{
    connection::Transport,
    os_error::strerror,
    protocol::{close::CloseCode, ProtocolError, SendError},
};

const STREAM_EXCEPTIONS: &str = "fastwsh.pywebsocket._stream_exceptions";

/// What a call is told that reads from a connection whose handler has ended. It begins with Python's
/// words for a closed file.
pub(super) const ENDED: &str =
    "I/O operation on closed file: the handler of this connection has ended";

/// An exception class of `fastwsh.pywebsocket._stream_exceptions`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamException {
    BadOperation,
    ConnectionEnded,
    ConnectionTerminated,
    ConnectionLost,
    ConnectionTimedOut,
    InvalidFrame,
    InvalidUtf8,
    UnsupportedFrame,
}

impl StreamException {
    fn class(self, py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
        static CLASSES: [PyOnceLock<Py<PyType>>; 8] = [const { PyOnceLock::new() }; 8];
        let name = match self {
            Self::BadOperation => "BadOperationException",
            Self::ConnectionEnded => "ConnectionEndedException",
            Self::ConnectionTerminated => "ConnectionTerminatedException",
            Self::ConnectionLost => "ConnectionLostException",
            Self::ConnectionTimedOut => "ConnectionTimedOutException",
            Self::InvalidFrame => "InvalidFrameException",
            Self::InvalidUtf8 => "InvalidUTF8Exception",
            Self::UnsupportedFrame => "UnsupportedFrameException",
        };
        CLASSES[self as usize].import(py, STREAM_EXCEPTIONS, name)
    }

    /// Whether an exception is of exactly this class.
    pub(super) fn is(self, py: Python<'_>, error: &PyErr) -> bool {
        self.class(py).is_ok_and(|class| error.get_type(py).is(class))
    }

    /// An exception with one argument.
    #[cold]
    pub(super) fn with<'py, T>(self, py: Python<'py>, argument: T) -> PyErr
    where
        T: IntoPyObject<'py>,
    {
        let argument = match argument.into_pyobject(py) {
            Ok(argument) => argument.into_any().unbind(),
            Err(error) => return error.into(),
        };
        match self.class(py) {
            Ok(class) => PyErr::from_type(class.clone(), (argument,)),
            Err(error) => error,
        }
    }
}

/// The exception of a stream when the peer has broken a rule.
///
/// If the close code is not the usual one of the class, the attribute `close_code` has it.
/// `close_reason` has a text if there is one.
#[cold]
pub(super) fn protocol_error(py: Python<'_>, error: &ProtocolError, strict_compat: bool) -> PyErr {
    let (kind, code) = match error {
        ProtocolError::BadText { text, .. } => {
            let raised = invalid_utf8(py, text);
            return mark_mid_frame(py, raised, error);
        }
        ProtocolError::ReservedBits(_) | ProtocolError::ReservedOpcode(_) if strict_compat => {
            (StreamException::UnsupportedFrame, None)
        }
        ProtocolError::ReservedBits(_) | ProtocolError::ReservedOpcode(_) => {
            (StreamException::UnsupportedFrame, Some(error.close_code()))
        }
        _ => {
            let code = error.close_code();
            (StreamException::InvalidFrame, (code != CloseCode::PROTOCOL_ERROR).then_some(code))
        }
    };
    let text = match limit_option(error) {
        Some(option) => format!("{error} ({option})"),
        None => error.to_string(),
    };
    let raised = kind.with(py, text);
    if let Some(code) = code {
        if let Err(error) = raised.value(py).setattr(intern!(py, "close_code"), code.0) {
            return error;
        }
    }
    if let Some(reason) = error.close_reason() {
        if let Err(error) = raised.value(py).setattr(intern!(py, "close_reason"), reason) {
            return error;
        }
    }
    mark_mid_frame(py, raised, error)
}

/// The command-line option that sets the limit which a peer has exceeded.
fn limit_option(error: &ProtocolError) -> Option<&'static str> {
    match error {
        ProtocolError::MessageTooBig { .. } => Some("--max-message-bytes"),
        ProtocolError::InflatedTooBig { .. } => Some("--max-inflated-bytes"),
        ProtocolError::FrameTooBig { .. } => Some("--max-frame-bytes"),
        ProtocolError::TooManyFragments { .. } => Some("--max-fragments"),
        _ => None,
    }
}

/// Marks the exception, so that the code that closes the connection does not wait for the peer's
/// close frame.
fn mark_mid_frame(py: Python<'_>, raised: PyErr, error: &ProtocolError) -> PyErr {
    if error.is_mid_frame() {
        if let Err(error) = raised.value(py).setattr(intern!(py, "awaits_close"), false) {
            return error;
        }
    }
    raised
}

/// `InvalidUTF8Exception(UnicodeDecodeError(...))`, worded by Python's own decoder.
#[cold]
pub(super) fn invalid_utf8(py: Python<'_>, text: &[u8]) -> PyErr {
    let decoded = PyBytes::new(py, text).call_method1(intern!(py, "decode"), ("utf-8",));
    match decoded {
        Err(cause) => StreamException::InvalidUtf8.with(py, cause.into_value(py)),
        Ok(_) => StreamException::InvalidUtf8.with(py, "text is not valid UTF-8"),
    }
}

/// The same for a piece of a text, which begins at `offset`.
pub(super) fn invalid_utf8_piece(py: Python<'_>, piece: &[u8], offset: usize) -> PyErr {
    let error = invalid_utf8(py, piece);
    let worded = || -> PyResult<String> {
        let cause = error.value(py).getattr(intern!(py, "args"))?.get_item(0)?;
        let start: usize = cause.getattr(intern!(py, "start"))?.extract()?;
        let end: usize = cause.getattr(intern!(py, "end"))?.extract()?;
        let reason: String = cause.getattr(intern!(py, "reason"))?.extract()?;
        let (first, last) = (start + offset, (end + offset).saturating_sub(1));
        Ok(if first == last {
            let byte = piece.get(start).copied().unwrap_or_default();
            format!("'utf-8' codec can't decode byte {byte:#04x} in position {first}: {reason}")
        } else {
            format!("'utf-8' codec can't decode bytes in position {first}-{last}: {reason}")
        })
    };
    match worded() {
        Ok(text) => StreamException::InvalidUtf8.with(py, text),
        Err(_) => error,
    }
}

/// Whether an exception means that the connection is lost, or that it must be closed because of
/// what the peer has sent.
pub(super) fn ends_connection(py: Python<'_>, error: &PyErr) -> bool {
    if error.is_instance_of::<PyOSError>(py) {
        // not the end: a call that will be repeated raises this
        return !error.is_instance_of::<PyBlockingIOError>(py);
    }
    [
        StreamException::ConnectionTerminated,
        StreamException::InvalidFrame,
        StreamException::InvalidUtf8,
        StreamException::UnsupportedFrame,
    ]
    .iter()
    .any(|kind| kind.class(py).is_ok_and(|class| error.matches(py, class).unwrap_or(false)))
}

/// The exception for a mistake of our own user in sending.
#[cold]
pub(super) fn send_error(py: Python<'_>, error: &SendError) -> PyErr {
    StreamException::BadOperation.with(py, error.to_string())
}

/// The exception for a value that a function cannot accept.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
#[cold]
pub(super) fn value_error(error: impl ToString) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// An `OSError` of the right subclass, with its number.
#[cold]
pub(super) fn os_error(error: &io::Error) -> PyErr {
    match number_and_text(error) {
        Some(arguments) => PyOSError::new_err(arguments),
        None => PyOSError::new_err(strerror(error)),
    }
}

/// The exception for an error of a connection. If the connection is lost, pywebsocket's exception
/// and Python's own are one.
#[cold]
pub(super) fn connection_error(py: Python<'_>, error: &io::Error) -> PyErr {
    let kind = match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::NotConnected
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown => StreamException::ConnectionLost,
        io::ErrorKind::TimedOut => StreamException::ConnectionTimedOut,
        _ => return os_error(error),
    };
    let Some(arguments) = number_and_text(error) else { return os_error(error) };
    match kind.class(py) {
        Ok(class) => PyErr::from_type(class.clone(), arguments),
        Err(error) => error,
    }
}

/// The same for a call that sends. After the handler has ended it is told what a program is told
/// that has closed its socket itself, as in pywebsocket.
#[cold]
pub(super) fn sending_error(py: Python<'_>, transport: &Transport, error: &io::Error) -> PyErr {
    let is_our_end = error.raw_os_error().is_none() && error.kind() == io::ErrorKind::BrokenPipe;
    if is_our_end && transport.closing().has_handler_ended() {
        let (number, text) = (Errno::BADF.raw_os_error(), strerror(&Errno::BADF.into()));
        return match StreamException::ConnectionLost.class(py) {
            Ok(class) => PyErr::from_type(class.clone(), (number, text)),
            Err(error) => error,
        };
    }
    connection_error(py, error)
}

/// The same for a call that reads raw bytes. After the handler has ended it is told what a closed
/// file would tell it, as in pywebsocket.
#[cold]
pub(super) fn reading_error(py: Python<'_>, transport: &Transport, error: &io::Error) -> PyErr {
    if error.kind() == io::ErrorKind::NotConnected && transport.closing().has_handler_ended() {
        return StreamException::ConnectionEnded.with(py, ENDED);
    }
    connection_error(py, error)
}

/// The same for an exception that a connection in Python has raised.
#[cold]
pub(super) fn as_connection_error(py: Python<'_>, error: PyErr) -> PyErr {
    let is_told = StreamException::ConnectionTerminated
        .class(py)
        .is_ok_and(|class| error.matches(py, class).unwrap_or(false));
    if is_told || !error.is_instance_of::<PyConnectionError>(py) {
        return error;
    }
    let told = || -> PyResult<PyErr> {
        let class = StreamException::ConnectionLost.class(py)?;
        let arguments = error.value(py).getattr(intern!(py, "args"))?;
        let told = class.call1(arguments.cast_into::<PyTuple>()?)?;
        Ok(PyErr::from_value(told))
    };
    match told() {
        Ok(told) => {
            told.set_cause(py, Some(error));
            told
        }
        Err(_) => error,
    }
}

fn number_and_text(error: &io::Error) -> Option<(i32, String)> {
    let error = match (error.raw_os_error(), error.kind()) {
        (Some(number), _) => io::Error::from_raw_os_error(number),
        // our own error: the connection was closed on this side, or the number was lost on the way
        (None, io::ErrorKind::BrokenPipe) => Errno::PIPE.into(),
        (None, io::ErrorKind::ConnectionReset) => Errno::CONNRESET.into(),
        (None, io::ErrorKind::ConnectionAborted) => Errno::CONNABORTED.into(),
        (None, io::ErrorKind::NotConnected) => Errno::NOTCONN.into(),
        (None, io::ErrorKind::HostUnreachable) => Errno::HOSTUNREACH.into(),
        (None, io::ErrorKind::TimedOut) => Errno::TIMEDOUT.into(),
        _ => return None,
    };
    let number = error.raw_os_error()?;
    Some((number, strerror(&error)))
}
