//! The server's own close frame: whoever holds the lock of the sending half sends it, and once.

use std::sync::Arc;

use shuttle::thread;

use crate::{
    check,
    closing::AtomicClosing,
    locks::{lock, try_lock},
    protocol::{
        close::CloseCode,
        closing::{Closing, Side},
    },
    sync::Mutex,
};

/// What `Transport` does for the server's own close frame.
#[derive(Default)]
struct Leaving {
    closing: AtomicClosing,
    server_close: Mutex<Option<&'static str>>,
    wire: Mutex<Vec<&'static str>>,
}

impl Leaving {
    fn go_away(&self) {
        let mut unsent = lock(&self.server_close);
        let before = self.closing.update(|closing| closing.go_away(CloseCode::GOING_AWAY));
        if !before.is_going_away() && !before.is_sending_ended() {
            *unsent = Some("close");
        }
        drop(unsent);
        self.send_server_close();
    }

    fn send(&self, frame: &'static str) {
        lock(&self.wire).push(frame);
        self.send_server_close();
    }

    fn send_server_close(&self) {
        if !self.closing.get().is_going_away() {
            return;
        }
        if let Some(mut wire) = try_lock(&self.wire) {
            let server_close = lock(&self.server_close).take();
            let is_owed = self.closing.get().owes_server_close();
            wire.extend(server_close.filter(|_| is_owed));
        }
    }
}

#[test]
fn the_servers_close_frame_is_sent_once_although_nobody_waits_for_the_sender() {
    check(|| {
        let leaving = Arc::new(Leaving::default());
        leaving.closing.update(Closing::established);
        let threads: Vec<_> = [true, false, false]
            .into_iter()
            .map(|goes_away| {
                let leaving = leaving.clone();
                thread::spawn(move || {
                    if goes_away {
                        leaving.go_away();
                    } else {
                        leaving.send("frame");
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        let wire = lock(&leaving.wire);
        assert_eq!(wire.iter().filter(|frame| **frame == "close").count(), 1, "{wire:?}");
        assert_eq!(wire.len(), 3);
    });
}

#[test]
fn transitions_of_threads_at_the_same_time_are_all_made() {
    check(|| {
        let closing = Arc::new(AtomicClosing::default());
        let update = |transition: fn(Closing) -> Closing| {
            let closing = closing.clone();
            thread::spawn(move || closing.update(transition))
        };
        let away = update(|closing| closing.go_away(CloseCode::GOING_AWAY));
        let closed = update(|closing| closing.handler_closes(CloseCode::NORMAL));
        let cut = update(Closing::cut);
        let (away, closed) = (away.join().unwrap(), closed.join().unwrap());
        cut.join().unwrap();
        let now = closing.get();
        assert!(now.is_going_away() && now.is_sending_ended() && now.is_cut());
        assert_eq!(now.code_sent(), Some(CloseCode::NORMAL));
        // one came first, and both agree which
        let first = if away.is_sending_ended() { CloseCode::NORMAL } else { CloseCode::GOING_AWAY };
        assert_eq!(closed.is_going_away(), first == CloseCode::GOING_AWAY);
        assert_eq!(now.first_close(), Some((first, Side::Server)));
    });
}
