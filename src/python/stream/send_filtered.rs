//! Sends through the filters of a stream: permessage-deflate, or those of a handler's own.

use pyo3::{intern, prelude::*, types::PyBytes};

use super::{
    lock,
    send::{encoded, note_sent},
    send_queue::Unsent,
    Inner, Underlying,
};
use crate::{
    protocol::{
        frame::{FrameHeader, Opcode},
        send::{control, Piece},
    },
    python::{
        argument::bytes_of,
        deflate::outgoing_framer,
        errors::{send_error, value_error},
        waiting::{Scheduler, WaitError},
    },
};

impl Inner {
    /// Sends a piece of a message on a stream whose lists of filters someone has looked at. Not inlined:
    /// most streams have none.
    #[inline(never)]
    pub(super) fn send_through_filters(
        &self,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        piece: Piece,
        message: &Bound<'_, PyAny>,
        unsent: Option<&mut Unsent>,
    ) -> Result<(), WaitError> {
        let py = message.py();
        let (end, binary) = (piece.end, piece.kind == Opcode::BINARY);
        let (frame_filters, message_filters) = self.filters(
            py,
            intern!(py, "outgoing_frame_filters"),
            intern!(py, "outgoing_message_filters"),
        )?;
        if frame_filters.is_empty() && message_filters.is_empty() {
            return Ok(self.send_plain(underlying, scheduler, piece, message)?);
        }
        if let Some(framer) = outgoing_framer(&frame_filters, &message_filters) {
            return self.send_deflated(underlying, scheduler, &framer, piece, message, unsent);
        }
        // filters of the handler's own: call them as pywebsocket does, message filters first
        let mut message = message.clone();
        for filter in &message_filters {
            message = filter.call_method1(intern!(py, "filter"), (message, end, binary))?;
        }
        let encode = self.options.bind(py).getattr(intern!(py, "encode_text_message_to_utf8"))?;
        let bytes = encoded(&message, binary || !encode.is_truthy()?)
            .map_err(|error| self.unsendable(py, piece, error))?;
        let key = self.masking_key()?;
        let header =
            lock(&self.writer).data(piece, 0, key).map_err(|error| send_error(py, &error))?;
        note_sent(underlying, piece, bytes.as_bytes().len());
        let (header, payload) = self.filtered(&header, bytes.as_any())?;
        Ok(self.send_frame(py, underlying, scheduler, &header, payload.as_bytes())?)
    }

    /// Lets a handler's own filters change a frame.
    pub(super) fn filtered<'py>(
        &self,
        header: &FrameHeader,
        payload: &Bound<'py, PyAny>,
    ) -> PyResult<(FrameHeader, Bound<'py, PyBytes>)> {
        let py = payload.py();
        let module = py.import("fastwsh.pywebsocket.stream")?;
        let frame = module.getattr("Frame")?.call1((
            u8::from(header.fin),
            0,
            0,
            0,
            header.opcode.value(),
            payload,
        ))?;
        let (frame_filters, _) = self.filters(
            py,
            intern!(py, "outgoing_frame_filters"),
            intern!(py, "outgoing_message_filters"),
        )?;
        for filter in &frame_filters {
            filter.call_method1(intern!(py, "filter"), (&frame,))?;
        }
        let payload = bytes_of(&frame.getattr("payload")?)?;
        let opcode: u8 = frame.getattr("opcode")?.extract()?;
        let opcode = Opcode::new(opcode).map_err(value_error)?;
        if opcode.is_control() {
            control(opcode, payload.as_bytes().len(), None)
                .map_err(|error| send_error(py, &error))?;
        }
        let mut reserved = 0;
        for name in ["rsv1", "rsv2", "rsv3"] {
            reserved = (reserved << 1) | u8::from(frame.getattr(name)?.is_truthy()?);
        }
        let header = FrameHeader {
            fin: frame.getattr("fin")?.is_truthy()?,
            reserved,
            opcode,
            masking_key: header.masking_key,
            length: payload.as_bytes().len() as u64,
            length_octets: 1,
        };
        Ok((header, payload))
    }
}
