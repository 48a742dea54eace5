//! `Stream`: pywebsocket's `stream.Stream`, one state machine over two transports.
//!
//! Over a connection of this server it reads and writes the socket itself, and releases the
//! interpreter whenever it may wait. Over any other object it calls that object's `read` and
//! `write`.
//!
//! No lock is held while Python code runs: handlers' hooks may call the stream again.

mod arguments;
mod assembly;
mod attributes;
mod closing;
mod codec_lock;
mod end_reporting;
mod frames;
mod masked_frame;
mod message;
mod payload;
mod python_input;
mod receive;
mod send;
mod send_deflated;
mod send_filtered;
mod send_queue;
mod underlying;
mod warnings;

use std::sync::{
    atomic::{AtomicBool, AtomicU8, Ordering},
    Mutex, OnceLock,
};

use pyo3::{
    exceptions::PyRuntimeError,
    intern,
    prelude::*,
    types::{PyBytes, PyDict, PyTuple},
    PyTraverseError, PyVisit,
};

pub(super) use self::{
    arguments::{kind_of, CloseArgument, EndArgument, ReasonArgument},
    send_queue::Unsent,
};
use self::{
    assembly::Assembly, python_input::PythonInputSlot, send_queue::SendQueue,
    underlying::Underlying,
};
use super::{
    argument::{bytes_of, Truthy},
    errors::StreamException,
    made::Made,
    options::{Direction, StreamOptions},
    waiting::{self, WaitError},
};
pub(super) use crate::connection::ReceiveGoal;
use crate::{
    locks::lock,
    protocol::{
        frame::Opcode,
        send::{FrameWriter, Piece},
    },
};

/// Opcode, payload, FIN, RSV1, RSV2 and RSV3, in pywebsocket's order.
type FrameFields<'py> = (u8, Bound<'py, PyBytes>, u8, u8, u8, u8);

/// No opcode has been received yet.
const NO_OPCODE: u8 = 0xff;

/// A WebSocket stream.
#[pyclass(frozen, subclass, weakref, dict, module = "fastwsh._core")]
pub(super) struct Stream {
    inner: OnceLock<Inner>,
    /// Set when `inner` may be read: zeroed memory is no empty `OnceLock`.
    is_made: Made,
}

struct Inner {
    request: Py<PyAny>,
    options: Py<PyAny>,
    /// The same options if they are of our own class, which is quicker to read.
    own_options: Option<Py<StreamOptions>>,
    /// The dict of the request's attributes, if it has one, which is quicker to read.
    attributes: Option<Py<PyDict>>,
    /// Whether to mask messages; control frames ask the options each time, as in pywebsocket.
    mask_send: bool,
    /// Whether frames must arrive masked, if the options are not of our own class.
    expect_masked: bool,
    writer: Mutex<FrameWriter>,
    /// Locked while a message is inflated.
    inflating: Mutex<()>,
    /// A large message that a coroutine has begun to receive.
    unfinished: Mutex<Option<Box<Assembly>>>,
    is_unfinished: AtomicBool,
    /// Locked from compressing a piece of a message until it is sent, or for a step of it.
    compressing: Mutex<()>,
    /// Messages of coroutines, which are compressed in steps.
    queue: SendQueue,
    /// What a connection in Python has sent. A native one has a receiving half of its own, but
    /// cannot be asked to put pushed frames together while another caller receives.
    python_input: PythonInputSlot,
    /// Bodies of pings that have not been answered.
    pings: Mutex<Vec<Vec<u8>>>,
    last_opcode: AtomicU8,
}

#[pymethods]
impl Stream {
    #[new]
    #[pyo3(signature = (*args, **kwargs), text_signature = "(request, options)")]
    fn new(args: &Bound<'_, PyTuple>, kwargs: Option<&Bound<'_, PyDict>>) -> Self {
        // a subclass may have other arguments; only those of `__init__` count
        let _ = (args, kwargs);
        Self { inner: OnceLock::new(), is_made: Made::NOT_YET }
    }

    fn __init__(&self, request: &Bound<'_, PyAny>, options: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = request.py();
        request.setattr(intern!(py, "client_terminated"), false)?;
        request.setattr(intern!(py, "server_terminated"), false)?;
        let expect_masked = options.getattr(intern!(py, "unmask_receive"))?.is_truthy()?;
        let attributes = request
            .getattr(intern!(py, "__dict__"))
            .ok()
            .and_then(|attributes| attributes.cast_into_exact::<PyDict>().ok())
            .filter(|attributes| {
                attributes.contains(intern!(py, "client_terminated")).unwrap_or(false)
            });
        let inner = Inner {
            request: request.clone().unbind(),
            options: options.clone().unbind(),
            own_options: options.cast::<StreamOptions>().ok().map(|own| own.clone().unbind()),
            attributes: attributes.map(Bound::unbind),
            mask_send: options.getattr(intern!(py, "mask_send"))?.is_truthy()?,
            expect_masked,
            writer: Mutex::default(),
            inflating: Mutex::default(),
            unfinished: Mutex::default(),
            is_unfinished: AtomicBool::new(false),
            compressing: Mutex::default(),
            queue: SendQueue::default(),
            python_input: PythonInputSlot::new(expect_masked),
            pings: Mutex::default(),
            last_opcode: AtomicU8::new(NO_OPCODE),
        };
        if self.inner.set(inner).is_err() {
            return Err(PyRuntimeError::new_err("the stream is initialised already"));
        }
        self.is_made.set();
        Ok(())
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        if let Some(inner) = self.get() {
            visit.call(&inner.request)?;
            visit.call(&inner.options)?;
            visit.call(&inner.own_options)?;
            visit.call(&inner.attributes)?;
        }
        Ok(())
    }

    #[getter(_request)]
    fn request(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.inner()?.request.clone_ref(py))
    }

    #[getter(_options)]
    fn options(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(self.inner()?.options.clone_ref(py))
    }

    /// Frees the received part of a message that will never be complete.
    fn _forget_received(&self, py: Python<'_>) -> PyResult<()> {
        let inner = self.inner()?;
        let unfinished = lock(&inner.unfinished).take();
        inner.is_unfinished.store(false, Ordering::Relaxed);
        inner.python_input.forget();
        if let Ok(Underlying::Native(connection)) = inner.underlying(py) {
            // a caller that still receives needs what it has received
            if let Some(mut half) = connection.get().transport.try_receive_half() {
                half.reader().forget();
            }
        }
        // not locked: freeing a Python object may run other code
        drop(unfinished);
        Ok(())
    }

    #[getter(_original_opcode)]
    fn original_opcode(&self) -> PyResult<Option<u8>> {
        self.get_last_received_opcode()
    }

    #[pyo3(text_signature = "(self)")]
    pub(super) fn get_last_received_opcode(&self) -> PyResult<Option<u8>> {
        let opcode = self.inner()?.last_opcode.load(Ordering::Relaxed);
        Ok((opcode != NO_OPCODE).then_some(opcode))
    }

    #[pyo3(signature = (message, end=EndArgument(true), binary=Truthy(false)))]
    #[pyo3(text_signature = "(self, message, end=True, binary=False)")]
    fn send_message(
        &self,
        message: &Bound<'_, PyAny>,
        end: EndArgument,
        binary: Truthy,
    ) -> PyResult<()> {
        let inner = self.inner()?;
        let piece = Piece::plain(kind_of(binary.0), end.0);
        let sent = inner.send_message(message, piece, None, &*waiting::current_scheduler());
        inner.note_end_of(message.py(), sent.map_err(WaitError::into_exception))
    }

    #[pyo3(text_signature = "(self)")]
    fn receive_message<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let received = Self::receive(slf, ReceiveGoal::Message, &*waiting::current_scheduler());
        received.map_err(WaitError::into_exception)
    }

    #[pyo3(signature = (code=1000.into(), reason=ReasonArgument(None), wait_response=Truthy(true)))]
    #[pyo3(text_signature = "(self, code=1000, reason='', wait_response=True)")]
    fn close_connection(
        slf: &Bound<'_, Self>,
        code: CloseArgument,
        reason: ReasonArgument,
        wait_response: Truthy,
    ) -> PyResult<()> {
        let inner = slf.get().inner()?;
        let CloseArgument(code) = code;
        let reason = reason.or_empty(slf.py());
        let reason = reason.bind(slf.py());
        inner.note_end_of(
            slf.py(),
            inner.close_connection(slf, code.as_ref(), reason, wait_response.0),
        )
    }

    #[pyo3(signature = (body, binary=Truthy(false)), text_signature = "(self, body, binary=False)")]
    fn send_ping(&self, body: &Bound<'_, PyAny>, binary: Truthy) -> PyResult<()> {
        let inner = self.inner()?;
        inner.note_end_of(body.py(), inner.send_ping(body, binary.0))
    }

    #[pyo3(text_signature = "(self, length)")]
    fn receive_bytes<'py>(&self, py: Python<'py>, length: i128) -> PyResult<Bound<'py, PyBytes>> {
        // nothing for a negative length, as in pywebsocket
        if length <= 0 {
            return Ok(PyBytes::new(py, &[]));
        }
        self.inner()?.receive_bytes(py, u64::try_from(length).unwrap_or(u64::MAX))
    }

    #[pyo3(text_signature = "(self)")]
    fn receive_filtered_frame<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.raw_inner(py)?.receive_filtered_frame(py)
    }

    fn _receive_frame<'py>(&self, py: Python<'py>) -> PyResult<FrameFields<'py>> {
        let received = self.raw_inner(py)?.receive_frame(py, &*waiting::current_scheduler());
        received.map_err(WaitError::into_exception)
    }

    fn _receive_frame_as_frame_object<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let received = self.raw_inner(py)?.receive_frame_object(py, &*waiting::current_scheduler());
        received.map_err(WaitError::into_exception)
    }

    fn _get_message_from_frame<'py>(
        &self,
        frame: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        self.inner()?.message_from_frame(frame)
    }

    fn _process_close_message(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner()?.process_close(message.py(), bytes_of(message)?.as_bytes())
    }

    fn _process_ping_message(slf: &Bound<'_, Self>, message: &Bound<'_, PyAny>) -> PyResult<()> {
        slf.get().inner()?.process_ping(slf, bytes_of(message)?.as_bytes())
    }

    fn _process_pong_message(&self, message: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner()?.process_pong(message.py(), bytes_of(message)?.as_bytes())
    }

    #[pyo3(signature = (code, reason))]
    fn _send_closing_handshake(
        &self,
        code: CloseArgument,
        reason: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let CloseArgument(code) = code;
        self.inner()?.send_closing_handshake(code.as_ref(), reason).map(|_| ())
    }

    fn _send_pong(&self, body: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner()?.send_control(Opcode::PONG, body)
    }

    fn _write(&self, bytes_to_write: &Bound<'_, PyAny>) -> PyResult<()> {
        self.inner()?.write_raw(bytes_to_write)
    }

    fn _read<'py>(&self, py: Python<'py>, length: u64) -> PyResult<Bound<'py, PyBytes>> {
        self.inner()?.receive_bytes(py, length)
    }
}

impl Inner {
    /// Whether frames must arrive masked. Handlers may change their mind.
    #[inline]
    fn expects_masked(&self) -> bool {
        self.own_options.as_ref().map_or(self.expect_masked, |own| own.get().expects_masked())
    }
}

impl Stream {
    fn inner(&self) -> PyResult<&Inner> {
        self.get().ok_or_else(|| PyRuntimeError::new_err("Stream.__init__ was not called"))
    }

    /// The state, for a handler that reads frames or bytes itself.
    fn raw_inner(&self, py: Python<'_>) -> PyResult<&Inner> {
        let inner = self.inner()?;
        inner.note_raw(py)?;
        Ok(inner)
    }

    fn get(&self) -> Option<&Inner> {
        if self.is_made.get() {
            self.inner.get()
        } else {
            None
        }
    }
}
