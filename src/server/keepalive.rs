//! Everything about connections that depends on time: pings to silent peers, answers to their
//! pings, and the end of connections that have exceeded a time limit.
//!
//! One thread looks at all connections, ten times within the shortest time limit. So sending and
//! receiving need not read a clock: they only count bytes. For the same reason a time limit is
//! exceeded by up to a tenth of the shortest one. The thread never blocks, and sends nothing on a
//! connection where the handler reads or writes raw bytes.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::{
    limits::{ConnectionLimits, Keepalive},
    log::event::{describe, EventSink, Level, SERVER_LOG},
    registry::Registry,
};
use crate::{
    connection::{Expiry, ServerClose, Transport, DEFAULT_CLOSE_TIME, KEEPALIVE_MARK},
    locks::lock,
    protocol::{close::CloseCode, frame::Opcode, send::control_frame},
};

/// Checks of each connection within the shortest time limit.
const CHECKS_PER_LIMIT: u32 = 10;

/// The shortest time between two checks.
const MIN_PERIOD: Duration = Duration::from_millis(5);

/// The longest time between two checks.
const MAX_PERIOD: Duration = Duration::from_secs(1);

/// Time between two looks for pings of peers: far shorter than any peer waits for a pong.
const PING_PERIOD: Duration = Duration::from_millis(250);

/// The thread, until it is stopped.
#[derive(Debug, Default)]
pub(super) struct KeepaliveThread {
    stopped: Mutex<bool>,
    wake: Condvar,
}

/// What the thread knows, and what it does at each check.
struct Checker {
    registry: Arc<Registry>,
    events: Arc<EventSink>,
    close_time: Option<Duration>,
    keepalive: Keepalive,
    watched: HashMap<u64, Activity>,
    pings: u64,
}

/// The state of one connection.
struct Activity {
    /// Bytes so far, at the last look.
    received: u64,
    sent: u64,
    /// How many of those sent the peer's system had taken.
    taken: u64,
    /// When the thread last noticed bytes from the peer.
    heard: Instant,
    /// When the thread last noticed anything but our pings and their pongs.
    active: Instant,
    /// A ping that has not been answered.
    pinged: Option<Pinged>,
    /// When the thread first noticed that the handler waits for the peer's close frame.
    closing: Option<Instant>,
    /// When to cut the connection, whatever the peer does.
    last_moment: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Pinged {
    /// When it was sent, or when the peer last took bytes, behind which it waits.
    since: Instant,
    /// The length of the frame with its pong, in bytes.
    pong_bytes: u64,
    /// Whether the ping was sent. If not, other bytes are being sent, and if that goes on it proves
    /// as much as a pong.
    is_sent: bool,
}

impl KeepaliveThread {
    /// Starts the thread, if any time limit is set.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub(super) fn start(
        registry: Arc<Registry>,
        events: Arc<EventSink>,
        limits: &ConnectionLimits,
        keepalive: Keepalive,
    ) -> io::Result<Arc<Self>> {
        let keepalive_thread = Arc::new(Self::default());
        let times = [
            limits.close_time,
            keepalive.ping_interval,
            keepalive.ping_interval.and(keepalive.ping_timeout),
            keepalive.idle_timeout,
            keepalive.answers_pings.then_some(PING_PERIOD * CHECKS_PER_LIMIT),
        ];
        let Some(shortest) = times.into_iter().flatten().min() else { return Ok(keepalive_thread) };
        let period = (shortest / CHECKS_PER_LIMIT).clamp(MIN_PERIOD, MAX_PERIOD);
        let close_time = limits.close_time;
        let watched = HashMap::new();
        let mut checker = Checker { registry, events, close_time, keepalive, watched, pings: 0 };
        let own = keepalive_thread.clone();
        thread::Builder::new().name("fastwsh-keepalive".to_owned()).stack_size(128 * 1024).spawn(
            move || {
                while own.pause(period) {
                    checker.check_all(Instant::now());
                }
            },
        )?;
        Ok(keepalive_thread)
    }

    /// Ends the thread.
    pub(super) fn stop(&self) {
        *lock(&self.stopped) = true;
        self.wake.notify_one();
    }

    /// Waits; `false` at the end.
    fn pause(&self, period: Duration) -> bool {
        let stopped = lock(&self.stopped);
        let waited = self.wake.wait_timeout_while(stopped, period, |stopped| !*stopped);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

impl Checker {
    fn check_all(&mut self, now: Instant) {
        let Keepalive { ping_interval, idle_timeout, answers_pings, .. } = self.keepalive;
        let looks_at_all = ping_interval.is_some() || idle_timeout.is_some();
        let wanted = |transport: &Transport| {
            looks_at_all || answers_pings || transport.closing().awaits_close()
        };
        let live = self.registry.established(wanted);
        let mut before = std::mem::take(&mut self.watched);
        for (id, transport) in live {
            if answers_pings {
                transport.answer_pings();
            }
            if !looks_at_all && !transport.closing().awaits_close() {
                continue;
            }
            let traffic = transport.traffic();
            let mut watched = before.remove(&id).unwrap_or_else(|| Activity::new(traffic, now));
            // a system call, for peers that have not taken everything
            let taken = if watched.taken == traffic.1 { watched.taken } else { transport.taken() };
            watched.note(traffic, taken, now);
            self.check_limits(&transport, &mut watched, now);
            self.watched.insert(id, watched);
        }
    }

    /// Ends a connection that has exceeded a time limit, or sends a ping that is due.
    fn check_limits(&mut self, transport: &Arc<Transport>, watched: &mut Activity, now: Instant) {
        if watched.last_moment.is_some_and(|moment| now >= moment) {
            transport.cut();
            return;
        }
        // the closing handshake comes first: while it runs, neither pings nor idle time matter
        if !transport.closing().awaits_close() {
            watched.closing = None;
        } else if let Some(limit) = self.close_time {
            if now.duration_since(*watched.closing.get_or_insert(now)) >= limit {
                self.end(transport, Expiry::Close(limit), None);
            }
            return;
        }
        // the server closes the connection already, and `last_moment` or the shutdown ends it
        if transport.closing().is_going_away() {
            return;
        }
        if let Some(limit) = self.keepalive.idle_timeout {
            if now.duration_since(watched.active) >= limit {
                let reason = format!("idle for {} s", limit.as_secs_f64());
                self.end(transport, Expiry::Idle(limit), Some((CloseCode::GOING_AWAY, &reason)));
                watched.last_moment = Some(now + self.close_time.unwrap_or(DEFAULT_CLOSE_TIME));
                return;
            }
        }
        let Some(interval) = self.keepalive.ping_interval else { return };
        // with an unanswered ping, wait for its timeout; without one, for the interval
        let is_due = match (watched.pinged, self.keepalive.ping_timeout) {
            (Some(pinged), Some(limit)) => now.duration_since(pinged.since) >= limit,
            (Some(_), None) => false,
            (None, _) => now.duration_since(watched.heard) >= interval,
        };
        if !is_due {
            return;
        }
        if transport.has_unread() {
            // unread bytes: the peer is alive, only the handler does not receive
            watched.heard = now;
            watched.pinged = None;
            return;
        }
        match (watched.pinged, self.keepalive.ping_timeout) {
            (Some(_), Some(limit)) => {
                let reason = Some((CloseCode::UNEXPECTED, "keepalive ping timeout"));
                self.end(transport, Expiry::Ping(limit), reason);
                transport.cut();
            }
            _ => self.ping(transport, watched, now),
        }
    }

    fn ping(&mut self, transport: &Arc<Transport>, watched: &mut Activity, now: Instant) {
        self.pings = self.pings.wrapping_add(1);
        let body = [KEEPALIVE_MARK, self.pings.to_string().as_bytes()].concat();
        let Ok(frame) = control_frame(Opcode::PING, &body) else { return };
        let is_sent = transport.send_between(&frame);
        if is_sent {
            let length = frame.len() as u64;
            // a peer that had taken everything and now takes the ping has not read it yet
            if watched.taken == watched.sent {
                watched.taken += length;
            }
            watched.sent += length;
        }
        // plus the masking key, as frames from a client are masked
        watched.pinged = Some(Pinged { since: now, pong_bytes: frame.len() as u64 + 4, is_sent });
    }

    /// Ends a connection, with a close frame if the peer may still accept one.
    fn end(&self, transport: &Arc<Transport>, expiry: Expiry, close: Option<(CloseCode, &str)>) {
        // log the reason only once: if the handler is slow to notice, the next look comes here
        // again
        if transport.expire(expiry) {
            self.events.line(Level::Info, SERVER_LOG, || {
                format!("{} {expiry}: connection closed", describe(transport.peer()))
            });
        }
        match close.and_then(|(code, reason)| ServerClose::new(code, reason).ok()) {
            Some(server_close) => transport.go_away(&server_close),
            None => transport.cut(),
        }
    }
}

impl Activity {
    fn new((received, sent): (u64, u64), now: Instant) -> Self {
        Self {
            received,
            sent,
            taken: 0,
            heard: now,
            active: now,
            pinged: None,
            closing: None,
            last_moment: None,
        }
    }

    fn note(&mut self, (received, sent): (u64, u64), taken: u64, now: Instant) {
        let more = received.wrapping_sub(self.received);
        let is_sending = sent != self.sent;
        let is_pong = self.pinged.is_some_and(|pinged| pinged.is_sent && pinged.pong_bytes == more);
        let is_taking = taken > self.taken;
        if is_sending || is_taking || (more > 0 && !is_pong) {
            self.active = now;
        }
        let takes_rest = is_sending && self.pinged.is_some_and(|pinged| !pinged.is_sent);
        if more > 0 || takes_rest {
            self.heard = now;
            self.pinged = None;
        } else if let Some(pinged) = self.pinged.as_mut().filter(|_| is_taking) {
            pinged.since = now;
        }
        (self.received, self.sent, self.taken) = (received, sent, self.taken.max(taken));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::is_own_pong;

    #[test]
    fn only_pongs_to_our_own_pings_are_ours() {
        assert!(is_own_pong(b"fastwsh keepalive 17"));
        assert!(!is_own_pong(b"fastwsh keepalive x"));
        assert!(!is_own_pong(b"17"));
    }

    #[test]
    fn a_pong_alone_is_no_activity() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut watched = Activity { taken: 10, ..Activity::new((100, 10), start) };
        watched.pinged = Some(Pinged { since: start, pong_bytes: 26, is_sent: true });
        watched.note((126, 10), 10, later);
        assert_eq!((watched.heard, watched.active), (later, start));
        assert!(watched.pinged.is_none());
        watched.note((127, 10), 10, later);
        assert_eq!(watched.active, later);
    }

    #[test]
    fn a_peer_that_takes_what_it_is_sent_answers_a_ping_behind_that_later() {
        let start = Instant::now();
        let later = start + Duration::from_secs(1);
        let mut watched = Activity::new((0, 0), start);
        watched.pinged = Some(Pinged { since: start, pong_bytes: 26, is_sent: true });
        watched.note((0, 1000), 0, later);
        assert!(watched.pinged.is_some());
        watched.pinged = Some(Pinged { since: start, pong_bytes: 26, is_sent: false });
        watched.note((0, 2000), 0, later);
        assert!(watched.pinged.is_none());
        assert_eq!(watched.heard, later);
    }

    #[test]
    fn a_ping_waits_for_its_answer_while_the_peer_takes_what_is_ahead_of_it() {
        let start = Instant::now();
        let [later, last] = [1, 2].map(|seconds| start + Duration::from_secs(seconds));
        let mut watched = Activity::new((0, 3000), start);
        watched.note((0, 3000), 1000, start);
        watched.pinged = Some(Pinged { since: start, pong_bytes: 26, is_sent: true });
        watched.note((0, 3000), 2000, later);
        watched.note((0, 3000), 2000, last);
        assert_eq!(watched.pinged.map(|pinged| pinged.since), Some(later));
        assert_eq!((watched.heard, watched.active), (start, later));
    }
}
