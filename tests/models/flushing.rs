//! The flusher, with connections that hold frames back as `Transport` does.

use std::sync::{Arc, Weak};

use crate::{
    check_fair,
    flusher::{Flusher, HoldsFrames, NextLook},
    locks::{lock, try_lock},
    sync::{thread, AtomicBool, Condvar, Mutex, Ordering, PoisonError},
};

/// Looks at a connection that holds nothing back, before it is forgotten.
const FORGET_AFTER: u8 = 2;

#[derive(Debug, Default)]
struct Half {
    held: usize,
    age: u8,
}

/// What `Transport` and `SendHalf` do for frames that are held back.
#[derive(Debug, Default)]
struct Connection {
    half: Mutex<Half>,
    watched: AtomicBool,
    flusher: Arc<Flusher>,
    sent: Mutex<usize>,
    sends: Condvar,
}

impl Connection {
    fn hold(self: &Arc<Self>) {
        let mut half = lock(&self.half);
        half.held += 1;
        half.age = 0;
        drop(half);
        if !self.watched.swap(true, Ordering::Relaxed) {
            let holder: Weak<Self> = Arc::downgrade(self);
            self.flusher.watch(holder);
        }
    }

    fn wait_until_sent(&self, count: usize) {
        let mut sent = lock(&self.sent);
        while *sent < count {
            sent = self.sends.wait(sent).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl HoldsFrames for Connection {
    fn tick(self: Arc<Self>) -> NextLook {
        let Some(mut half) = try_lock(&self.half) else { return NextLook::Soon };
        half.age += 1;
        let next = match (half.held, half.age) {
            (0, FORGET_AFTER..) => NextLook::Never,
            (0, _) | (_, 0..2) => NextLook::Soon,
            _ => {
                *lock(&self.sent) += std::mem::take(&mut half.held);
                self.sends.notify_all();
                NextLook::Soon
            }
        };
        self.watched.store(next != NextLook::Never, Ordering::Relaxed);
        drop(half);
        next
    }
}

#[test]
fn frames_are_sent_although_nobody_sends_after_them() {
    check_fair(|| {
        let flusher = Flusher::start().unwrap();
        let connections: Vec<_> = (0..2)
            .map(|_| Arc::new(Connection { flusher: flusher.clone(), ..Connection::default() }))
            .collect();
        let handlers: Vec<_> = connections
            .iter()
            .cloned()
            .map(|connection| {
                thread::spawn(move || {
                    for count in 1..=4 {
                        // a second frame would make up for a first one that was forgotten
                        connection.hold();
                        connection.wait_until_sent(count);
                    }
                })
            })
            .collect();
        for handler in handlers {
            handler.join().unwrap();
        }
        flusher.stop();
    });
}

#[test]
fn the_flusher_ends_while_it_sleeps_and_while_it_looks() {
    check_fair(|| {
        let flusher = Flusher::start().unwrap();
        let connection = Arc::new(Connection { flusher: flusher.clone(), ..Connection::default() });
        let handler = thread::spawn(move || connection.hold());
        flusher.stop();
        handler.join().unwrap();
    });
}
