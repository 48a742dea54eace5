//! Sends replies that were held back while their handler does something else than receive.
//!
//! A reply may be held back while a further message is already buffered, because the next
//! `receive_message` will come at once and the replies can leave together. A handler that instead
//! computes or sleeps must not delay its replies: this thread sends them within two milliseconds.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, PoisonError, Weak},
    thread,
    time::Duration,
};

use super::transport::Transport;

/// Far below what a person or a protocol timer notices, far above the cost of a look.
const TICK: Duration = Duration::from_millis(1);

/// Looks after connections with replies held back.
#[derive(Debug, Default)]
pub struct Flusher {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: Vec<Weak<Transport>>,
    stopped: bool,
}

impl Flusher {
    /// Starts the thread. It sleeps while no connection is watched and ends on [`Self::stop`].
    ///
    /// # Errors
    /// If no thread can be had.
    pub fn start() -> io::Result<Arc<Self>> {
        let flusher = Arc::new(Self::default());
        let own = flusher.clone();
        thread::Builder::new()
            .name("fastwsh-flush".to_owned())
            .stack_size(64 * 1024)
            .spawn(move || own.run())?;
        Ok(flusher)
    }

    /// Ends the thread.
    pub fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.wake.notify_one();
    }

    pub(super) fn watch(&self, transport: &Arc<Transport>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.watched.push(Arc::downgrade(transport));
        if state.watched.len() == 1 {
            self.wake.notify_one();
        }
    }

    fn run(&self) {
        loop {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.watched.is_empty() && !state.stopped {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            if state.stopped {
                return;
            }
            drop(state);
            thread::sleep(TICK);
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state
                .watched
                .retain(|transport| transport.upgrade().is_some_and(|transport| transport.tick()));
        }
    }
}
