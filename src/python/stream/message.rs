//! Receives the next message of a `Stream`, in the cheapest way for what has arrived: a short
//! message straight from the buffer, a long one straight from the socket.

use pyo3::{prelude::*, types::PyBytes};

use super::{
    lock,
    payload::{to_text, Payload},
    wait::{
        read_direct, take_whole, wait_event, wait_input, Buffered, ReadOutcome, ReceiveGoal,
        Received,
    },
    warnings::warn_non_minimal,
    Inner, Link,
};
use crate::{
    connection::Transport,
    protocol::{
        frame::Opcode,
        receive::{Event, Message, Rules},
    },
    python::{
        connection::Connection,
        deflate::{DeflateFramer, Step},
        waiting::{has_own_thread, parked, pause, waiting},
    },
};

enum Found<'py> {
    Received(Received),
    /// The object for the handler.
    Made(Opcode, Payload<'py>),
}

impl Inner {
    /// The next message or control frame, inflated.
    pub(super) fn next<'py>(
        &self,
        py: Python<'py>,
        link: &Link<'_>,
        framer: Option<&Bound<'_, DeflateFramer>>,
        awaited: ReceiveGoal,
    ) -> PyResult<(Opcode, Payload<'py>)> {
        let rules = Rules {
            expect_masked: self.expect_masked,
            deflate: framer.is_some(),
            late_rsv1: link.strict_compat(),
            limits: link.limits(),
        };
        loop {
            if let Some(framer) = framer {
                // begun by an earlier try of this call, or by another caller
                if let Some((opcode, payload)) = self.inflate_rest(py, link, framer.get())? {
                    return Ok((opcode, Payload::Bytes(payload)));
                }
            }
            let Received { event, non_minimal } = match link {
                Link::Native(connection) => {
                    match self.native_event(py, link, connection, rules, awaited)? {
                        Found::Received(received) => received,
                        Found::Made(opcode, payload) => return Ok((opcode, payload)),
                    }
                }
                Link::Duck(connection) => self.duck_event(connection, link, rules)?,
            };
            if let Some(header) = non_minimal {
                warn_non_minimal(py, &header)?;
            }
            let Message { opcode, payload, compressed } = match event {
                Event::Message(message) => message,
                Event::Ping(body) => return Ok((Opcode::PING, Payload::Bytes(body))),
                Event::Pong(body) => return Ok((Opcode::PONG, Payload::Bytes(body))),
                Event::Close(body) => return Ok((Opcode::CLOSE, Payload::Bytes(body))),
            };
            let Some(framer) = framer.filter(|_| compressed) else {
                return Ok((opcode, Payload::Bytes(payload)));
            };
            let inflated = framer
                .get()
                .begin_inflating(py, opcode, payload)
                .map_err(|error| link.protocol_error(py, &error))?;
            if let Some((opcode, payload)) = inflated {
                return Ok((opcode, Payload::Bytes(payload)));
            }
        }
    }

    /// Inflates the message that was begun, if there is one, and lets others run in between.
    fn inflate_rest(
        &self,
        py: Python<'_>,
        link: &Link<'_>,
        framer: &DeflateFramer,
    ) -> PyResult<Option<(Opcode, Vec<u8>)>> {
        loop {
            let step = framer.inflate_further(py, has_own_thread());
            let is_unfinished = matches!(step, Ok(Some(Step::Unfinished)));
            if let (Link::Native(connection), false) = (link, matches!(step, Ok(None))) {
                let transport = &connection.get().transport;
                // a coroutine that comes back must not wait for input first
                let is_more = is_unfinished || self.has_buffered_message(transport);
                transport.set_more_buffered(is_more);
                if is_unfinished {
                    pause(py, transport)?;
                }
            }
            match step.map_err(|error| link.protocol_error(py, &error))? {
                None => return Ok(None),
                Some(Step::Whole(opcode, payload)) => return Ok(Some((opcode, payload))),
                Some(Step::Unfinished) => {}
            }
        }
    }

    fn has_buffered_message(&self, transport: &Transport) -> bool {
        transport
            .try_inbound()
            .is_some_and(|inbound| lock(&self.reader).has_message(inbound.bytes()))
    }

    fn native_event<'py>(
        &self,
        py: Python<'py>,
        link: &Link<'_>,
        connection: &Bound<'_, Connection>,
        rules: Rules,
        awaited: ReceiveGoal,
    ) -> PyResult<Found<'py>> {
        let transport = &connection.get().transport;
        let reader = &self.reader;
        let told = |failure| self.failure(py, link, failure);
        if let Some(found) = self.take_whole(py, link, transport, rules)? {
            return Ok(found);
        }
        // a thread waits only for the first bytes, and then tries the fast path again: most
        // messages arrive whole
        if has_own_thread() {
            let waited =
                waiting(py, transport, |wait| wait_input(transport, reader, awaited, wait))?;
            waited.map_err(told)?;
            if let Some(found) = self.take_whole(py, link, transport, rules)? {
                return Ok(found);
            }
        }
        loop {
            let waited =
                waiting(py, transport, |wait| wait_event(transport, reader, rules, awaited, wait))?;
            let length = match waited.map_err(told)? {
                ReadOutcome::Received(received) => return Ok(Found::Received(received)),
                ReadOutcome::Direct(length) => usize::try_from(length)?,
            };
            let mut read = Ok(false);
            // read into the memory of the Python object, which saves a copy of a long message
            let payload = PyBytes::new_with(py, length, |target| {
                read = waiting(py, transport, |wait| read_direct(transport, reader, target, wait))?;
                Ok(())
            })?;
            if read.map_err(told)? {
                let payload = Payload::Made(payload.into_any(), length);
                return Ok(Found::Made(Opcode::BINARY, payload));
            }
        }
    }

    /// The next message, if all of it is buffered in one frame.
    fn take_whole<'py>(
        &self,
        py: Python<'py>,
        link: &Link<'_>,
        transport: &Transport,
        rules: Rules,
    ) -> PyResult<Option<Found<'py>>> {
        let (mut made, mut size) = (Ok(py.None().into_bound(py)), 0);
        let there = parked(py, transport, |parker| {
            take_whole(transport, &self.reader, rules, parker, |opcode, payload| {
                size = payload.len();
                made = if opcode == Opcode::TEXT {
                    to_text(py, payload)
                } else {
                    Ok(PyBytes::new(py, payload).into_any())
                };
            })
        });
        let Some(there) = there else { return Ok(None) };
        match there.map_err(|failure| self.failure(py, link, failure))? {
            Buffered::Other => Ok(None),
            Buffered::Whole(opcode) => Ok(Some(Found::Made(opcode, Payload::Made(made?, size)))),
            Buffered::Compressed(opcode, payload) => Ok(Some(Found::Received(Received {
                event: Event::Message(Message { opcode, payload, compressed: true }),
                non_minimal: None,
            }))),
        }
    }

    fn duck_event(
        &self,
        connection: &Bound<'_, PyAny>,
        link: &Link<'_>,
        rules: Rules,
    ) -> PyResult<Received> {
        let py = connection.py();
        loop {
            let (polled, non_minimal, wanted) = {
                let mut kept = lock(&self.duck_input);
                let mut reader = self.reader(py);
                reader.set_rules(rules);
                let mut input = &kept[..];
                let polled = reader.poll(&mut input);
                let used = kept.len() - input.len();
                kept.drain(..used);
                (polled, reader.take_non_minimal(), reader.wanted(&kept))
            };
            if let Some(event) = polled.map_err(|error| link.protocol_error(py, &error))? {
                return Ok(Received { event, non_minimal });
            }
            let bytes = self.duck_read(connection, wanted)?;
            lock(&self.duck_input).extend_from_slice(bytes.as_bytes());
        }
    }
}
