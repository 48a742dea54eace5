//! The queue of the messages of one stream that coroutines have begun to send.

use std::{
    collections::VecDeque,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc, Mutex,
    },
};

use pyo3::{prelude::*, types::PyBytes};

use crate::{
    locks::lock,
    protocol::send::Piece,
    python::deflate::{DeflateFramer, Deflating},
};

/// The message of a call that is made again until it is sent.
///
/// If this is dropped earlier, the message is not sent.
#[derive(Default)]
pub(in crate::python) struct Unsent(Option<Arc<PendingSend>>);

impl Unsent {
    /// Begins to send the message.
    pub(super) fn begin(&mut self) -> Arc<PendingSend> {
        self.0.insert(Arc::default()).clone()
    }

    /// What the queue knows of the message, if the call has begun.
    pub(super) fn pending(&self) -> Option<&PendingSend> {
        self.0.as_deref()
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        if let Some(pending) = self.pending() {
            pending.is_given_up.store(true, Ordering::Relaxed);
        }
    }
}

/// What a call and the queue share: whether the message is still wanted, and the result.
#[derive(Default)]
pub(super) struct PendingSend {
    is_given_up: AtomicBool,
    outcome: Mutex<Option<PyResult<()>>>,
}

impl PendingSend {
    /// Takes the result of sending the message, once it is there.
    pub(super) fn take_outcome(&self) -> Option<PyResult<()>> {
        lock(&self.outcome).take()
    }

    pub(super) fn set_outcome(&self, outcome: PyResult<()>) {
        *lock(&self.outcome) = Some(outcome);
    }

    fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
    }
}

/// The messages of one stream that coroutines have begun to send.
#[derive(Default)]
pub(super) struct SendQueue {
    messages: Mutex<VecDeque<Queued>>,
    is_used: AtomicBool,
}

/// A message in the queue.
pub(super) struct Queued {
    pub(super) pending: Arc<PendingSend>,
    pub(super) framer: Py<DeflateFramer>,
    pub(super) piece: Piece,
    pub(super) bytes: Py<PyBytes>,
    /// Made when it is the first in the queue.
    pub(super) deflating: Option<Deflating>,
}

impl SendQueue {
    pub(super) fn push(&self, message: Queued) {
        let mut messages = lock(&self.messages);
        messages.push_back(message);
        self.is_used.store(true, Ordering::Relaxed);
    }

    pub(super) fn pop(&self) -> Option<Queued> {
        let mut messages = lock(&self.messages);
        let message = messages.pop_front();
        self.is_used.store(!messages.is_empty(), Ordering::Relaxed);
        message
    }

    /// Puts a message back that needs further steps.
    pub(super) fn put_back(&self, message: Queued) {
        let mut messages = lock(&self.messages);
        messages.push_front(message);
        self.is_used.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_used(&self) -> bool {
        self.is_used.load(Ordering::Relaxed)
    }

    /// Takes out the messages that are not wanted any more.
    pub(super) fn take_given_up(&self) -> Vec<Queued> {
        let mut messages = lock(&self.messages);
        if !messages.iter().any(|message| message.pending.is_given_up()) {
            return Vec::new();
        }
        let all = std::mem::take(&mut *messages);
        let (gone, kept): (Vec<_>, _) =
            all.into_iter().partition(|message| message.pending.is_given_up());
        *messages = kept.into();
        self.is_used.store(!messages.is_empty(), Ordering::Relaxed);
        gone
    }
}
