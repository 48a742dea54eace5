//! Receives the next message of a `Stream`, in the cheapest way for what has arrived: a short
//! message straight from the buffer, a long one straight from the socket.

use std::sync::atomic::Ordering;

use pyo3::{prelude::*, types::PyBytes};

use super::{
    assembly::{Assembly, AssemblyError, LARGE},
    codec_lock::lock_codec,
    lock,
    payload::{to_bytes, to_text, Payload},
    warnings::warn_non_minimal,
    Direction, Inner, ReceiveGoal, Underlying,
};
use crate::{
    connection::{Buffered, ReadOutcome, Received, Transport},
    protocol::{
        deflate::MessageInflater,
        frame::Opcode,
        receive::{Event, Message, Rules},
    },
    python::{
        connection::Connection,
        deflate::DeflateFramer,
        waiting::{Scheduler, WaitError},
    },
};

pub(super) enum Found<'py> {
    Received(Received),
    /// The object for the handler.
    Made(Opcode, Payload<'py>),
}

impl Inner {
    /// The next message or control frame, inflated.
    pub(super) fn next<'py>(
        &self,
        py: Python<'py>,
        underlying: &Underlying<'_>,
        framer: Option<&Bound<'_, DeflateFramer>>,
        awaited: ReceiveGoal,
        scheduler: &dyn Scheduler,
    ) -> Result<(Opcode, Payload<'py>), WaitError> {
        let rules = self.rules(underlying, framer.is_some());
        if self.is_unfinished.load(Ordering::Relaxed) {
            // by an earlier try of this call; not locked while it goes on
            let unfinished = lock(&self.unfinished).take();
            if let Some(assembly) = unfinished {
                return self.assemble(py, underlying, scheduler, framer, *assembly);
            }
        }
        let Received { event, non_minimal } = match underlying {
            Underlying::Native(connection) => {
                match self.native_event(py, underlying, scheduler, connection, rules, awaited)? {
                    Found::Received(received) => received,
                    Found::Made(opcode, payload) => return Ok((opcode, payload)),
                }
            }
            Underlying::Python(connection) => self.python_event(connection, underlying, rules)?,
        };
        if let Some(header) = non_minimal {
            warn_non_minimal(py, &header)?;
        }
        let message = match event {
            Event::Message(message) => message,
            Event::Ping(body) => return Ok((Opcode::PING, Payload::Bytes(body))),
            Event::Pong(body) => return Ok((Opcode::PONG, Payload::Bytes(body))),
            Event::Close(body) => return Ok((Opcode::CLOSE, Payload::Bytes(body))),
        };
        if let Some(framer) = framer.filter(|_| message.compressed) {
            return self.inflate(py, underlying, scheduler, framer, message);
        }
        let Message { opcode, payload, .. } = message;
        if payload.len() <= LARGE {
            return Ok((opcode, Payload::Bytes(payload)));
        }
        let assembly = Assembly::plain(opcode, payload);
        self.assemble(py, underlying, scheduler, framer, assembly)
    }

    /// Inflates a message that has arrived whole; a large one is inflated in steps.
    fn inflate<'py>(
        &self,
        py: Python<'py>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        framer: &Bound<'_, DeflateFramer>,
        Message { opcode, payload, .. }: Message,
    ) -> Result<(Opcode, Payload<'py>), WaitError> {
        if !MessageInflater::is_one_step(&payload) {
            let assembly = Assembly::deflated(opcode, payload);
            return self.assemble(py, underlying, scheduler, Some(framer), assembly);
        }
        let _guard = match lock_codec(py, underlying, scheduler, &self.inflating) {
            Ok(guard) => guard,
            Err(error) => {
                let assembly = Assembly::deflated(opcode, payload);
                return Err(self.interrupted(underlying, assembly, error));
            }
        };
        let inflated = framer.get().inflate(py, &payload);
        let payload = inflated.map_err(|error| underlying.protocol_error(py, &error))?;
        Ok((opcode, Payload::Bytes(payload)))
    }

    /// What is accepted from the peer.
    pub(super) fn rules(&self, underlying: &Underlying<'_>, deflate: bool) -> Rules {
        Rules {
            expect_masked: self.expects_masked(),
            deflate,
            late_rsv1: underlying.strict_compat(),
            limits: underlying.limits(),
        }
    }

    /// Makes the object for a large message, and lets others run in between.
    ///
    /// A coroutine repeats its call; the stream keeps the unfinished message until then.
    fn assemble<'py>(
        &self,
        py: Python<'py>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        framer: Option<&Bound<'_, DeflateFramer>>,
        mut assembly: Assembly,
    ) -> Result<(Opcode, Payload<'py>), WaitError> {
        let turn = if assembly.is_deflated() {
            lock_codec(py, underlying, scheduler, &self.inflating).map(Some)
        } else {
            Ok(None)
        };
        let _guard = match turn {
            Ok(turn) => turn,
            Err(error) => return Err(self.interrupted(underlying, assembly, error)),
        };
        let transport = match underlying {
            Underlying::Native(connection) => Some(&connection.get().transport),
            Underlying::Python(_) => None,
        };
        let made = loop {
            match assembly.step(py, framer.map(Bound::get)) {
                Ok(None) => {}
                Ok(Some(object)) => {
                    break Ok((assembly.opcode, Payload::Made(object, assembly.size)));
                }
                Err(AssemblyError::Protocol(error)) => {
                    break Err(underlying.protocol_error(py, &error).into());
                }
                Err(AssemblyError::Raised(error)) => break Err(error.into()),
            }
            if let Some(Err(error)) = transport.map(|transport| scheduler.pause(py, transport)) {
                return Err(self.interrupted(underlying, assembly, error));
            }
        };
        if self.is_unfinished.swap(false, Ordering::Relaxed) {
            if let Some(transport) = transport {
                let half = transport.try_receive_half();
                transport.set_more_buffered(half.is_some_and(|half| half.has_message()));
            }
        }
        made
    }

    /// Keeps an unfinished message for the next call.
    fn interrupted(
        &self,
        underlying: &Underlying<'_>,
        assembly: Assembly,
        error: WaitError,
    ) -> WaitError {
        *lock(&self.unfinished) = Some(Box::new(assembly));
        self.is_unfinished.store(true, Ordering::Relaxed);
        if let Underlying::Native(connection) = underlying {
            // the next call must not wait for input first
            connection.get().transport.set_more_buffered(true);
        }
        error
    }

    fn native_event<'py>(
        &self,
        py: Python<'py>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        connection: &Bound<'_, Connection>,
        rules: Rules,
        awaited: ReceiveGoal,
    ) -> Result<Found<'py>, WaitError> {
        let transport = &connection.get().transport;
        let told = |error| self.receive_error(py, underlying, error);
        // a stream without filters has tried this in `receive_whole`
        if !self.is_plain(py, Direction::Incoming) {
            if let Some(found) = self.take_whole(py, underlying, scheduler, transport, rules)? {
                return Ok(found);
            }
        }
        // a thread waits only for the first bytes, and then tries the fast path again: most
        // messages arrive whole
        if scheduler.has_own_thread() {
            scheduler
                .waiting(py, transport, |wait| transport.wait_input(rules, awaited, wait))?
                .map_err(told)?;
            if let Some(found) = self.take_whole(py, underlying, scheduler, transport, rules)? {
                return Ok(found);
            }
        }
        loop {
            let waited = scheduler
                .waiting(py, transport, |wait| transport.wait_event(rules, awaited, wait))?;
            let length = match waited.map_err(told)? {
                ReadOutcome::Received(received) => return Ok(Found::Received(received)),
                ReadOutcome::Direct(length) => usize::try_from(length).map_err(PyErr::from)?,
            };
            let mut read = Ok(Ok(false));
            // read into the memory of the Python object, which saves a copy of a long message
            let payload = PyBytes::new_with(py, length, |target| {
                read = scheduler.waiting(py, transport, |wait| transport.read_direct(target, wait));
                Ok(())
            })?;
            if read?.map_err(told)? {
                let payload = Payload::Made(payload.into_any(), length);
                return Ok(Found::Made(Opcode::BINARY, payload));
            }
        }
    }

    /// The next message, if all of it is buffered in one frame.
    pub(super) fn take_whole<'py>(
        &self,
        py: Python<'py>,
        underlying: &Underlying<'_>,
        scheduler: &dyn Scheduler,
        transport: &Transport,
        rules: Rules,
    ) -> PyResult<Option<Found<'py>>> {
        let (mut made, mut size) = (Ok(py.None().into_bound(py)), 0);
        let buffered = scheduler.parked(py, transport, |parker| {
            transport.take_whole(rules, parker, |opcode, payload| {
                size = payload.size();
                made = match payload.plain() {
                    Some(text) if opcode == Opcode::TEXT => to_text(py, text),
                    _ => to_bytes(py, payload),
                };
            })
        });
        let Some(buffered) = buffered else { return Ok(None) };
        match buffered.map_err(|error| self.receive_error(py, underlying, error))? {
            Buffered::Other => Ok(None),
            Buffered::Whole(opcode) => Ok(Some(Found::Made(opcode, Payload::Made(made?, size)))),
            Buffered::Compressed(opcode, payload) => Ok(Some(Found::Received(Received {
                event: Event::Message(Message { opcode, payload, compressed: true }),
                non_minimal: None,
            }))),
        }
    }

    fn python_event(
        &self,
        connection: &Bound<'_, PyAny>,
        underlying: &Underlying<'_>,
        rules: Rules,
    ) -> PyResult<Received> {
        let py = connection.py();
        loop {
            let looked = self.python_input.with(|input| input.poll(rules));
            if let Some(event) =
                looked.found.map_err(|error| underlying.protocol_error(py, &error))?
            {
                return Ok(Received { event, non_minimal: looked.non_minimal });
            }
            let bytes = self.python_read(connection, looked.wanted)?;
            self.python_input.with(|input| input.bytes.extend_from_slice(bytes.as_bytes()));
        }
    }
}
