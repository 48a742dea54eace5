//! Log lines for what may happen thousands of times a second: one at once, then one in a while
//! with the number of those that were left out.

use std::{
    sync::Mutex,
    time::{Duration, Instant},
};

use crate::locks::lock;

/// Often enough to see that it goes on.
const PAUSE: Duration = Duration::from_secs(10);

/// One thing that happens repeatedly.
#[derive(Debug, Default)]
pub(in crate::server) struct Repeated(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    told: Option<Instant>,
    untold: u64,
}

impl Repeated {
    /// It has happened; if a line is due, how often it has happened since the last one, this time
    /// left out.
    pub(in crate::server) fn happened(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = lock(&self.0);
        if state.told.is_some_and(|told| now.duration_since(told) < PAUSE) {
            state.untold += 1;
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.untold))
    }

    /// It is over; whether there was a line about it.
    pub(in crate::server) fn ended(&self) -> bool {
        let mut state = lock(&self.0);
        state.untold = 0;
        state.told.take().is_some()
    }
}

/// The end of a line that stands for others as well.
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
        let repeated = Repeated::default();
        assert!(!repeated.ended());
        assert_eq!(repeated.happened(), Some(0));
        assert_eq!(repeated.happened(), None);
        assert_eq!(repeated.happened(), None);
        lock(&repeated.0).told = Instant::now().checked_sub(PAUSE);
        assert_eq!(repeated.happened(), Some(2));
        assert!(repeated.ended());
        assert_eq!(repeated.happened(), Some(0));
    }
}
