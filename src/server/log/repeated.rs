//! Log lines for events that may happen thousands of times a second: the first at once, then one
//! every few seconds with the number of lines that were left out.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::locks::lock;

/// Time between two lines: often enough to see that the event still happens.
const PAUSE: Duration = Duration::from_secs(10);

/// One event that may happen repeatedly.
#[derive(Debug, Default)]
pub(in crate::server) struct RepeatedEvent(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    logged: Option<Instant>,
    skipped: u64,
    /// There was a line about the event, and none since about its end.
    is_open: bool,
}

impl RepeatedEvent {
    /// Counts the event. If a line is due, returns how often the event has happened since the last
    /// line, not counting this time.
    pub(in crate::server) fn happened(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = lock(&self.0);
        if state.logged.is_some_and(|logged| now.duration_since(logged) < PAUSE) {
            state.skipped += 1;
            return None;
        }
        state.logged = Some(now);
        state.is_open = true;
        Some(std::mem::take(&mut state.skipped))
    }

    /// Notes that the event no longer happens. Returns whether there was a line about it. If it
    /// happens again soon, it is counted as before: it may come and go many times a second.
    pub(in crate::server) fn ended(&self) -> bool {
        std::mem::take(&mut lock(&self.0).is_open)
    }
}

/// The end of a line that also stands for lines that were left out.
pub(in crate::server) fn and_more(count: u64) -> String {
    if count == 0 {
        String::new()
    } else {
        format!(" ({count} more since the last such line)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_is_counted() {
        let repeated = RepeatedEvent::default();
        assert!(!repeated.ended());
        assert_eq!(repeated.happened(), Some(0));
        assert_eq!(repeated.happened(), None);
        assert_eq!(repeated.happened(), None);
        lock(&repeated.0).logged = Instant::now().checked_sub(PAUSE);
        assert_eq!(repeated.happened(), Some(2));
        assert!(repeated.ended());
        assert!(!repeated.ended());
    }

    #[test]
    fn what_comes_and_goes_is_logged_no_more_often() {
        let repeated = RepeatedEvent::default();
        assert_eq!(repeated.happened(), Some(0));
        assert!(repeated.ended());
        for _ in 0..5 {
            assert_eq!(repeated.happened(), None);
            assert!(!repeated.ended());
        }
        lock(&repeated.0).logged = Instant::now().checked_sub(PAUSE);
        assert_eq!(repeated.happened(), Some(5));
        assert!(repeated.ended());
    }
}
