//! A handler that waits for input beside the keepalive thread, which reads ahead to answer pings. The
//! kernel tells a reactor of input once, and not if it has been read by then. So the keepalive thread
//! must not take what the handler is going to wait for.

use std::sync::Arc;

use crate::{
    check, lock_shared,
    lock_waiters::LockWaiters,
    locks::{lock, try_lock},
    sync::{thread, AtomicBool, Condvar, Mutex, MutexGuard, Ordering, PoisonError},
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
    awaits_input: AtomicBool,
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

    /// As `Transport::answer_pings` does.
    fn look(&self) {
        let Some(mut half) = try_lock(&self.receive_half) else { return };
        if !self.awaits_input.load(Ordering::SeqCst) {
            self.fill(&mut half);
        }
        self.release(half);
    }

    fn release(&self, half: MutexGuard<'_, usize>) {
        drop(half);
        self.lock_waiters.released();
    }

    fn set_awaits_input(&self, awaits: bool) {
        self.awaits_input.store(awaits, Ordering::SeqCst);
    }
}

/// A handler in the hub.
fn receive_in_hub(connection: &Connection, is_readable: &mut bool) {
    // as `HubThread::await_input`
    if let Some(half) = try_lock(&connection.receive_half) {
        let waits = !*is_readable && *half == 0;
        if waits {
            connection.set_awaits_input(true);
        }
        connection.release(half);
        if waits {
            connection.poll();
            *is_readable = true;
            connection.set_awaits_input(false);
        }
    }
    // as `ReceiveHalf::wait_event`, which keeps the half while it waits
    let mut half = lock_shared(&connection.receive_half, &connection.lock_waiters);
    while *half == 0 && !connection.fill(&mut half) {
        connection.poll();
        *is_readable = true;
    }
    *half -= 1;
    if *half == 0 {
        *is_readable = false;
    }
    connection.release(half);
}

/// A coroutine, which repeats its call.
fn receive_in_event_loop(connection: &Connection, is_readable: &mut bool) {
    loop {
        // as `AsyncConnection::receive`
        connection.set_awaits_input(true);
        let is_drained =
            !*is_readable && try_lock(&connection.receive_half).is_some_and(|half| *half == 0);
        if !is_drained {
            let mut half = lock_shared(&connection.receive_half, &connection.lock_waiters);
            if *half > 0 || connection.fill(&mut half) {
                *half -= 1;
                connection.release(half);
                connection.set_awaits_input(false);
                return;
            }
            *is_readable = false;
            connection.release(half);
        }
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
