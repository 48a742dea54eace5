//! Sends replies that were held back, if the handler does something else than receive.
//!
//! A reply may be held back while another message is already buffered: the handler will probably
//! call `receive_message` at once, and then several replies leave in one system call. If the
//! handler computes or sleeps instead, its replies must not wait for it: this thread sends them
//! within two milliseconds.

use std::{
    io,
    sync::{Arc, Weak},
    time::Duration,
};

use crate::{
    locks::lock,
    sync::{thread, Condvar, Mutex, PoisonError},
};

/// When the flusher looks at a connection again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextLook {
    /// At the next tick.
    Soon,
    /// After some ticks: the peer does not read.
    Later,
    /// Not before the connection asks to be watched again.
    Never,
}

/// An object that may hold frames back.
pub(crate) trait HoldsFrames: Send + Sync {
    /// Sends what was held back for two ticks.
    fn tick(self: Arc<Self>) -> NextLook;
}

impl std::fmt::Debug for dyn HoldsFrames {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("HoldsFrames")
    }
}

/// Time between two looks: short enough that no person or protocol timer notices the delay, and
/// long compared with the cost of a look.
const TICK: Duration = Duration::from_millis(1);

/// Ticks between two looks at a connection with a peer that does not read.
const IDLE_TICKS: u32 = 32;

/// Watches connections that hold replies back.
#[derive(Debug, Default)]
pub struct Flusher {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    watched: Vec<Weak<dyn HoldsFrames>>,
    /// Connections with peers that do not read.
    slow: Vec<Weak<dyn HoldsFrames>>,
    stopped: bool,
}

impl Flusher {
    /// Starts the thread. It sleeps while no connection is watched and ends on [`Self::stop`].
    ///
    /// # Errors
    /// If the system has no thread for it.
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
        lock(&self.state).stopped = true;
        self.wake.notify_one();
    }

    pub(crate) fn watch(&self, holder: Weak<dyn HoldsFrames>) {
        let mut state = lock(&self.state);
        state.watched.push(holder);
        if state.watched.len() == 1 {
            self.wake.notify_one();
        }
    }

    fn run(&self) {
        let mut ticks = 0_u32;
        while let Some(has_watched) = self.wait() {
            if has_watched {
                thread::sleep(TICK);
            } else {
                ticks = 0;
            }
            let mut state = lock(&self.state);
            let mut due = std::mem::take(&mut state.watched);
            if ticks % IDLE_TICKS == 0 {
                due.append(&mut state.slow);
            }
            ticks = ticks.wrapping_add(1);
            for holder in due {
                match holder.upgrade().map(HoldsFrames::tick) {
                    Some(NextLook::Soon) => state.watched.push(holder),
                    Some(NextLook::Later) => state.slow.push(holder),
                    Some(NextLook::Never) | None => {}
                }
            }
        }
    }

    /// Waits until it is time to look at a connection. Returns whether there are connections to
    /// look at in each tick (if not, only slow ones are due), or `None` at the end.
    fn wait(&self) -> Option<bool> {
        let mut state = lock(&self.state);
        while state.watched.is_empty() && !state.stopped {
            if state.slow.is_empty() {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.wake.wait_timeout(state, TICK * IDLE_TICKS);
            let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            if timeout.timed_out() {
                break;
            }
        }
        (!state.stopped).then_some(!state.watched.is_empty())
    }
}
