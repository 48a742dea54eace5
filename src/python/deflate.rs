//! DEFLATE for Python.
//!
//! If the filter lists of a stream are exactly the four filters of one [`DeflateFramer`], the
//! stream calls the framer directly. The methods of the filters are for handlers that call the
//! filters or move them to other lists.

mod filters;
mod offer;
mod raw;

use std::sync::Mutex;

use pyo3::{intern, prelude::*};

use self::filters::append;
pub(super) use self::{
    filters::{
        incoming_framer, outgoing_framer, IncomingFrameFilter, IncomingMessageFilter,
        OutgoingFrameFilter, OutgoingMessageFilter,
    },
    offer::DeflateOffer,
    raw::{RawDeflater, RawInflater},
};
use super::errors::value_error;
use crate::{
    locks::lock,
    protocol::{
        deflate::{
            DeflateLevel, Inflating, MessageDeflater, MessageInflater, PieceEnd, WindowBits,
        },
        ProtocolError,
    },
    topics::Compression,
};

/// Messages from this size on are compressed and decompressed while other threads run Python.
const DETACH_MIN: usize = 8 * 1024;

/// The most that is compressed without a pause; it takes a millisecond or two.
pub(super) const DEFLATE_AT_ONCE: usize = 64 * 1024;

/// permessage-deflate on one stream.
#[pyclass(frozen, module = "fastwsh._core")]
pub(super) struct DeflateFramer {
    outgoing: Mutex<CompressionState>,
    incoming: Mutex<DecompressionState>,
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "two switches of the handler, two facts of the message"
)]
struct CompressionState {
    deflater: MessageDeflater,
    window: Option<WindowBits>,
    no_context_takeover: bool,
    level: DeflateLevel,
    /// Messages below this size are sent uncompressed.
    min_bytes: usize,
    bfinal: bool,
    enabled: bool,
    /// A compressed message has begun and not ended.
    ongoing: bool,
    /// The next data frame has RSV1 set.
    mark_next: bool,
}

impl CompressionState {
    /// Begins with an empty window.
    fn renew(&mut self) {
        let Self { window, no_context_takeover, level, .. } = *self;
        self.deflater = MessageDeflater::with_level(window, no_context_takeover, level);
    }
}

/// A piece of a message that is compressed in steps.
#[derive(Default)]
pub(super) struct Deflating {
    /// The size of what has been compressed.
    used: usize,
    pub(super) output: Vec<u8>,
}

struct DecompressionState {
    inflater: MessageInflater,
    /// The most bytes of an inflated message.
    max_bytes: u64,
    /// The current message is compressed; for the filters only.
    inflate_next: bool,
}

#[pymethods]
impl DeflateFramer {
    #[new]
    #[pyo3(signature = (deflate_max_window_bits, deflate_no_context_takeover))]
    fn new(
        deflate_max_window_bits: Option<i64>,
        deflate_no_context_takeover: bool,
    ) -> PyResult<Self> {
        let window =
            deflate_max_window_bits.map(WindowBits::new).transpose().map_err(value_error)?;
        Ok(Self {
            outgoing: Mutex::new(CompressionState {
                deflater: MessageDeflater::new(window, deflate_no_context_takeover),
                window,
                no_context_takeover: deflate_no_context_takeover,
                level: DeflateLevel::PYWEBSOCKET,
                min_bytes: 0,
                bfinal: false,
                enabled: false,
                ongoing: false,
                mark_next: false,
            }),
            incoming: Mutex::new(DecompressionState {
                inflater: MessageInflater::default(),
                max_bytes: u64::MAX,
                inflate_next: false,
            }),
        })
    }

    #[pyo3(signature = (max_bytes), text_signature = "(self, max_bytes)")]
    fn set_max_inflated_bytes(&self, max_bytes: Option<u64>) {
        lock(&self.incoming).max_bytes = max_bytes.unwrap_or(u64::MAX);
    }

    #[pyo3(text_signature = "(self, level, min_bytes)")]
    fn set_compression(&self, level: i64, min_bytes: usize) -> PyResult<()> {
        let level = DeflateLevel::new(level).map_err(value_error)?;
        let mut outgoing = lock(&self.outgoing);
        outgoing.level = level;
        outgoing.min_bytes = min_bytes;
        outgoing.renew();
        Ok(())
    }

    #[pyo3(text_signature = "(self, value)")]
    fn set_bfinal(&self, value: bool) {
        lock(&self.outgoing).bfinal = value;
    }

    #[pyo3(text_signature = "(self, value)")]
    fn set_compress_outgoing_enabled(&self, value: bool) {
        lock(&self.outgoing).enabled = value;
    }

    #[pyo3(text_signature = "(self, stream_options)")]
    fn setup_stream_options(
        slf: &Bound<'_, Self>,
        stream_options: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let py = slf.py();
        let framer = || slf.clone().unbind();
        append(stream_options, "outgoing_message_filters", OutgoingMessageFilter(framer()))?;
        append(stream_options, "incoming_message_filters", IncomingMessageFilter(framer()))?;
        append(stream_options, "outgoing_frame_filters", OutgoingFrameFilter(framer()))?;
        append(stream_options, "incoming_frame_filters", IncomingFrameFilter(framer()))?;
        stream_options.setattr(intern!(py, "encode_text_message_to_utf8"), false)
    }
}

impl DeflateFramer {
    /// Compresses a piece of a message. Also returns whether its frame must have RSV1 set, to mark
    /// the message as compressed (RFC 7692 6). Returns `None` while compression is switched off.
    ///
    /// A large piece is compressed in steps, and `pause` is called between them.
    ///
    /// # Errors
    /// If `pause` fails.
    pub(super) fn deflate(
        &self,
        py: Python<'_>,
        piece: &[u8],
        end: bool,
        mut pause: impl FnMut() -> PyResult<()>,
    ) -> PyResult<Option<(Vec<u8>, bool)>> {
        if !self.compresses(piece, end) {
            return Ok(None);
        }
        let mut deflating = Deflating::default();
        loop {
            if let Some(is_first) = self.deflate_step(py, piece, end, &mut deflating) {
                return Ok(Some((deflating.output, is_first)));
            }
            if let Err(error) = pause() {
                self.give_up(&deflating);
                return Err(error);
            }
        }
    }

    /// How messages of topics are compressed: only if connections can share the result.
    pub(super) fn shared_compression(&self) -> Option<Compression> {
        let outgoing = lock(&self.outgoing);
        let CompressionState { window, level, min_bytes, .. } = *outgoing;
        let can_share = outgoing.enabled && outgoing.no_context_takeover && !outgoing.bfinal;
        can_share.then_some(Compression { window, level, min_bytes })
    }

    /// Whether a piece that is sent now is compressed.
    pub(super) fn compresses(&self, piece: &[u8], end: bool) -> bool {
        let outgoing = lock(&self.outgoing);
        let is_small = end && !outgoing.ongoing && piece.len() < outgoing.min_bytes;
        outgoing.enabled && !is_small
    }

    /// Compresses a bounded part of a piece. After the last part, returns whether the frame of the
    /// piece must have RSV1 set.
    ///
    /// Until then, no other piece may be compressed.
    pub(super) fn deflate_step(
        &self,
        py: Python<'_>,
        piece: &[u8],
        end: bool,
        deflating: &mut Deflating,
    ) -> Option<bool> {
        let Deflating { used, output } = deflating;
        let rest = piece.get(*used..).unwrap_or_default();
        if let Some((part, _)) =
            rest.split_at_checked(DEFLATE_AT_ONCE).filter(|(_, later)| !later.is_empty())
        {
            py.detach(|| lock(&self.outgoing).deflater.deflate_beginning(part, output));
            *used += part.len();
            return None;
        }
        let mut work = || {
            let mut outgoing = lock(&self.outgoing);
            let ending = match (end, outgoing.bfinal) {
                (_, true) => PieceEnd::FinalBlock,
                (true, false) => PieceEnd::Message,
                (false, false) => PieceEnd::Piece,
            };
            outgoing.deflater.deflate_into(rest, ending, output);
            let is_first = !outgoing.ongoing;
            outgoing.ongoing = !end;
            is_first
        };
        Some(if rest.len() < DETACH_MIN { work() } else { py.detach(work) })
    }

    /// Forgets a piece that will not be sent: nothing later may refer to it.
    pub(super) fn give_up(&self, deflating: &Deflating) {
        if deflating.used > 0 {
            lock(&self.outgoing).renew();
        }
    }

    /// Notes a piece that may not be sent. If it was the last of a message, the next piece begins a
    /// compressed message, as pywebsocket has it; coroutines, which it does not know, need not.
    pub(super) fn skip(&self, piece: &[u8], end: bool) {
        if self.compresses(piece, end) {
            lock(&self.outgoing).ongoing = !end;
        }
    }

    /// Whether the next data frame begins a compressed message; for filters of handlers.
    fn take_mark(&self) -> bool {
        std::mem::take(&mut lock(&self.outgoing).mark_next)
    }

    /// Decompresses a bounded part of a message, and returns whether that was all.
    pub(super) fn inflate_step(
        &self,
        py: Python<'_>,
        message: &mut Inflating,
    ) -> Result<bool, ProtocolError> {
        py.detach(|| {
            let DecompressionState { inflater, max_bytes, .. } = &mut *lock(&self.incoming);
            inflater.step(message, *max_bytes)
        })
    }

    /// Decompresses a whole message.
    pub(super) fn inflate(&self, py: Python<'_>, payload: &[u8]) -> Result<Vec<u8>, ProtocolError> {
        let work = || {
            let DecompressionState { inflater, max_bytes, .. } = &mut *lock(&self.incoming);
            inflater.inflate(payload, *max_bytes)
        };
        if payload.len() < DETACH_MIN / 8 {
            work()
        } else {
            py.detach(work)
        }
    }
}
