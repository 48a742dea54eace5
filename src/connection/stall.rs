//! When a server that stops gives a peer up: bytes wait for it, and it has taken next to none for a
//! while. A peer that reads slowly is not given up.

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use tokio::{sync::watch, time::sleep};

use crate::system::{Native, System};

/// A peer that has taken nothing for this long is given up: as long as a peer has that is to close,
/// see `drain`.
const GIVE_UP_TIME: Duration = Duration::from_secs(2);

/// How often a server that stops looks at what a peer has taken.
pub(crate) const LOOK_TIME: Duration = Duration::from_millis(50);

/// A peer that takes less than this before it is given up does not read: it may send frames that are
/// answered, such as a PING of HTTP/2, whose answer has 17 bytes.
const LEAST_TAKEN: u64 = 1024;

/// What a peer has taken at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Uptake {
    /// Whether something waits for the peer.
    pub(crate) waits: bool,
    /// Changes when the peer takes something, or its system does.
    pub(crate) mark: u64,
}

impl Uptake {
    /// That of a socket's peer, to which `sent` bytes were sent. Where the system does not tell,
    /// nothing waits.
    pub(crate) fn of(socket: BorrowedFd<'_>, sent: u64) -> Self {
        let untaken = Native::untaken(socket).unwrap_or(0);
        Self { waits: untaken > 0, mark: sent.wrapping_sub(untaken as u64) }
    }
}

/// Since when a peer has taken next to nothing although something waits for it.
#[derive(Debug)]
pub(crate) struct Stall {
    mark: u64,
    since: Instant,
}

impl Stall {
    pub(crate) fn begin(now: Instant) -> Self {
        Self { mark: 0, since: now }
    }

    /// Takes what was seen now, and returns how long the stall has lasted.
    pub(crate) fn look(&mut self, seen: Uptake, now: Instant) -> Duration {
        if !seen.waits || seen.mark.abs_diff(self.mark) >= LEAST_TAKEN {
            *self = Self { mark: seen.mark, since: now };
        }
        now - self.since
    }

    /// Whether a peer whose stall has lasted for this time is given up: nothing more is to be
    /// expected of it.
    pub(crate) fn is_over(lasts: Duration) -> bool {
        lasts >= GIVE_UP_TIME
    }
}

/// Waits until the server stops and the peer is to be given up; `look` looks at it.
pub(crate) async fn given_up(stop: &watch::Receiver<bool>, look: impl Fn() -> Uptake) {
    // not cloned for a caller that goes on at once; an error: the server has ended
    let _ = stop.clone().wait_for(|stop| *stop).await;
    stalled(look).await;
}

/// The same for a server that stops already.
pub(crate) async fn stalled(look: impl Fn() -> Uptake) {
    let mut stall = Stall::begin(Instant::now());
    while !Stall::is_over(stall.look(look(), Instant::now())) {
        sleep(LOOK_TIME).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING_WAITS: Uptake = Uptake { waits: false, mark: 7 };

    fn waiting(mark: u64) -> Uptake {
        Uptake { waits: true, mark }
    }

    #[test]
    fn begins_again_when_something_is_taken() {
        let begin = Instant::now();
        let mut stall = Stall::begin(begin);
        assert_eq!(stall.look(waiting(7_000), begin), Duration::ZERO);
        assert_eq!(stall.look(waiting(7_000), begin + GIVE_UP_TIME / 2), GIVE_UP_TIME / 2);
        assert_eq!(stall.look(waiting(9_000), begin + GIVE_UP_TIME), Duration::ZERO);
        assert_eq!(stall.look(waiting(9_000), begin + 2 * GIVE_UP_TIME), GIVE_UP_TIME);
        assert!(Stall::is_over(GIVE_UP_TIME));
    }

    #[test]
    fn goes_on_while_little_is_taken() {
        let begin = Instant::now();
        let mut stall = Stall::begin(begin);
        assert_eq!(stall.look(waiting(7_000), begin), Duration::ZERO);
        // the answers to two PING frames of HTTP/2 (RFC 9113 6.7)
        assert_eq!(stall.look(waiting(7_017), begin + GIVE_UP_TIME / 2), GIVE_UP_TIME / 2);
        assert_eq!(stall.look(waiting(7_034), begin + GIVE_UP_TIME), GIVE_UP_TIME);
    }

    #[test]
    fn does_not_last_while_nothing_waits() {
        let begin = Instant::now();
        let mut stall = Stall::begin(begin);
        assert_eq!(stall.look(NOTHING_WAITS, begin + GIVE_UP_TIME), Duration::ZERO);
        assert_eq!(stall.look(waiting(7), begin + 2 * GIVE_UP_TIME), GIVE_UP_TIME);
    }
}
