//! `AsyncConnection`: a connection for the coroutines of one event loop, which make one try at a
//! time.

use std::{io, sync::Arc};

use pyo3::{intern, prelude::*, PyTraverseError, PyVisit};

use super::{
    loop_state::{has_ended, LoopState},
    operation_future::OperationFuture,
    parker::Attempt,
    work::{OutgoingClose, OutgoingMessage, Work},
    EventLoop,
};
use crate::{
    connection::{Budget, Park, ReactorToken, Transport, Wait},
    protocol::send::Piece,
    python::{
        connection::Connection,
        errors::{os_error, sending_error},
        stream::{kind_of, ReceiveGoal, Stream, Unsent},
        waiting::{InEventLoop, Retry, WaitError},
    },
};

/// A connection in an event loop.
#[pyclass(frozen, module = "fastwsh._core")]
pub(in crate::python) struct AsyncConnection {
    state: Arc<LoopState>,
    transport: Arc<Transport>,
    token: ReactorToken,
    budget: Budget,
    event_loop: Py<PyAny>,
}

impl Drop for AsyncConnection {
    fn drop(&mut self) {
        self.state.forget(self.token);
    }
}

#[pymethods]
impl AsyncConnection {
    #[new]
    fn new(event_loop: &EventLoop, connection: &Bound<'_, Connection>) -> PyResult<Self> {
        let state = event_loop.state().clone();
        let transport = connection.get().transport.clone();
        let token = state.watch(&transport).map_err(|error| os_error(&error))?;
        let event_loop = state.event_loop(connection.py()).ok_or_else(has_ended)?;
        Ok(Self { state, transport, token, budget: Budget::default(), event_loop })
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.event_loop)
    }

    fn watch_end(&self, on_end: Py<PyAny>) {
        let before = self.state.with(self.token, |entry| entry.on_end.replace(on_end));
        drop(before);
        self.state.reactor().watch_end(self.token, self.token.number());
    }

    fn watch_end_of_rest(&self, on_end: Py<PyAny>) {
        self.state.with(self.token, |entry| entry.ignores_unread = true);
        self.watch_end(on_end);
    }

    fn is_end_reported(&self) -> bool {
        self.transport.closing().is_end_reported()
    }

    fn watch_server_close(&self) {
        self.state.reactor().wake_reader(self.token, self.token.number());
        self.state.wake_soon(&self.transport);
    }

    /// Ends watching. Operations of other tasks that wait are woken before, to find the end.
    fn close(&self) {
        let has_waiters = self.state.with(self.token, |entry| entry.has_waiters());
        if has_waiters == Some(true) {
            // dropping this ends it
            self.state.wake_soon(&self.transport);
        } else {
            self.state.forget(self.token);
        }
    }
}

impl AsyncConnection {
    pub(super) fn event_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    pub(super) fn set_awaits_close(&self, awaits: bool) {
        self.transport.set_awaits_close(awaits);
    }

    /// Notes that an operation has yielded and goes on after other tasks have run.
    pub(super) fn note_yielded(&self) {
        self.state.note_yielded(self.token);
    }

    /// Notes that it goes on now, or is given up.
    pub(super) fn note_resumed(&self) {
        self.state.note_resumed(self.token);
    }

    /// Registers an operation to be woken when it should try again. Returns `false` if the
    /// connection is not watched any more.
    pub(super) fn wake_later(&self, operation: &Bound<'_, OperationFuture>) -> bool {
        self.budget.renew();
        self.state.add_waiter(self.token, operation.clone().unbind())
    }

    /// Gives the work up.
    pub(super) fn abandon(&self, py: Python<'_>, work: &mut Work) {
        match work {
            Work::AwaitClose(_) => self.set_awaits_close(false),
            Work::Receive(_) | Work::Next(_) => self.transport.awaited_input().end(),
            Work::Send(stream, _, unsent) => Stream::forget_unsent(stream.bind(py), unsent),
            _ => {}
        }
    }

    /// Does the work as far as possible without waiting.
    ///
    /// # Errors
    /// The exception of the call, or when to call this again.
    pub(super) fn attempt<'py>(
        &self,
        py: Python<'py>,
        work: &mut Work,
    ) -> Result<Bound<'py, PyAny>, WaitError> {
        // these may succeed at once for as long as the peer sends, so they count
        let takes_turns = matches!(work, Work::Receive(_) | Work::Next(_));
        if takes_turns && !self.budget.charge() {
            self.budget.renew();
            return Err(Retry::AfterOthers.into());
        }
        let attempt = Attempt::new(&self.state);
        loop {
            // each step does its part and names the next one; only the last returns
            let next = match work {
                Work::Nothing => return Ok(py.None().into_bound(py)),
                Work::Receive(stream) | Work::Next(stream) => {
                    return self.receive(py, stream.bind(py), &attempt);
                }
                Work::Send(stream, outgoing, unsent) => {
                    self.send(py, stream.bind(py).get(), outgoing, unsent, &attempt)?;
                    // after the call, which gives the message its place before later ones
                    if !self.budget.charge() {
                        self.budget.renew();
                        *work = Work::Drain;
                        return Err(Retry::AfterOthers.into());
                    }
                    Work::Drain
                }
                Work::Ping(stream, outgoing) => {
                    let _here = InEventLoop::enter(&self.state);
                    let body = outgoing.message.bind(py);
                    let ping = intern!(py, "send_ping");
                    stream.bind(py).call_method1(ping, (body, outgoing.binary))?;
                    Work::Drain
                }
                Work::Close(stream, closing) => {
                    self.begin_close(stream.bind(py), closing, &attempt)?
                }
                Work::AwaitClose(stream) => {
                    self.awaiting_input(|| {
                        let _here = InEventLoop::enter(&self.state);
                        Stream::receive_close(stream.bind(py), &attempt)
                    })?;
                    self.set_awaits_close(false);
                    Work::Drain
                }
                Work::Drain => {
                    let is_sent = self.flush(py, &attempt).map_err(|error| {
                        self.transport.note_end_reported();
                        sending_error(py, &self.transport, &error)
                    })?;
                    if is_sent {
                        return Ok(py.None().into_bound(py));
                    }
                    return Err(Retry::WhenWoken.into());
                }
            };
            *work = next;
        }
    }

    fn send(
        &self,
        py: Python<'_>,
        stream: &Stream,
        outgoing: &OutgoingMessage,
        unsent: &mut Unsent,
        attempt: &Attempt<'_>,
    ) -> Result<(), WaitError> {
        let _here = InEventLoop::enter(&self.state);
        let piece = Piece::plain(kind_of(outgoing.binary), outgoing.end);
        stream.send(outgoing.message.bind(py), piece, unsent, attempt)
    }

    /// Sends a close frame, and names the step that is next.
    fn begin_close(
        &self,
        stream: &Bound<'_, Stream>,
        closing: &OutgoingClose,
        attempt: &Attempt<'_>,
    ) -> Result<Work, WaitError> {
        let _here = InEventLoop::enter(&self.state);
        let py = stream.py();
        // a message that another task has begun to send comes before the close frame
        stream.get().send_earlier(py, attempt)?;
        let OutgoingClose { code, reason, wait_response } = closing;
        if !Stream::begin_close(stream, code.as_ref(), reason.bind(py), *wait_response)? {
            return Ok(Work::Drain);
        }
        self.set_awaits_close(true);
        Ok(Work::AwaitClose(stream.clone().unbind()))
    }

    fn receive<'py>(
        &self,
        py: Python<'py>,
        stream: &Bound<'py, Stream>,
        attempt: &Attempt<'_>,
    ) -> Result<Bound<'py, PyAny>, WaitError> {
        self.awaiting_input(|| self.try_receive(py, stream, attempt))
    }

    fn try_receive<'py>(
        &self,
        py: Python<'py>,
        stream: &Bound<'py, Stream>,
        attempt: &Attempt<'_>,
    ) -> Result<Bound<'py, PyAny>, WaitError> {
        let transport = &*self.transport;
        let is_backed_up = transport.is_backed_up();
        // a buffered message can be returned at once; otherwise prepare to wait before calling the
        // stream, which is cheaper than a call that fails
        if is_backed_up || !transport.is_more_buffered() && !transport.closing().is_close_received()
        {
            let parker = attempt.parker(py, transport);
            if transport.has_held() && !transport.drain_before_receiving(Wait::Park(&parker)) {
                // do not receive more, and so do not queue more pongs, for a peer that is not
                // reading
                transport.awaited_input().end();
                return Err(Retry::WhenWoken.into());
            }
            let is_drained = !transport.is_more_buffered()
                && !parker.is_readable()
                && transport.try_receive_half().is_some_and(|mut half| half.is_drained());
            if is_drained && parker.wait_readable().is_err() {
                return Err(Retry::WhenWoken.into());
            }
        }
        let _here = InEventLoop::enter(&self.state);
        Stream::receive(stream, ReceiveGoal::Message, attempt)
    }

    /// Makes an attempt to receive. It waits if the event loop is to wake it.
    fn awaiting_input<T>(
        &self,
        attempt: impl FnOnce() -> Result<T, WaitError>,
    ) -> Result<T, WaitError> {
        let waits = |outcome: &Result<T, WaitError>| {
            matches!(outcome, Err(WaitError::Retry(Retry::WhenWoken)))
        };
        self.transport.awaited_input().attempt(attempt, waits)
    }

    /// Sends what the kernel has not taken yet. Returns whether everything has been sent.
    fn flush(&self, py: Python<'_>, attempt: &Attempt<'_>) -> io::Result<bool> {
        // while more input is buffered, replies are held back on purpose, up to a limit
        let transport = &self.transport;
        let may_wait = transport.is_more_buffered() && !transport.is_backed_up();
        if may_wait || !transport.has_held() {
            return Ok(true);
        }
        transport.drain(Wait::Park(&attempt.parker(py, transport)))
    }
}
