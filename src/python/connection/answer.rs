//! The answer to an opening handshake: the connection is open (RFC 6455 4.2.2), or it is refused.

use pyo3::{prelude::*, types::PyString};

use super::{raw::write_all, Connection};
use crate::{
    locks::lock,
    protocol::{
        handshake::{Answer, OPENED, SWITCHING_PROTOCOLS},
        uri::split_resource,
    },
    server::{Content, Refusal, ALT_SVC},
};

impl Connection {
    /// Sends the answer that opens the connection, with further headers. Bytes go through
    /// `through`, which may be a handler's own object. Returns whether the connection is open;
    /// not so if the server stops, or if the stream has ended.
    pub(super) fn accept_handshake(
        &self,
        protocol: Option<&str>,
        extensions: Option<&str>,
        mut extra: Vec<(String, String)>,
        through: &Bound<'_, PyAny>,
    ) -> PyResult<bool> {
        let registered = self.registered.as_ref();
        if !registered.is_some_and(|(registry, id)| registry.begin_answer(*id)) {
            return Ok(false);
        }
        let has_own = extra.iter().any(|(name, _)| name.eq_ignore_ascii_case(ALT_SVC));
        if let Some(alternative) = self.alternative.as_ref().filter(|_| !has_own) {
            extra.push((ALT_SVC.to_owned(), alternative.clone()));
        }
        let accept = self.accept.get().map(String::as_str).unwrap_or_default();
        let answer = Answer { accept, protocol, extensions, extra: &extra };
        if let Some(slot) = &self.answer_slot {
            match slot.open(&answer) {
                Ok(true) => self.transport.note_answer(OPENED),
                Ok(false) => return Ok(false),
                Err(fault) => {
                    let version = self.protocol();
                    self.warn(|| format!("{fault} over {version}: stream reset"));
                    return Ok(false);
                }
            }
        } else {
            self.write_answer(through, &answer.format())?;
            self.transport.note_answer(SWITCHING_PROTOCOLS);
        }
        lock(&self.head).pack();
        if let Some((registry, id)) = registered {
            registry.establish(*id);
        }
        Ok(true)
    }

    /// Sends an answer with an error status, and logs why. Without a body it has a page for people.
    pub(super) fn refuse_handshake(
        &self,
        py: Python<'_>,
        status: u16,
        why: &Bound<'_, PyString>,
        headers: Vec<(String, String)>,
        body: Option<Vec<u8>>,
    ) -> PyResult<()> {
        if self.answer_slot.as_ref().is_some_and(|slot| !slot.is_empty()) {
            // the stream was reset already, and that was logged
            return Ok(());
        }
        if let Some(events) = &self.settings.events {
            let handler = split_resource(&self.resource).0;
            events.warn_refused(self.transport.peer(), status, handler, || {
                why.to_string_lossy().into_owned()
            });
        }
        let headers = headers.into_iter().map(|(name, value)| (name.into(), value)).collect();
        let content = body.map_or(Content::Page, Content::Bytes);
        let refusal = Refusal { headers, content, ..Refusal::new(status) }
            .with_alternative(self.alternative.clone());
        if let Some(slot) = &self.answer_slot {
            if !slot.refuse(refusal) {
                return Ok(());
            }
        } else {
            let answer = refusal.format(self.method() != "HEAD");
            write_all(py, &self.transport, &answer)?;
        }
        self.transport.note_answer(status);
        Ok(())
    }
}
