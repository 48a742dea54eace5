//! A handler that waits for input beside the keepalive thread, which reads ahead to answer pings. The
//! kernel tells a reactor of input once, and not if it has been read by then. So the keepalive thread
//! must not take what the handler is going to wait for.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::{
    awaited_input::AwaitedInput,
    check, lock_shared,
    lock_waiters::LockWaiters,
    locks::{lock, try_lock},
    sync::{thread, Condvar, Mutex, MutexGuard, PoisonError},
};

const MESSAGES: usize = 2;

/// The kernel's side of a socket.
#[derive(Default)]
struct Socket {
    unread: usize,
    /// Something has come since the last event.
    is_news: bool,
}

#[derive(Default)]
struct Connection {
    socket: Mutex<Socket>,
    news: Condvar,
    /// The messages in the buffer.
    receive_half: Mutex<usize>,
    lock_waiters: LockWaiters,
    awaited_input: AwaitedInput,
}

/// The locked receiving half, as `transport::Half`.
struct Half<'a> {
    guard: Option<MutexGuard<'a, usize>>,
    connection: &'a Connection,
}

impl Deref for Half<'_> {
    type Target = usize;

    fn deref(&self) -> &usize {
        self.guard.as_ref().unwrap()
    }
}

impl DerefMut for Half<'_> {
    fn deref_mut(&mut self) -> &mut usize {
        self.guard.as_mut().unwrap()
    }
}

impl Drop for Half<'_> {
    fn drop(&mut self) {
        self.guard = None;
        self.connection.lock_waiters.released();
    }
}

impl Connection {
    fn peer_sends(&self) {
        let mut socket = lock(&self.socket);
        socket.unread += 1;
        socket.is_news = true;
        drop(socket);
        self.news.notify_all();
    }

    fn fill(&self, buffer: &mut usize) -> bool {
        let came = std::mem::take(&mut lock(&self.socket).unread);
        *buffer += came;
        came > 0
    }

    /// Waits for an event, as edge-triggered polling does.
    fn poll(&self) {
        let mut socket = lock(&self.socket);
        while !(std::mem::take(&mut socket.is_news) && socket.unread > 0) {
            socket = self.news.wait(socket).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn try_half(&self) -> Option<Half<'_>> {
        let guard = try_lock(&self.receive_half)?;
        Some(Half { guard: Some(guard), connection: self })
    }

    fn half(&self) -> Half<'_> {
        let guard = lock_shared(&self.receive_half, &self.lock_waiters);
        Half { guard: Some(guard), connection: self }
    }

    /// As `Transport::answer_pings`.
    fn look(&self) {
        if let Some(mut half) = self.awaited_input.for_reading_ahead(self.try_half()) {
            self.fill(&mut half);
        }
    }
}

/// A handler in the hub.
fn receive_in_hub(connection: &Connection, is_readable: &mut bool) {
    // as `HubThread::await_input`
    let half = connection.try_half();
    if connection.awaited_input.begin(half, |half| !*is_readable && **half == 0) {
        connection.poll();
        *is_readable = true;
        connection.awaited_input.end();
    }
    // as `ReceiveHalf::wait_event`, which keeps the half while it waits
    let mut half = connection.half();
    while *half == 0 && !connection.fill(&mut half) {
        connection.poll();
        *is_readable = true;
    }
    *half -= 1;
    if *half == 0 {
        *is_readable = false;
    }
}

/// A coroutine, which repeats its call.
fn receive_in_event_loop(connection: &Connection, is_readable: &mut bool) {
    // as `AsyncConnection::try_receive`
    let attempt = |is_readable: &mut bool| {
        let is_drained = !*is_readable && connection.try_half().is_some_and(|half| *half == 0);
        if is_drained {
            return false;
        }
        let mut half = connection.half();
        let has_some = *half > 0 || connection.fill(&mut half);
        if has_some {
            *half -= 1;
        } else {
            *is_readable = false;
        }
        has_some
    };
    let waits = |has_received: &bool| !*has_received;
    while !connection.awaited_input.attempt(|| attempt(is_readable), waits) {
        connection.poll();
        *is_readable = true;
    }
}

fn every_message_comes(receive: fn(&Connection, &mut bool)) {
    let connection = Arc::new(Connection::default());
    let peer = thread::spawn({
        let connection = connection.clone();
        move || (0..MESSAGES).for_each(|_| connection.peer_sends())
    });
    let keepalive = thread::spawn({
        let connection = connection.clone();
        move || (0..3).for_each(|_| connection.look())
    });
    let mut is_readable = false;
    for _ in 0..MESSAGES {
        receive(&connection, &mut is_readable);
    }
    peer.join().unwrap();
    keepalive.join().unwrap();
}

#[test]
fn a_handler_of_the_hub_gets_what_the_keepalive_thread_might_take() {
    check(|| every_message_comes(receive_in_hub));
}

#[test]
fn a_coroutine_gets_what_the_keepalive_thread_might_take() {
    check(|| every_message_comes(receive_in_event_loop));
}
