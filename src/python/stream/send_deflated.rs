//! Sends compressed messages in the order of their calls, and compresses the large ones of coroutines
//! in steps, between which others run.
//!
//! A coroutine repeats its call. Until then the queue keeps the part of its message that has been
//! compressed. The caller that holds the lock always goes on with the first message of the queue, also
//! if that is the message of another task: messages leave in the order of their calls, and no task
//! depends on when another one runs again.

use pyo3::{intern, prelude::*};

use super::{
    codec_lock::{lock_codec, CodecGuard},
    lock,
    send::encoded,
    send_queue::{PendingSend, Queued, Unsent},
    Inner, Stream, Underlying,
};
use crate::{
    locks::try_lock,
    protocol::{frame::Opcode, send::Piece},
    python::{
        deflate::{outgoing_framer, DeflateFramer, DEFLATE_AT_ONCE},
        errors::send_error,
        waiting::{Scheduler, WaitError},
    },
    topics::Compression,
};

impl Stream {
    /// Sends a message for a caller that repeats the call, with the same `unsent`, if it must let
    /// others run first.
    pub(in crate::python) fn send(
        &self,
        message: &Bound<'_, PyAny>,
        piece: Piece,
        unsent: &mut Unsent,
        scheduler: &dyn Scheduler,
    ) -> Result<(), WaitError> {
        let inner = self.inner()?;
        let sent = inner.send_message(message, piece, Some(unsent), scheduler);
        inner.note_end_of_wait(message.py(), sent)
    }

    /// Sends the messages that have begun before.
    pub(in crate::python) fn send_earlier(
        &self,
        py: Python<'_>,
        scheduler: &dyn Scheduler,
    ) -> Result<(), WaitError> {
        let inner = self.inner()?;
        if !inner.queue.is_used() {
            return Ok(());
        }
        inner.send_pending(py, &inner.underlying(py)?, scheduler, None)
    }

    /// How messages of topics are compressed on this stream: only if other connections can share the
    /// result. Filters of the handler's own do not see these messages.
    pub(in crate::python) fn shared_compression(
        &self,
        py: Python<'_>,
    ) -> PyResult<Option<Compression>> {
        let inner = self.inner()?;
        let (frame_filters, message_filters) = inner.filters(
            py,
            intern!(py, "outgoing_frame_filters"),
            intern!(py, "outgoing_message_filters"),
        )?;
        let framer = outgoing_framer(&frame_filters, &message_filters);
        Ok(framer.and_then(|framer| framer.get().shared_compression()))
    }

    /// Frees the message of a call that will not be repeated.
    pub(in crate::python) fn forget_unsent(slf: &Bound<'_, Self>, unsent: &mut Unsent) {
        if unsent.pending().is_none() {
            return;
        }
        drop(std::mem::take(unsent));
        let Some(inner) = slf.get().get() else { return };
        // if another caller is sending, it will find that the message is given up
        if let Some(guard) = try_lock(&inner.compressing) {
            let transport = match inner.underlying(slf.py()) {
                Ok(Underlying::Native(connection)) => Some(connection.get().transport.clone()),
                _ => None,
            };
            let _guard = CodecGuard::new(guard, transport);
            inner.forget_given_up();
        }
    }
}

impl Inner {
    /// Sends a piece of a message by permessage-deflate.
    pub(super) fn send_deflated(
        &self,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        framer: &Bound<'_, DeflateFramer>,
        piece: Piece,
        message: &Bound<'_, PyAny>,
        unsent: Option<&mut Unsent>,
    ) -> Result<(), WaitError> {
        let py = message.py();
        let bytes = encoded(message, piece.kind == Opcode::BINARY)?;
        let payload = bytes.as_bytes();
        let repeats = unsent.is_some();
        if let Some(unsent) = unsent {
            if payload.len() > DEFLATE_AT_ONCE || self.queue.is_used() {
                let pending = unsent.begin();
                self.queue.push(Queued {
                    pending: pending.clone(),
                    framer: framer.clone().unbind(),
                    piece,
                    bytes: bytes.unbind(),
                    deflating: None,
                });
                return self.send_pending(py, underlying, scheduler, Some(&pending));
            }
        }
        // pieces must be sent in the order in which they were compressed (RFC 7692 7.2)
        let _guard = loop {
            let guard = lock_codec(py, underlying, scheduler, &self.compressing)?;
            if !self.queue.is_used() {
                break guard;
            }
            drop(guard);
            self.send_pending(py, underlying, scheduler, None)?;
        };
        if let Err(error) = self.check(py, piece) {
            if !repeats {
                framer.get().skip(payload, piece.end);
            }
            return Err(error.into());
        }
        // the hub's other handlers run in between; a coroutine's call must not begin again
        let pause = || scheduler.yield_if_over_budget(py);
        match framer.get().deflate(py, payload, piece.end, pause)? {
            Some((output, is_first)) => {
                let piece = Piece { compressed: is_first, ..piece };
                self.send_payload(py, underlying, scheduler, piece, &output, payload.len())?;
            }
            None => self.send_payload(py, underlying, scheduler, piece, payload, payload.len())?,
        }
        Ok(())
    }

    /// Goes on with the first messages of the queue until `pending` is sent, or all are.
    ///
    /// # Errors
    /// Sending `pending` has failed, or a coroutine must repeat the call.
    pub(super) fn send_pending(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        pending: Option<&PendingSend>,
    ) -> Result<(), WaitError> {
        loop {
            if let Some(outcome) = pending.and_then(PendingSend::take_outcome) {
                return Ok(outcome?);
            }
            let guard = lock_codec(py, underlying, scheduler, &self.compressing)?;
            self.forget_given_up();
            let Some(mut message) = self.queue.pop() else { return Ok(()) };
            if let Some(outcome) = self.send_step(py, underlying, scheduler, &mut message) {
                message.pending.set_outcome(outcome);
                drop(guard);
            } else {
                self.queue.put_back(message);
                drop(guard);
                scheduler.let_others_run(py)?;
            }
        }
    }

    /// Compresses a part of a message, and sends the message after the last part.
    fn send_step(
        &self,
        py: Python<'_>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        message: &mut Queued,
    ) -> Option<PyResult<()>> {
        let Queued { piece, framer, bytes, deflating, .. } = message;
        let (piece, framer, payload) = (*piece, framer.get(), bytes.as_bytes(py));
        if deflating.is_none() {
            if let Err(error) = self.check(py, piece) {
                return Some(Err(error));
            }
            if !framer.compresses(payload, piece.end) {
                return Some(self.send_payload(
                    py,
                    underlying,
                    scheduler,
                    piece,
                    payload,
                    payload.len(),
                ));
            }
        }
        let deflating = deflating.get_or_insert_default();
        let is_first = framer.deflate_step(py, payload, piece.end, deflating)?;
        let piece = Piece { compressed: is_first, ..piece };
        Some(self.send_payload(py, underlying, scheduler, piece, &deflating.output, payload.len()))
    }

    /// Frees the messages that are not wanted any more. The caller holds the lock `compressing`.
    fn forget_given_up(&self) {
        // not locked: freeing a Python object may run other code
        for message in self.queue.take_given_up() {
            if let Some(deflating) = &message.deflating {
                message.framer.get().give_up(deflating);
            }
        }
    }

    /// # Errors
    /// If the piece may not be sent now. It is not compressed then: the peer would not get what
    /// later messages refer to.
    fn check(&self, py: Python<'_>, piece: Piece) -> PyResult<()> {
        lock(&self.writer).check(piece).map_err(|error| send_error(py, &error))
    }
}
