//! Notices a caller that blocks a thread which it shares with others.
//!
//! The work of the shared thread is cut into time slices: a slice begins whenever another caller goes
//! on. The thread counts them in its [`Heartbeat`]. While it has work, the watchdog thread looks at
//! the count every few tens of milliseconds, and notices when it does not change. So the shared
//! thread need not read a clock for each slice.

use std::{
    io,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        Arc, Condvar, Mutex,
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    locks::lock,
    system::{Native, System, ThreadTimes},
};

type WatchedThread = <Native as System>::Thread;

/// A slice of this length keeps people waiting noticeably.
const STALL: Duration = Duration::from_millis(100);

/// How often the watchdog looks: several times within a slice that is too long.
const TICK: Duration = Duration::from_millis(25);

/// The sign of life of a thread that callers share: it counts its time slices here, and its watchdog
/// reads the count.
#[derive(Debug, Default)]
pub struct Heartbeat {
    /// How many slices have begun.
    beats: AtomicU64,
    /// The thread waits for events, or for the interpreter: no beat is expected.
    idle: AtomicBool,
    /// The watchdog looks at the count.
    watched: AtomicBool,
    /// The current slice takes too long.
    stalled: AtomicBool,
    /// The watched thread has ended.
    ended: AtomicBool,
    /// Turns of callers; see [`Self::note_turn`].
    turns: AtomicU64,
    /// Heartbeat that took too long.
    stalls: AtomicU64,
    /// Notified when the watchdog has something to do: the thread has work, or has ended.
    wake: Condvar,
    /// Locked by a watchdog that is about to wait for that.
    asleep: Mutex<()>,
}

impl Heartbeat {
    /// Begins a slice.
    pub fn beat(&self) {
        // only this thread writes the count
        let beats = self.beats.load(Ordering::Relaxed);
        self.beats.store(beats.wrapping_add(1), Ordering::Relaxed);
    }

    /// Notes that the thread is about to wait.
    pub fn go_idle(&self) {
        self.idle.store(true, Ordering::Release);
    }

    /// Notes that the thread goes on.
    pub fn resume(&self) {
        self.beat();
        self.idle.store(false, Ordering::SeqCst);
        if !self.watched.load(Ordering::SeqCst) {
            self.watched.store(true, Ordering::SeqCst);
            drop(lock(&self.asleep));
            self.wake.notify_one();
        }
    }

    /// Ends watching the thread.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        drop(lock(&self.asleep));
        self.wake.notify_one();
    }

    /// How many slices have begun, which is also the number of the current one.
    pub fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    /// Counts the turn of a caller, which is one slice or several.
    pub fn note_turn(&self) {
        let turns = self.turns.load(Ordering::Relaxed);
        self.turns.store(turns.wrapping_add(1), Ordering::Relaxed);
    }

    /// The number of turns so far, and of slices that took too long.
    pub fn counts(&self) -> (u64, u64) {
        (self.turns.load(Ordering::Relaxed), self.stalls.load(Ordering::Relaxed))
    }

    /// Whether the current slice takes too long already.
    pub fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }
}

/// Watches a thread.
#[derive(Debug)]
pub struct Watchdog;

impl Watchdog {
    /// Watches the calling thread until [`Heartbeat::end`]. When a slice takes too long, calls `on_stall`
    /// once, with the time that it has taken so far.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub fn start(
        heartbeat: Arc<Heartbeat>,
        mut on_stall: impl FnMut(Duration) + Send + 'static,
    ) -> io::Result<()> {
        let watched = Native::this_thread();
        thread::Builder::new()
            .name("fastwsh-watch".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || {
                while heartbeat.wait_for_work() {
                    heartbeat.watch(&watched, &mut on_stall);
                }
            })
            .map(|_| ())
    }
}

impl Heartbeat {
    /// Waits until the thread has work. Returns `false` if the thread has ended.
    fn wait_for_work(&self) -> bool {
        let has_ended = || self.ended.load(Ordering::SeqCst);
        let mut guard = lock(&self.asleep);
        while !self.watched.load(Ordering::SeqCst) && !has_ended() {
            guard = self.wake.wait(guard).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        !has_ended()
    }

    fn watch(&self, watched: &WatchedThread, on_stall: &mut impl FnMut(Duration)) {
        let mut slice = Slice::new(self.beats(), watched);
        while !self.ended.load(Ordering::SeqCst) {
            thread::sleep(TICK);
            let number = self.beats();
            if self.idle.load(Ordering::SeqCst) {
                self.stalled.store(false, Ordering::Relaxed);
                self.watched.store(false, Ordering::SeqCst);
                // check again: the thread may have gone on in between, and have seen that it was
                // watched
                if self.idle.load(Ordering::SeqCst) {
                    return;
                }
                self.watched.store(true, Ordering::SeqCst);
            }
            if number != slice.number {
                self.stalled.store(false, Ordering::Relaxed);
                slice = Slice::new(number, watched);
                continue;
            }
            let taken = slice.taken(watched);
            let same = self.beats() == number;
            if taken >= STALL && same && !self.stalled.swap(true, Ordering::Relaxed) {
                self.stalls.fetch_add(1, Ordering::Relaxed);
                on_stall(taken);
            }
        }
    }
}

/// A slice, as the watchdog has seen it.
struct Slice {
    number: u64,
    /// How long it has taken, without the time in which the thread had to wait for a processor.
    taken: Duration,
    seen: Instant,
    times: Option<ThreadTimes>,
}

impl Slice {
    fn new(number: u64, watched: &WatchedThread) -> Self {
        let times = Native::thread_times(watched);
        Self { number, taken: Duration::ZERO, seen: Instant::now(), times }
    }

    /// Looks at the thread again. Returns how long the slice has taken.
    fn taken(&mut self, watched: &WatchedThread) -> Duration {
        let (seen, times) = (Instant::now(), Native::thread_times(watched));
        let elapsed = seen - self.seen;
        self.taken += match (&self.times, &times) {
            (Some(before), Some(after)) => used(before, after, elapsed),
            _ => elapsed,
        };
        (self.seen, self.times) = (seen, times);
        self.taken
    }
}

/// How much of the time `elapsed` between two looks the thread ran or slept.
fn used(before: &ThreadTimes, after: &ThreadTimes, elapsed: Duration) -> Duration {
    if after.sleeps {
        return elapsed.saturating_sub(after.waited.saturating_sub(before.waited));
    }
    // it runs or waits for a processor, and the wait is not counted yet
    elapsed.min(after.ran.saturating_sub(before.ran))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn reports_a_long_slice_once_and_an_idle_thread_never() {
        let heartbeat = Arc::new(Heartbeat::default());
        let (stalls, heard) = mpsc::channel();
        Watchdog::start(heartbeat.clone(), move |taken| stalls.send(taken).expect("a listener"))
            .expect("a thread");
        heartbeat.resume();
        let taken = heard.recv_timeout(Duration::from_secs(30)).expect("a stall");
        assert!(taken >= STALL);
        assert!(heartbeat.is_stalled());
        heartbeat.go_idle();
        while heartbeat.is_stalled() {
            thread::yield_now();
        }
        assert!(heard.try_recv().is_err(), "reported twice, or while idle");
        heartbeat.resume();
        assert!(heard.recv_timeout(Duration::from_secs(30)).is_ok());
        heartbeat.end();
        let after = heard.recv_timeout(Duration::from_secs(30));
        assert_eq!(after, Err(mpsc::RecvTimeoutError::Disconnected), "it watches on");
    }

    #[test]
    fn waits_for_a_processor_are_not_part_of_a_slice() {
        let [elapsed, ms] = [40, 1].map(Duration::from_millis);
        let times = |ran: u32, waited: u32, sleeps: bool| ThreadTimes {
            ran: ran * ms,
            waited: waited * ms,
            sleeps,
        };
        let used = |after: ThreadTimes| used(&times(5, 7, false), &after, elapsed);
        assert_eq!(used(times(5, 7, false)), Duration::ZERO, "waits since the look before");
        assert_eq!(used(times(30, 7, false)), 25 * ms, "has run for a part of the time");
        assert_eq!(used(times(30, 22, true)), 25 * ms, "sleeps after it has run and waited");
        assert_eq!(used(times(5, 7, true)), elapsed, "has slept all the time");
        assert_eq!(used(times(99, 7, false)), elapsed, "the clocks differ");
    }
}
