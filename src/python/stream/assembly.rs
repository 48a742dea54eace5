//! Makes the object for a large message in steps, and lets others that share the thread run in
//! between: 60 kB from a peer may inflate to 60 MiB, and the memory alone takes tens of
//! milliseconds.

use pyo3::{
    intern,
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::{
    protocol::{deflate::Inflating, frame::Opcode, utf8::whole_characters, ProtocolError},
    python::{deflate::DeflateFramer, errors::invalid_utf8_piece},
};

/// Smaller payloads are made into an object at once.
pub(super) const LARGE: usize = 1024 * 1024;

/// Where the payload comes from.
enum Source {
    Plain { payload: Vec<u8>, used: usize },
    Deflated(Inflating),
}

/// A large message for which a part of the object is made.
pub(super) struct Assembly {
    pub(super) opcode: Opcode,
    source: Source,
    /// Keeps the finished part: an `io.BytesIO` or `io.StringIO`, which give their memory away in the
    /// end instead of copying it.
    buffer: Option<Py<PyAny>>,
    /// The beginning of a character that goes on in the next piece.
    cut: Vec<u8>,
    /// The size of the payload so far.
    pub(super) size: usize,
}

/// Why a message cannot be assembled.
pub(super) enum AssemblyError {
    Protocol(ProtocolError),
    Raised(PyErr),
}

impl From<PyErr> for AssemblyError {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

impl Assembly {
    pub(super) fn plain(opcode: Opcode, payload: Vec<u8>) -> Self {
        Self::new(opcode, Source::Plain { payload, used: 0 })
    }

    pub(super) fn deflated(opcode: Opcode, payload: Vec<u8>) -> Self {
        Self::new(opcode, Source::Deflated(Inflating::new(payload)))
    }

    fn new(opcode: Opcode, source: Source) -> Self {
        Self { opcode, source, buffer: None, cut: Vec::new(), size: 0 }
    }

    /// Whether no other message may be inflated before this one is whole.
    pub(super) fn is_deflated(&self) -> bool {
        matches!(self.source, Source::Deflated(_))
    }

    /// Does a bounded part of the work. Returns the object when it is whole.
    ///
    /// `framer` inflates; it is the one by which the message was begun.
    pub(super) fn step<'py>(
        &mut self,
        py: Python<'py>,
        framer: Option<&DeflateFramer>,
    ) -> Result<Option<Bound<'py, PyAny>>, AssemblyError> {
        let inflated;
        let (piece, is_last) = match &mut self.source {
            Source::Plain { payload, used } => {
                let begin = *used;
                *used = payload.len().min(begin + LARGE);
                (&payload[begin..*used], *used == payload.len())
            }
            Source::Deflated(message) => {
                // without a framer the handler has removed the extension meanwhile
                let framer = framer.ok_or(AssemblyError::Protocol(ProtocolError::BadDeflate))?;
                let is_last = framer.inflate_step(py, message).map_err(AssemblyError::Protocol)?;
                inflated = message.take_output();
                (&inflated[..], is_last)
            }
        };
        let offset = self.size;
        self.size += piece.len();
        let made = if self.opcode == Opcode::TEXT {
            let joined;
            let piece = if self.cut.is_empty() {
                piece
            } else {
                joined = [&self.cut[..], piece].concat();
                &joined[..]
            };
            let offset = offset - self.cut.len();
            let whole = if is_last { piece.len() } else { whole_characters(piece) };
            let text = PyString::from_bytes(py, &piece[..whole])
                .map_err(|_| invalid_utf8_piece(py, piece, offset))?;
            self.cut = piece[whole..].to_vec();
            text.into_any()
        } else {
            PyBytes::new(py, piece).into_any()
        };
        if is_last && self.buffer.is_none() {
            return Ok(Some(made));
        }
        let buffer = self.buffer(py)?;
        buffer.call_method1(intern!(py, "write"), (made,))?;
        if is_last {
            return Ok(Some(buffer.call_method0(intern!(py, "getvalue"))?));
        }
        Ok(None)
    }

    fn buffer<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        if let Some(buffer) = &self.buffer {
            return Ok(buffer.bind(py).clone());
        }
        let io = py.import(intern!(py, "io"))?;
        let buffer = if self.opcode == Opcode::TEXT {
            // an empty newline: nothing is translated
            io.getattr(intern!(py, "StringIO"))?.call1(("", ""))?
        } else {
            io.getattr(intern!(py, "BytesIO"))?.call0()?
        };
        self.buffer = Some(buffer.clone().unbind());
        Ok(buffer)
    }
}
