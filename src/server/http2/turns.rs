//! Lets the threads of handlers run one after the other when one read has brought data for several.
//!
//! Threads that wake together wait for one another, for Python's global lock and for the connection,
//! and these switches cost more than an echo. So a thread that was woken wakes the next one when it
//! waits again, and the last one writes what all of them have sent.
//!
//! A handler may do something else than receive and send. So the others are woken in any case if the
//! turn is not passed on quickly: see [`Turns::tick`].

use std::{
    collections::VecDeque,
    sync::{
        atomic::{AtomicU8, Ordering},
        Arc, Mutex,
    },
};

use crate::locks::lock;

/// The turn is passed on quickly if all who wait would get it within so many ticks.
const TICKS_MAX: usize = 4;

/// A stream whose handler's thread takes turns with those of other streams.
pub(super) trait TakesTurns: Send + Sync {
    /// Wakes the thread, which has the turn now. Returns `false` if it does not wait.
    fn begin_turn(&self) -> bool;
}

/// The turns of a connection's threads.
#[derive(Default)]
pub(super) struct Turns {
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Arc<dyn TakesTurns>>,
    /// How many of them have waited since the last tick.
    seen: usize,
    /// How often the turn was passed on since the last tick.
    passed: usize,
    /// How many threads have the turn. It is one, unless others were woken by a tick.
    taken: usize,
}

impl Turns {
    /// Gives a stream the turn, now or later. Returns whether it waits.
    pub(super) fn join(&self, stream: Arc<dyn TakesTurns>) -> bool {
        let mut queue = lock(&self.queue);
        if queue.taken > 0 {
            queue.waiting.push_back(stream);
            return true;
        }
        queue.taken = 1;
        drop(queue);
        if !stream.begin_turn() {
            self.pass();
        }
        false
    }

    /// Whether streams wait for their turn.
    pub(super) fn are_wanted(&self) -> bool {
        !lock(&self.queue).waiting.is_empty()
    }

    /// Whether a thread has the turn, and will pass it on.
    pub(super) fn are_taken(&self) -> bool {
        lock(&self.queue).taken > 0
    }

    /// Passes the turn on. Returns whether another thread has it.
    pub(super) fn pass(&self) -> bool {
        loop {
            let mut queue = lock(&self.queue);
            queue.passed += 1;
            if queue.taken > 1 {
                queue.taken -= 1;
                return true;
            }
            let Some(next) = queue.waiting.pop_front() else {
                queue.taken = 0;
                return false;
            };
            queue.seen = queue.seen.saturating_sub(1);
            drop(queue);
            if next.begin_turn() {
                return true;
            }
        }
    }

    /// Wakes the threads that have waited since the last tick, unless the turn is passed on quickly.
    /// Ticks follow each other at a fixed interval while threads wait. Returns whether some do.
    pub(super) fn tick(&self) -> bool {
        let mut queue = lock(&self.queue);
        let is_quick = queue.passed * TICKS_MAX >= queue.waiting.len();
        let late = if is_quick { 0 } else { queue.seen };
        let late: Vec<_> = queue.waiting.drain(..late).collect();
        queue.seen = queue.waiting.len();
        queue.passed = 0;
        if !late.is_empty() {
            // a thread that has had the turn does something else, and counts no more
            queue.taken = late.len();
        }
        let are_wanted = queue.seen > 0;
        drop(queue);
        for stream in late {
            if !stream.begin_turn() {
                self.pass();
            }
        }
        are_wanted
    }
}

/// Whether a stream has the turn.
#[derive(Debug, Default)]
pub(super) struct Turn(AtomicU8);

const NONE: u8 = 0;
const WANTED: u8 = 1;
const TAKEN: u8 = 2;

impl Turn {
    /// Returns `true` if the stream is to join the others.
    pub(super) fn want(&self) -> bool {
        self.change(NONE, WANTED)
    }

    pub(super) fn take(&self) {
        self.0.store(TAKEN, Ordering::SeqCst);
    }

    pub(super) fn is_taken(&self) -> bool {
        self.0.load(Ordering::SeqCst) == TAKEN
    }

    /// Returns whether the stream had the turn.
    pub(super) fn end(&self) -> bool {
        self.change(TAKEN, NONE)
    }

    fn change(&self, from: u8, to: u8) -> bool {
        self.0.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use super::*;

    /// A stream whose thread waits, and is counted when it is woken.
    struct Waiting {
        woken: AtomicUsize,
        waits: AtomicBool,
    }

    impl TakesTurns for Waiting {
        fn begin_turn(&self) -> bool {
            self.woken.fetch_add(1, Ordering::SeqCst);
            self.waits.load(Ordering::SeqCst)
        }
    }

    fn streams() -> [Arc<Waiting>; 4] {
        std::array::from_fn(|_| {
            Arc::new(Waiting { woken: AtomicUsize::new(0), waits: AtomicBool::new(true) })
        })
    }

    fn woken(streams: &[Arc<Waiting>; 4]) -> [usize; 4] {
        std::array::from_fn(|number| streams[number].woken.load(Ordering::SeqCst))
    }

    /// Streams of which the first has the turn.
    fn joined() -> (Turns, [Arc<Waiting>; 4]) {
        let (turns, streams) = (Turns::default(), streams());
        for (number, stream) in streams.iter().enumerate() {
            assert_eq!(turns.join(stream.clone()), number > 0);
        }
        (turns, streams)
    }

    #[test]
    fn one_thread_wakes_the_next() {
        let (turns, streams) = joined();
        for last in 1..4 {
            assert!(turns.are_wanted());
            assert!(turns.pass());
            assert_eq!(woken(&streams).iter().sum::<usize>(), last + 1);
        }
        assert!(!turns.are_wanted() && turns.are_taken());
        assert!(!turns.pass());
        assert!(!turns.are_taken());
    }

    #[test]
    fn a_thread_that_does_not_wait_is_passed_over() {
        let (turns, streams) = joined();
        streams[1].waits.store(false, Ordering::SeqCst);
        assert!(turns.pass());
        assert_eq!(woken(&streams), [1, 1, 1, 0]);
        streams[3].waits.store(false, Ordering::SeqCst);
        assert!(!turns.pass());
        assert!(!turns.are_taken());
        // nor does it keep the turn that it gets at once
        assert!(!turns.join(streams[3].clone()));
        assert!(!turns.are_taken());
    }

    #[test]
    fn all_are_woken_when_the_turn_is_not_passed_on() {
        let (turns, streams) = joined();
        assert!(turns.tick(), "they have just come");
        assert_eq!(woken(&streams), [1, 0, 0, 0]);
        assert!(!turns.tick());
        assert_eq!(woken(&streams), [1; 4]);
        // the first one is forgotten; the last of the others gives the turn back
        assert!(turns.pass() && turns.pass() && !turns.pass());
        assert!(!turns.pass(), "the first one");
        assert!(!turns.join(streams[0].clone()));
        assert_eq!(woken(&streams), [2, 1, 1, 1]);
    }

    #[test]
    fn nobody_is_woken_early_while_the_turn_is_passed_on() {
        let (turns, streams) = joined();
        assert!(turns.tick());
        assert!(turns.pass());
        assert!(turns.tick());
        assert_eq!(woken(&streams), [1, 1, 0, 0]);
    }

    #[test]
    fn a_stream_joins_once() {
        let turn = Turn::default();
        assert!(turn.want() && !turn.want() && !turn.end());
        turn.take();
        assert!(turn.is_taken() && !turn.want());
        assert!(turn.end() && !turn.end() && turn.want());
    }
}
